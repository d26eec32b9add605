package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestCheckWritable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	must(t, os.Symlink("file/x", filepath.Join(dir, "lost")))
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	for path, want := range map[string]string{
		"new": "", "file": "", "some/new/one": "",
		"file/x": "not a directory", "file/x/y": "not a directory", "lost": "not a directory", "loop": "symlink",
	} {
		for _, check := range []func(string) error{CheckWritable, TryWritable} {
			err := check(filepath.Join(dir, path))
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", path, err, want)
			}
		}
	}
	if runtime.GOOS == "linux" { // root is let in, and can make nothing
		for _, path := range []string{"/proc/x", "/proc/x/y", "/sys/x"} {
			if err := TryWritable(path); err == nil || !strings.Contains(err.Error(), "write "+path+": no file can be made in ") {
				t.Errorf("%s: got %v", path, err)
			}
		}
	}
	if got := names(t, dir); len(got) != 3 {
		t.Errorf("it made something: %v", got)
	}
	if os.Geteuid() != 0 { // root may write everywhere
		must(t, os.Mkdir(filepath.Join(dir, "locked"), 0o500))
		if err := CheckWritable(filepath.Join(dir, "locked", "x")); err == nil || !strings.Contains(err.Error(), "locked: permission denied") {
			t.Errorf("a directory that may not be written: %v", err)
		}
	}
}

func TestWriteAtomic(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, at, target string // target: where the data must be
		prepare          func(dir string) error
		bad              bool
	}{
		{name: "new", at: "a", target: "a"},
		{name: "old", at: "a", target: "a", prepare: func(d string) error { return os.WriteFile(d+"/a", []byte("old"), 0o666) }},
		{name: "link", at: "l", target: "a", prepare: func(d string) error { return os.Symlink("a", d+"/l") }},
		{name: "links", at: "l", target: "sub/a", prepare: func(d string) error {
			return errors.Join(os.Mkdir(d+"/sub", 0o700), os.Symlink(d+"/m", d+"/l"), os.Symlink("sub/a", d+"/m"))
		}},
		{name: "endless links", at: "l", bad: true, prepare: func(d string) error { return os.Symlink("l", d+"/l") }},
		{name: "no directory", at: "x/a", bad: true},
		{name: "directory there", at: "a", bad: true, prepare: func(d string) error { return os.Mkdir(d+"/a", 0o700) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if tt.prepare != nil {
				must(t, tt.prepare(dir))
			}
			before := names(t, dir)
			err := WriteAtomic(filepath.Join(dir, tt.at), []byte("new"), 0o640)
			if tt.bad {
				if err == nil || strings.Contains(err.Error(), ".tmp") || !slices.Equal(before, names(t, dir)) {
					t.Errorf("got %v, left %v", err, names(t, dir))
				}
				return
			}
			must(t, err)
			text, err := os.ReadFile(filepath.Join(dir, tt.target))
			info, _ := os.Lstat(filepath.Join(dir, tt.target))
			if string(text) != "new" || err != nil || info.Mode() != 0o640 {
				t.Errorf("%q, %v, mode %v", text, err, info.Mode())
			}
			if slices.ContainsFunc(names(t, dir), func(n string) bool { return strings.Contains(n, ".tmp") }) {
				t.Errorf("left behind: %v", names(t, dir))
			}
		})
	}
}

func TestWriteStreamErrorKeepsOld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	must(t, WriteAtomic(path, []byte("old"), 0o600))
	err := WriteStream(path, 0o600, func(w io.Writer) error {
		_, _ = w.Write([]byte("half"))
		return io.ErrUnexpectedEOF
	})
	text, _ := os.ReadFile(path)
	if !errors.Is(err, io.ErrUnexpectedEOF) || string(text) != "old" || len(names(t, dir)) != 1 {
		t.Errorf("%v, %q, %v", err, text, names(t, dir))
	}
}

