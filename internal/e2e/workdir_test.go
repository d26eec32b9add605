package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOddWorkDirectory runs a whole life in work directories with blanks, and with a path too long for a socket.
func TestOddWorkDirectory(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ what, dir string }{
		{"blanks", "my \"work\" dir, with 'quotes' $HOME %s and ümlauts"},
		{"long", strings.Repeat("a-very-long-name-of-a-directory/", 5) + "kwok"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			w := newWorld(t)
			w.moveTo(filepath.Join(w.home, tt.dir))
			w.create("odd")
			if path := filepath.Join(w.cluster("odd"), "etcd:0"); tt.what == "long" && len(path) < 200 {
				t.Errorf("%s is not long", path)
			}
			w.ok("scale", "node", "--replicas", "1", "--name", "odd")
			w.kubectl("odd", "wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
			if got := w.ok("--name", "odd", "etcdctl", "get", "/registry/namespaces/default", "--keys-only"); !strings.Contains(got, "/registry/namespaces/default") {
				t.Errorf("etcdctl get: %q", got)
			}
			if got := w.ok("logs", "etcd", "--name", "odd"); !strings.Contains(got, "ready to serve client requests") {
				t.Errorf("logs etcd: %.300q", got)
			}
			w.kill(w.components("odd")["kube-scheduler"].PID)
			w.ok("stop", "cluster", "--name", "odd")
			w.ok("start", "cluster", "--name", "odd", "--wait", "60s")
			w.ready("odd")
			w.ok("delete", "cluster", "--name", "odd")
			w.gone("odd")
		})
	}
}

// TestBadWorkDirectory refuses directories that are not the user's own and private.
func TestBadWorkDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		what  string
		make  func(dir string) error
		words []string
	}{
		{"symlink", func(dir string) error {
			if err := os.Mkdir(dir+"-target", 0o700); err != nil {
				return err
			}
			return os.Symlink(dir+"-target", dir)
		}, []string{"symlink"}},
		{"writable by all", func(dir string) error { return os.Chmod(must(dir, os.Mkdir(dir, 0o700)), 0o777) }, []string{"others can write to it", "drwxrwxrwx"}},
		{"writable by the group", func(dir string) error { return os.Chmod(must(dir, os.Mkdir(dir, 0o700)), 0o770) }, []string{"others can write to it"}},
		{"file", func(dir string) error { return os.WriteFile(dir, []byte("x"), 0o600) }, []string{"not a directory"}},
		{"below a file", func(dir string) error {
			w.moveTo(filepath.Join(dir, "below"))
			return os.WriteFile(dir, []byte("x"), 0o600)
		}, []string{"not a directory"}},
		{"foreign", func(dir string) error { return os.Chown(must(dir, os.Mkdir(dir, 0o700)), 12345, 12345) }, []string{"12345"}},
		{"unwritable", func(string) error { w.moveTo("/proc/kwok"); return nil }, []string{"/proc/kwok"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			if tt.what == "foreign" && os.Geteuid() != 0 {
				t.Skip("only root can give a directory away")
			}
			w.t = t
			dir := filepath.Join(w.home, strings.ReplaceAll(tt.what, " ", "-"))
			w.moveTo(dir)
			if err := tt.make(dir); err != nil {
				t.Fatal(err)
			}
			before := tree(w.home)
			w.oneLine("create", w.run("create", "cluster", "--wait", "60s"), append(tt.words, w.dir)...)
			if got := differ(before, tree(w.home)); len(got) > 0 {
				t.Errorf("create changed %q", got)
			}
		})
	}
	w.t = t
	w.moveTo(filepath.Join(w.home, ".kwok"))
}

func must(dir string, err error) string {
	if err != nil {
		panic(err)
	}
	return dir
}

// TestNoHome has no place that is the user's own.
func TestNoHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := tree(w.home)
	for _, without := range []string{"env -u HOME -u KWOK_WORKDIR", "env -u HOME -u KWOK_WORKDIR -u KUBECONFIG", "env HOME= KWOK_WORKDIR="} {
		for _, args := range []string{"create cluster", "get clusters", "delete cluster --all", "kubectl get nodes"} {
			r := w.shell(without + " ./kwokctl " + args)
			w.oneLine(without+" "+args, r, "HOME")
		}
	}
	if got := differ(before, tree(w.home)); len(got) > 0 {
		t.Errorf("written: %q", got)
	}
}

