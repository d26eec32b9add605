package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// netless runs a script of sh in a network of its own, in which there is only the loopback device.
func netless(args []string) int {
	if err := upLoopback(); err != nil {
		fmt.Fprintf(os.Stderr, "netless: %v\n", err)
		return 99
	}
	err := syscall.Exec("/bin/sh", append([]string{"sh", "-c"}, args...), os.Environ())
	fmt.Fprintf(os.Stderr, "netless: %v\n", err)
	return 99
}

func upLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// TestNoNetwork runs a whole life where there is no network, no proxy and no name service.
func TestNoNetwork(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a network")
	}
	w := newWorld(t)
	if err := os.Symlink(self(t), filepath.Join(w.home, "netless")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(w.home, "netless"), `set -e
tail -n +3 /proc/net/dev | grep -v ' lo:' >&2 && exit 98
./kwokctl create cluster --name alone --wait 120s
./kwokctl scale node --replicas 2 --name alone
./kwokctl --name alone kubectl wait --for=condition=Ready node --all --timeout=60s
./kwokctl --name alone kubectl create deployment web --image nginx --replicas 3
./kwokctl --name alone kubectl rollout status deployment/web --timeout=60s
./kwokctl stop cluster --name alone
./kwokctl start cluster --name alone --wait 60s
./kwokctl get clusters -o wide
./kwokctl delete cluster --name alone`)
	cmd.Env, cmd.Dir = append(w.env, "HTTPS_PROXY=http://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1"), w.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	r := w.finish(cmd)
	if r.code != 0 || !strings.Contains(r.stdout, "Ready") {
		t.Errorf("exit status %d:\n%s%s", r.code, r.stdout, r.stderr)
	}
	w.gone("alone")
}