func TestPrivate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		prepare func(path string) error
		want    string // part of the error
		mode    os.FileMode
		repair  os.FileMode
	}{
		{name: "missing", mode: 0o700, repair: 0o700},
		{name: "ours", prepare: func(p string) error { return os.Mkdir(p, 0o700) }, mode: 0o700, repair: 0o700},
		{name: "readable", prepare: func(p string) error { return mkdir(p, 0o755) }, mode: 0o755, repair: 0o700},
		{name: "group writes", prepare: func(p string) error { return mkdir(p, 0o770) }, want: "others can write"},
		{name: "others write", prepare: func(p string) error { return mkdir(p, 0o702) }, want: "others can write"},
		{name: "file", prepare: func(p string) error { return os.WriteFile(p, nil, 0o600) }, want: "not a directory"},
		{name: "link", prepare: func(p string) error { return os.Symlink(filepath.Dir(p), p) }, want: "symlink"},
		{name: "foreign", prepare: func(p string) error {
			return errors.Join(os.Mkdir(p, 0o700), os.Chown(p, 12345, -1))
		}, want: "somebody else"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.name == "foreign" && os.Geteuid() != 0 {
				t.Skip("only root can give a directory away")
			}
			path := filepath.Join(t.TempDir(), "deep", "d")
			must(t, os.Mkdir(filepath.Dir(path), 0o700))
			if tt.prepare != nil {
				must(t, tt.prepare(path))
			}
			err := MkdirPrivate(path)
			for _, err := range []error{err, CheckPrivate(path), RepairPrivate(path)} {
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) ||
					!strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n")) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
			}
			if info, _ := os.Lstat(path); tt.want == "" && info.Mode().Perm() != tt.repair {
				t.Errorf("mode %v after repair", info.Mode())
			}
		})
	}
	if err := CheckPrivate(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) && err == nil {
		t.Error(err)
	}
}

func mkdir(path string, mode os.FileMode) error {
	return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, mode))
}

func TestMkdirPrivateMakesParents(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	must(t, MkdirPrivate(filepath.Join(root, "a", "b c", "d")))
	if info, _ := os.Stat(filepath.Join(root, "a")); info.Mode().Perm() != 0o700 {
		t.Errorf("parent mode %v", info.Mode())
	}
}

func TestRepair(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.WriteFile(outside, nil, 0o600))
	must(t, os.Chmod(outside, 0o644))
	root := t.TempDir()
	must(t, mkdir(root+"/pki", 0o777))
	must(t, os.WriteFile(root+"/pki/ca.key", nil, 0o600))
	must(t, os.Chmod(root+"/pki/ca.key", 0o664))
	must(t, os.WriteFile(root+"/bin", nil, 0o700))
	must(t, os.Chmod(root+"/bin", 0o755))
	must(t, os.Symlink(outside, root+"/link"))
	must(t, mkdir(root+"/closed", 0))
	must(t, os.Chmod(root, 0o755))
	var log []string
	must(t, Repair(root, func(path string, was, now os.FileMode) {
		rel, _ := filepath.Rel(root, path)
		log = append(log, fmt.Sprintf("%s %o %o", rel, was, now))
	}))
	want := []string{". 755 700", "bin 755 700", "closed 0 700", "pki 777 700", "pki/ca.key 664 600"}
	slices.Sort(log)
	if !slices.Equal(log, want) {
		t.Errorf("got %q\nwant %q", log, want)
	}
	if info, _ := os.Stat(outside); info.Mode().Perm() != 0o644 {
		t.Error("followed a link")
	}
	must(t, Repair(root, func(string, os.FileMode, os.FileMode) { t.Error("repaired twice") }))
	if err := Repair(filepath.Join(root, "none"), nil); err == nil {
		t.Error("no error for a missing directory")
	}
}

func TestRemoveTree(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	outside := t.TempDir()
	must(t, os.WriteFile(outside+"/keep", nil, 0o600))
	must(t, os.MkdirAll(root+"/c/etcd/deep", 0o700))
	must(t, os.WriteFile(root+"/c/etcd/deep/f", nil, 0o400))
	must(t, os.Symlink(outside, root+"/c/link"))
	must(t, os.Symlink("..", root+"/c/up"))
	must(t, os.Symlink(outside, root+"/toplink"))
	must(t, os.Mkdir(root+"/other", 0o700))
	for _, dir := range []string{"/c/etcd/deep", "/c/etcd", "/c"} {
		must(t, os.Chmod(root+dir, 0o500))
	}
	for _, name := range []string{"", ".", "..", "a/b", "/", "../x", "c/..", "a\x00b"} {
		if err := RemoveTree(root, name); err == nil {
			t.Errorf("%q accepted", name)
		}
	}
	for _, name := range []string{"c", "c", "toplink", "none"} {
		must(t, RemoveTree(root, name))
	}
	must(t, RemoveTree(filepath.Join(root, "none"), "x"))
	if got := names(t, root); !slices.Equal(got, []string{"other"}) {
		t.Errorf("left %v", got)
	}
	if got := names(t, outside); !slices.Equal(got, []string{"keep"}) {
		t.Errorf("followed a link: %v", got)
	}
}

