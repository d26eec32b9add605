package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRestoreKilled kills restores at random moments. Whenever that is, the state is the old or the new one whole.
func TestRestoreKilled(t *testing.T) { inProcessesAndContainers(t, testRestoreKilled) }

func testRestoreKilled(t *testing.T, w *world) {
	const objects = 200
	kills := 8
	if w.runtime != "" {
		kills = 4
	}
	if *soak > 0 {
		kills = *soak
	}
	w.create("torn")
	fill := func(text string) {
		var b strings.Builder
		for i := range objects {
			fmt.Fprintf(&b, "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: c%d}, data: {state: %q}}\n", i, text)
		}
		w.apply("torn", b.String())
	}
	db, yaml := filepath.Join(w.home, "s.db"), filepath.Join(w.home, "s.yaml")
	fill("new")
	w.ok("snapshot", "save", "--name", "torn", "--path", db)
	w.ok("snapshot", "save", "--name", "torn", "--path", yaml, "--format", "k8s")
	takes := map[string]time.Duration{}
	for _, path := range []string{db, yaml} {
		r := w.run("snapshot", "restore", "--name", "torn", "--path", path)
		if r.code != 0 {
			t.Fatalf("restore from %s: %s", path, r.stderr)
		}
		takes[path] = r.took
	}
	fill("old")
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	seen := map[string]int{}
	for i := range kills {
		path := []string{db, yaml}[i%2]
		r := w.begin(w.command(t.Context(), "snapshot", "restore", "--name", "torn", "--path", path))
		delay := time.Duration(random.Int64N(int64(takes[path])))
		time.Sleep(delay)
		_ = r.cmd.Process.Signal(syscall.SIGKILL)
		code := r.wait().code
		w.ok("start", "cluster", "--name", "torn", "--wait", "60s")
		w.ready("torn")
		got := strings.Fields(w.kubectl("torn", "get", "configmaps", "-o", `jsonpath={range .items[*]}{.data.state}{" "}{end}`))
		count := map[string]int{}
		for _, text := range got {
			count[text]++
		}
		t.Logf("%s killed after %s (exit status %d): %v", filepath.Base(path), delay, code, count)
		if count["old"]+count["new"] != objects || count["old"] != 0 && count["new"] != 0 {
			t.Errorf("%s killed after %s: neither old nor new: %v", filepath.Base(path), delay, count)
		}
		if code == 0 && count["new"] != objects {
			t.Errorf("%s: a restore that ended well did not restore: %v", filepath.Base(path), count)
		}
		for _, left := range []string{"restore", "etcd.prev"} {
			if _, err := os.Lstat(filepath.Join(w.cluster("torn"), left)); err == nil {
				t.Errorf("%s killed after %s: %s is left", filepath.Base(path), delay, left)
			}
		}
		seen[got[0]]++
		if count["old"] == 0 {
			fill("old")
		}
	}
	t.Logf("states: %v", seen)
	if w.runtime != "" {
		return // there the data of before are in a volume, which w.ready counts
	}
	// A kill when all was ready, but for what is to be removed.
	for _, left := range []string{"restore", "etcd.prev"} {
		if err := os.MkdirAll(filepath.Join(w.cluster("torn"), left, "member"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.ok("start", "cluster", "--name", "torn")
	for _, left := range []string{"restore", "etcd.prev"} {
		if _, err := os.Lstat(filepath.Join(w.cluster("torn"), left)); err == nil {
			t.Errorf("%s is left after the start of a ready cluster", left)
		}
	}
}

// TestRestoreInterrupted ends restores by a signal and by a time limit: all is as before, and running.
func TestRestoreInterrupted(t *testing.T) { inProcessesAndContainers(t, testRestoreInterrupted) }

func testRestoreInterrupted(t *testing.T, w *world) {
	w.create("calm")
	w.kubectl("calm", "create", "configmap", "kept")
	db, yaml := filepath.Join(w.home, "s.db"), filepath.Join(w.home, "s.yaml")
	w.ok("snapshot", "save", "--name", "calm", "--path", db)
	w.ok("snapshot", "save", "--name", "calm", "--path", yaml, "--format", "k8s")
	w.kubectl("calm", "create", "configmap", "late")
	for i, path := range []string{db, yaml, db, yaml} {
		r := w.begin(w.command(t.Context(), "snapshot", "restore", "--name", "calm", "--path", path))
		time.Sleep(time.Duration(100+200*i) * time.Millisecond)
		_ = r.cmd.Process.Signal(os.Interrupt)
		res := r.wait()
		if res.code == -1 { // it had not yet begun to listen for signals
			res.code = 130
		}
		if res.code != 130 && res.code != 0 {
			t.Errorf("interrupted: exit status %d: %s", res.code, res.stderr)
		}
		t.Logf("%s after %d ms: exit status %d: %s", filepath.Base(path), 100+200*i, res.code, res.stderr)
		w.ready("calm")
		late := w.kubectl("calm", "get", "configmap", "late", "--ignore-not-found") != ""
		if res.code == 130 && !late {
			t.Errorf("a restore from %s that was interrupted has changed the state: %s", path, res.stderr)
		}
		if !late {
			w.kubectl("calm", "create", "configmap", "late")
		}
	}
	w.fails(124, []string{"restore cluster: not done within 300ms"}, "snapshot", "restore", "--name", "calm", "--path", db, "--timeout", "300ms")
	w.ready("calm")
	w.kubectl("calm", "get", "configmap", "late")
}

// TestRestoreFull restores where the disk gets full soon or late, or not at all. The state is the old one whole, or the
// new one; what could not be undone for want of space is undone by the next start.
func TestRestoreFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.smallDisk()
	w.create("tight")
	w.kubectl("tight", "create", "configmap", "state", "--from-literal=is=new")
	db, bulk := filepath.Join(w.home, "s.db"), filepath.Join(w.home, "bulk.yaml")
	w.ok("snapshot", "save", "--name", "tight", "--path", db)
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: bulk%d, namespace: default, uid: u%d}, data: {a: %s}}\n", i, i, strings.Repeat("x", 900_000))
	}
	b.WriteString("---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: state, namespace: default, uid: u}, data: {is: new}}\n")
	write(t, bulk, b.String())
	for _, tt := range []struct {
		path string
		free uint64 // at first
		want string
	}{
		{db, 8 << 20, "old"},
		{db, 100 << 20, "new"},
		{bulk, 100 << 10, "old"}, // too little for a copy of what is there
		{bulk, 16 << 20, "old"},  // too little for the objects, and for undoing them
		{bulk, 400 << 20, "new"},
	} {
		w.kubectl("tight", "patch", "configmap", "state", "-p", `{"data":{"is":"old"}}`)
		w.leave(tt.free)
		r := w.run("snapshot", "restore", "--name", "tight", "--path", tt.path)
		w.leave(1 << 30)
		w.ok("start", "cluster", "--name", "tight", "--wait", "60s")
		w.ready("tight")
		t.Logf("%s, %d KiB free: exit status %d: %s", filepath.Base(tt.path), tt.free>>10, r.code, r.stderr)
		is := w.kubectl("tight", "get", "configmap", "state", "-o", "jsonpath={.data.is}")
		if is != tt.want || (r.code == 0) != (tt.want == "new") {
			t.Errorf("%s, %d KiB free: exit status %d, and the state is %q, want %q", filepath.Base(tt.path), tt.free>>10, r.code, is, tt.want)
		}
		if left := strings.Count(w.kubectl("tight", "get", "configmaps", "-o", "name"), "bulk"); left > 0 && is == "old" {
			t.Errorf("%d objects of a restore that failed are left", left)
		}
	}
}

// smallDisk makes the work directory a disk of its own.
func (w *world) smallDisk() {
	w.t.Helper()
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", w.dir, "tmpfs", 0, "mode=0700"); errors.Is(err, unix.EPERM) {
		w.t.Skip("only root can make a small disk")
	} else if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		w.ok("delete", "cluster", "--all") // a process in it would hold it
		if err := unix.Unmount(w.dir, 0); err != nil {
			w.t.Error(err)
		}
	})
}

// leave makes the disk so large that this many bytes are free.
func (w *world) leave(free uint64) {
	w.t.Helper()
	var disk unix.Statfs_t
	if err := unix.Statfs(w.dir, &disk); err != nil {
		w.t.Fatal(err)
	}
	used := (disk.Blocks - disk.Bfree) * uint64(disk.Bsize)
	if err := unix.Mount("tmpfs", w.dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", used+free)); err != nil {
		w.t.Fatal(err)
	}
}
