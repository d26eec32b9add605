package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kwokctl/runtimes/docker"
)

// rootless starts podman as a user without rights, who exists nowhere but in its namespace. The files of the system are
// left alone, and whatever that user has started ends with the test.
const rootless = `mount --make-rprivate /
mount -t proc proc /proc
for f in passwd group subuid subgid; do mount --bind "$1/$f" "/etc/$f"; done
mount --bind "$1/tun" /dev/net/tun
cd /
exec setpriv --reuid "$2" --regid "$2" --clear-groups env -i HOME="$1/home" PATH=/usr/bin:/bin:/usr/sbin:/sbin XDG_RUNTIME_DIR="$1/run" TMPDIR="$1/home" \
	podman system service --time 0 "unix://$1/run/p.sock"`

func startRootless(t *testing.T) (socket string) {
	t.Helper()
	const uid = 64999
	for _, name := range []string{"podman", "newuidmap", "slirp4netns", "setpriv", "mknod"} {
		if _, err := exec.LookPath(name); err != nil || os.Geteuid() != 0 {
			t.Skipf("needs root, to become somebody else, and %s: %v", name, err)
		}
	}
	dir, err := os.MkdirTemp("", "kwok-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for name, text := range map[string]string{
		"passwd": read("/etc/passwd") + fmt.Sprintf("kwok-e2e:x:%d:%[1]d::%s/home:/bin/sh\n", uid, dir),
		"group":  read("/etc/group") + fmt.Sprintf("kwok-e2e:x:%d:\n", uid),
		"subuid": "kwok-e2e:1000000:65536\n", "subgid": "kwok-e2e:1000000:65536\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"home", "run"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, name), uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mknod", "-m", "666", filepath.Join(dir, "tun"), "c", "10", "200").CombinedOutput(); err != nil {
		t.Skipf("no device for its network: %s", out)
	}
	cmd := exec.Command("sh", "-ec", rootless, "sh", dir, strconv.Itoa(uid))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID} // whose first process takes all along
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, &said, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("podman: %.4000s", &said)
		}
	})
	return filepath.Join(dir, "run", "p.sock")
}

// TestRootless uses an engine that has no rights: files go in by the copy API, data live in volumes, and nothing of the
// host is needed.
func TestRootless(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts real clusters")
	}
	socket := startRootless(t) // before the world, which asks it whether something is left
	w := newWorld(t)
	w.runtime, w.socket = docker.Podman, "unix://"+socket
	w.env = append(w.env, "CONTAINER_HOST="+w.socket)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	w.eventually(30*time.Second, "podman answers", func() bool {
		resp, err := client.Get("http://engine/_ping")
		return err == nil && resp.Body.Close() == nil
	})
	w.create("rootless")
	w.ready("rootless")
	w.ok("scale", "node", "--replicas", "3", "--name", "rootless")
	w.ok("stop", "cluster", "--name", "rootless")
	w.ok("start", "cluster", "--name", "rootless", "--wait", "60s")
	if got := w.kubectl("rootless", "get", "nodes", "-o", "name"); len(strings.Fields(got)) != 3 {
		t.Errorf("nodes: %q", got)
	}
	if got := w.ok("--name", "rootless", "etcdctl", "get", "/registry/namespaces/default", "--keys-only"); !strings.Contains(got, "default") {
		t.Errorf("etcdctl: %q", got)
	}
	w.ok("delete", "cluster", "--name", "rootless")
	w.gone("rootless")
}