// TestRemoveTreeAsUser repeats TestRemoveTree without the powers of root, for whom no directory is read-only.
func TestRemoveTreeAsUser(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	must(t, os.MkdirAll(root+"/c/a", 0o700))
	must(t, os.WriteFile(root+"/c/a/f", nil, 0o600))
	must(t, os.Chmod(root+"/c/a", 0))
	must(t, os.Chmod(root+"/c", 0o500))
	dir, err := os.OpenRoot(root)
	must(t, err)
	defer dir.Close()
	unlock(dir, "c")
	for _, d := range []string{"/c", "/c/a"} {
		if info, _ := os.Stat(root + d); info.Mode().Perm() != 0o700 {
			t.Errorf("%s: mode %v", d, info.Mode())
		}
	}
	must(t, RemoveTree(root, "c"))
}

func TestRemoveAndCreateNew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a")
	must(t, CreateNew(path, "mine"))
	if err := CreateNew(path, "mine"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	must(t, Remove(path))
	must(t, Remove(path))
	must(t, os.MkdirAll(path+"/b", 0o700))
	if err := Remove(path); err == nil {
		t.Error("removed a full directory")
	}
}

func TestFreeSpace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	here, err := FreeSpace(dir)
	must(t, err)
	there, err := FreeSpace(filepath.Join(dir, "not", "yet"))
	must(t, err)
	if here == 0 || there == 0 {
		t.Errorf("%d, %d", here, there)
	}
}

func TestLockExcludes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), ".lock")
	var inside, most atomic.Int32
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			l, err := Acquire(t.Context(), path, "create "+strconv.Itoa(i), nil)
			if err != nil {
				t.Error(err)
				return
			}
			most.Store(max(most.Load(), inside.Add(1)))
			inside.Add(-1)
			if err := l.Release(); err != nil {
				t.Error(err)
			}
			if err := l.Release(); err != nil {
				t.Error("second release:", err)
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d holders at once", most.Load())
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file stays")
	}
}

func TestLockWaiting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), ".lock")
	l, err := Acquire(t.Context(), path, "create cluster a", nil)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var told string
	_, err = Acquire(ctx, path, "delete cluster a", func(holder string, since time.Time) {
		told = holder
		if d := time.Since(since); d < 0 || d > time.Minute {
			t.Errorf("since %v", since)
		}
		cancel()
	})
	want := fmt.Sprintf("create cluster a (pid %d)", os.Getpid())
	if told != want || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), want) {
		t.Errorf("told %q, error %v", told, err)
	}
	got := make(chan error, 1)
	waits := make(chan struct{}, 1)
	go func() {
		l, err := Acquire(t.Context(), path, "stop", func(string, time.Time) { waits <- struct{}{} })
		got <- errors.Join(err, l.Release())
	}()
	<-waits
	must(t, l.Release())
	must(t, <-got)
	if _, err := Acquire(ctx, path, "x", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}

func TestLockRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/precious", []byte("text"), 0o600))
	must(t, os.Symlink("precious", dir+"/link"))
	for _, path := range []string{dir + "/link", dir + "/none/lock", dir} {
		if _, err := Acquire(t.Context(), path, "x", nil); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if text, _ := os.ReadFile(dir + "/precious"); string(text) != "text" {
		t.Error("wrote through a link")
	}
	// Text that is no holder's must not matter.
	must(t, os.WriteFile(dir+"/odd", []byte("a b c d\x00"), 0o600))
	l, err := Acquire(t.Context(), dir+"/odd", "x", nil)
	must(t, err)
	must(t, l.Release())
}

// TestLockDiesWithItsProcess kills a holder; the lock must be free at once.
func TestLockDiesWithItsProcess(t *testing.T) {
	t.Parallel()
	if at := os.Getenv("FILES_TEST_HOLD"); at != "" {
		_, err := Acquire(t.Context(), at, "holder", nil)
		must(t, err)
		fmt.Println("held")
		select {}
	}
	path := filepath.Join(t.TempDir(), ".lock")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLockDiesWithItsProcess$")
	cmd.Env = append(os.Environ(), "FILES_TEST_HOLD="+path)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = io.ReadFull(out, make([]byte, 5))
	must(t, err)
	waits := make(chan string, 1)
	go func() {
		<-waits
		_ = cmd.Process.Kill()
	}()
	l, err := Acquire(t.Context(), path, "next", func(holder string, _ time.Time) { waits <- holder })
	must(t, err)
	_ = cmd.Wait()
	must(t, l.Release())
}