// TestHomeOnly needs no variable but HOME.
func TestHomeOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if r := w.shell("env -i HOME=" + w.home + " ./kwokctl create cluster --wait 120s"); r.code != 0 {
		t.Fatalf("create: exit status %d: %s", r.code, r.stderr)
	}
	w.ready("kwok")
	if got := read(filepath.Join(w.home, ".kube", "config")); !strings.Contains(got, "current-context: kwok-kwok") {
		t.Errorf("~/.kube/config: %s", got)
	}
	if r := w.shell("env -i HOME=" + w.home + " ./kwokctl delete cluster"); r.code != 0 {
		t.Errorf("delete: exit status %d: %s", r.code, r.stderr)
	}
	if got := read(filepath.Join(w.home, ".kube", "config")); strings.Contains(got, "kwok-kwok") {
		t.Errorf("~/.kube/config after delete: %s", got)
	}
}

// TestFewFiles refuses to run a cluster with fewer file descriptors than it may need.
func TestFewFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.oneLine("create", w.shell("ulimit -n 4096; exec ./kwokctl create cluster --wait 60s"), "4096", "8192")
	w.gone("kwok")
	if r := w.shell("ulimit -Sn 256; exec ./kwokctl create cluster --wait 120s"); r.code != 0 {
		t.Fatalf("a low soft limit: exit status %d: %s", r.code, r.stderr)
	}
	for name, pid := range w.pids("kwok") {
		if f := strings.Fields(line(read(fmt.Sprintf("/proc/%d/limits", pid)), "Max open files")); len(f) < 5 || f[3] != f[4] {
			t.Errorf("limits of %s, soft and hard: %q", name, f)
		}
	}
	w.ok("stop", "cluster")
	w.oneLine("start", w.shell("ulimit -n 4096; exec ./kwokctl start cluster"), "4096", "8192")
	if got := w.status("kwok"); got != "Stopped" {
		t.Errorf("status: %q", got)
	}
}

// line returns the line of a text that begins with a word.
func line(text, word string) string {
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, word) {
			return l
		}
	}
	return ""
}

// TestWithoutRoot shows that a user without rights can do everything, in a directory that he can write to.
func TestWithoutRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("all other tests show it")
	}
	w := newWorld(t)
	home, err := os.MkdirTemp("", "kwok-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	const uid = 65534
	data, err := os.ReadFile(self(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "kwokctl"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	data = nil
	if err := os.Chown(home, uid, uid); err != nil {
		t.Fatal(err)
	}
	as := func(args ...string) result {
		cmd := w.command(context.Background(), args...)
		cmd.Path, cmd.Dir = filepath.Join(home, "kwokctl"), home
		cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		return w.finish(cmd)
	}
	w.dir = filepath.Join(home, ".kwok")
	t.Cleanup(func() { as("delete", "cluster", "--all") })
	if r := as("create", "cluster", "--name", "user", "--wait", "120s"); r.code != 0 {
		t.Fatalf("create: exit status %d: %s", r.code, r.stderr)
	}
	if got := w.processesOf("user"); len(got) != len(all)+1 {
		t.Errorf("processes: %q", got)
	}
	for _, args := range [][]string{{"scale", "node", "--replicas", "2"}, {"stop", "cluster"}, {"start", "cluster"}, {"kubectl", "get", "nodes"}, {"delete", "cluster"}} {
		if r := as(append([]string{"--name", "user"}, args...)...); r.code != 0 {
			t.Errorf("%v: exit status %d: %s", args, r.code, r.stderr)
		}
	}
	w.gone("user")
	if err := os.Chmod(w.dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(w.dir, "clusters")); err != nil {
		t.Fatal(err)
	}
	w.oneLine("create in a directory that is read-only", as("create", "cluster", "--name", "user"), "permission denied", w.dir)
	w.dir = filepath.Join(w.home, ".kwok")
}
