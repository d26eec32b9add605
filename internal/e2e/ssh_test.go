package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sshd starts an sshd of this test, and puts an ssh that knows it in front of those of the world: as engine, as others
// that do not come through, and as far with its port. It ends when the clusters of the test are gone.
func (w *world) sshd() (pid int, port string) {
	t := w.t
	t.Helper()
	program := "/usr/sbin/sshd"
	if _, err := os.Stat(program); err != nil {
		t.Skip(err)
	}
	if os.Geteuid() == 0 { // where its service would make that
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir, bin := filepath.Join(w.home, "sshd"), filepath.Join(w.home, "bin")
	for _, d := range []string{dir, bin} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"host", "key", "wrong"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	port = freePort(t)
	write(t, filepath.Join(dir, "sshd_config"), fmt.Sprintf(`ListenAddress %s:%s
HostKey %s/host
AuthorizedKeysFile %[3]s/key.pub
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
`, far, port, dir))
	write(t, filepath.Join(dir, "known"), fmt.Sprintf("[%s]:%s %s", far, port, read(filepath.Join(dir, "host.pub"))))
	write(t, filepath.Join(dir, "wrong-known"), fmt.Sprintf("[%s]:%s %s", far, port, read(filepath.Join(dir, "wrong.pub"))))
	write(t, filepath.Join(dir, "ssh_config"), fmt.Sprintf(`Host engine denied stranger changed
  HostName %s
  Port %s
  User %s
Host denied
  IdentityFile %s/wrong
Host stranger
  UserKnownHostsFile /dev/null
Host changed
  UserKnownHostsFile %[4]s/wrong-known
Host * !denied
  IdentityFile %[4]s/key
Host *
  IdentitiesOnly yes
  GlobalKnownHostsFile /dev/null
  UserKnownHostsFile %[4]s/known
`, far, port, me.Username, dir))
	write(t, filepath.Join(bin, "ssh"), "#!/bin/sh\nexec /usr/bin/ssh -F "+dir+"/ssh_config \"$@\"\n")
	if err := os.Chmod(filepath.Join(bin, "ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "PATH="+bin+":/usr/bin:/bin", "TMPDIR="+dir)
	cmd := exec.Command(program, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	said, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.run("delete", "cluster", "--all")
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("sshd: %.4000s", read(said.Name()))
		}
	})
	w.eventually(10*time.Second, "sshd listens", func() bool {
		c, err := net.Dial("tcp", net.JoinHostPort(far, port))
		return err == nil && c.Close() == nil
	})
	return cmd.Process.Pid, port
}

// connections counts those to an sshd, each of which is a process.
func connections(sshd int) (n int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		_, rest, _ := strings.Cut(read(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == fmt.Sprint(sshd) {
			n++
		}
	}
	return n
}

// TestSSHEngine uses an engine behind ssh. No connection outlasts the command that made it, however that ends.
func TestSSHEngine(t *testing.T) { inContainers(t, testSSHEngine) }

func testSSHEngine(t *testing.T, w *world) {
	sshd, port := w.sshd()
	own, socket, config := w.env, strings.TrimPrefix(engineSocket(w.runtime), "unix://"), w.onAllAddresses()
	w.context("behind", "ssh://engine"+socket, "")
	w.env = append(own, "DOCKER_HOST=", "DOCKER_CONTEXT=behind", "CONTAINER_HOST=ssh://engine"+socket)
	alone := func(after string) {
		t.Helper()
		w.eventually(10*time.Second, "the connections end after "+after, func() bool { return connections(sshd) == 0 })
	}
	w.create("ssh", "--config", config)
	alone("create")
	w.env = append(own, "DOCKER_HOST=unix:///none", "CONTAINER_HOST=unix:///none") // the cluster remembers
	w.ready("ssh")
	if got := w.ok("get", "clusters", "-o", "wide"); !strings.Contains(got, "https://"+far+":") {
		t.Errorf("the API server is not at %s:\n%s", far, got)
	}
	w.ok("scale", "node", "--replicas", "3", "--name", "ssh")
	if got := w.ok("--name", "ssh", "etcdctl", "get", "/registry/namespaces/default", "--keys-only"); !strings.Contains(got, "default") {
		t.Errorf("etcdctl: %q", got)
	}
	alone("etcdctl")
	w.ok("delete", "cluster", "--name", "ssh")
	w.gone("ssh")
	alone("delete")

	me, _ := user.Current()
	host := fmt.Sprintf("ssh://%s@%s:%s%s", me.Username, far, port, socket)
	w.env = append(own, "DOCKER_HOST="+host, "CONTAINER_HOST="+host)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		cmd := w.command(context.Background(), "create", "cluster", "--name", "cut", "--config", config)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		r := w.begin(cmd)
		w.eventually(60*time.Second, "something is made", func() bool { return len(w.thingsOf("cut")) > 0 })
		if err := syscall.Kill(-cmd.Process.Pid, sig); err != nil { // all of its group, as a terminal does
			t.Fatal(err)
		}
		res := r.wait()
		alone(sig.String())
		if sig == syscall.SIGINT && res.code != 130 {
			t.Errorf("interrupted: exit status %d: %s", res.code, res.stderr)
		}
		if sig == syscall.SIGKILL {
			w.ok("delete", "cluster", "--name", "cut")
		}
		w.gone("cut")
	}
	w.outOfReach(own, far+":"+port, socket)
	alone("errors")
}

// outOfReach creates where ssh does not come through, or leads to no engine. Each time one line says why, and nothing is
// left.
func (w *world) outOfReach(own []string, at, socket string) {
	for words, host := range map[string]string{
		"there is no program ssh":                        "ssh://engine" + socket,
		"Could not resolve hostname none.invalid":        "ssh://none.invalid",
		"port 1: Connection refused":                     "ssh://" + far + ":1",
		"Permission denied (publickey)":                  "ssh://denied" + socket,
		"nobody is asked for a password":                 "ssh://nobody@" + at + socket,
		"the key of that host is not known":              "ssh://stranger" + socket,
		"or not the one of before":                       "ssh://changed" + socket,
		"no engine listens there on " + socket + "-none": "ssh://engine" + socket + "-none",
		`"ssh://me:xxxxx@engine": allowed are unix://`:   "ssh://me:secret@engine",
	} {
		w.env = append(own, "DOCKER_HOST="+host, "CONTAINER_HOST="+host)
		if strings.Contains(words, "no program") {
			w.env = append(w.env, "PATH="+w.dir)
		}
		w.oneLine(host, w.run("create", "cluster", "--name", "out"), words)
		w.gone("out")
	}
	w.env = own
}
