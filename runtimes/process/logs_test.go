//go:build linux

package process

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kwokctl/runtimes"
)

// safeBuffer is a buffer that one goroutine writes and another reads.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestLogs(t *testing.T) {
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil, "--lines", "200000"))
	w.mustStart()
	if _, err := w.rt.Stop(t.Context(), w.specs, false); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := w.rt.Logs(t.Context(), w.specs[0], &out, false); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 200000 || lines[199999] != "etcd line 199999" {
		t.Errorf("%d lines, last %q", len(lines), lines[len(lines)-1])
	}
	err := w.rt.Logs(t.Context(), runtimes.Spec{Name: "kwok"}, &out, false)
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("log of nothing: %v", err)
	}
}

func TestRotationAndFollow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, logsDir), 0o700); err != nil {
		t.Fatal(err)
	}
	path := logPath(dir, "etcd")
	rt := New(Options{Dir: dir})
	ctx, cancel := context.WithCancel(t.Context())
	var out safeBuffer
	followed := make(chan error, 1)
	go func() { followed <- rt.Logs(ctx, runtimes.Spec{Name: "etcd"}, &out, true) }()

	l := newLogFile(path, 4000)
	var want strings.Builder
	for i := range 5000 { // 15 rotations
		chunk := fmt.Sprintf("line %d\nhalf ", i)
		want.WriteString(chunk)
		l.write([]byte(chunk))
		if i%250 == 249 { // lets the follower keep up: only what rotation keeps can be followed
			for began := time.Now(); out.String() != want.String(); time.Sleep(time.Millisecond) {
				if time.Since(began) > 10*time.Second {
					t.Fatalf("after %d: have %d bytes, want %d", i, len(out.String()), want.Len())
				}
			}
		}
	}
	l.close()
	cancel()
	if err := <-followed; err != nil {
		t.Error(err)
	}
	names, _ := filepath.Glob(path + "*")
	if len(names) != logKeep {
		t.Errorf("files %v", names)
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil || info.Size() > 4000 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, %v, %v", name, info.Size(), info.Mode(), err)
		}
	}
	var kept bytes.Buffer
	if err := rt.Logs(t.Context(), runtimes.Spec{Name: "etcd"}, &kept, false); err != nil {
		t.Fatal(err)
	}
	if kept.Len() < 3*4000 || !strings.HasSuffix(want.String(), kept.String()) {
		t.Errorf("kept %d bytes, which are not the last", kept.Len())
	}
}

func TestLogIsAppended(t *testing.T) {
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil, "--lines", "1"))
	for range 2 {
		w.mustStart()
		if _, err := w.rt.Stop(t.Context(), w.specs, false); err != nil {
			t.Fatal(err)
		}
	}
	if log := w.read("logs/etcd.log"); log != "etcd line 0\netcd line 0\n" {
		t.Errorf("log %q", log)
	}
}

// TestFullDisk uses a device that is always full, then a disk that has room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "etcd.log")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	l := newLogFile(path, 1<<20)
	began := time.Now()
	for range 1000 {
		l.write([]byte("12345678\n"))
	}
	for len(l.queue) > 0 {
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("writers were blocked for %s", took)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l.write([]byte("back\n"))
	l.close()
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(string(text), " bytes of log lost: no space left on device ---\nback\n") {
		t.Errorf("log %q, %v", text, err)
	}
}

func TestTail(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	l := newLogFile(filepath.Join(t.TempDir(), "x.log"), 1<<20)
	d := newDrain(r, l)
	for i := range 20000 {
		fmt.Fprintf(w, "line %d\n", i)
	}
	w.Close()
	d.finish()
	l.close()
	lines := d.lines()
	if len(lines) != 20 || lines[0] != "line 19980" || lines[19] != "line 19999" {
		t.Errorf("%q", lines)
	}
}

// TestPipeKeptOpen: a process that got away with the pipe cannot hold up its former family.
func TestPipeKeptOpen(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	l := newLogFile(filepath.Join(t.TempDir(), "x.log"), 1<<20)
	defer l.close()
	d := newDrain(r, l)
	fmt.Fprintln(w, "last words")
	d.finish()
	if lines := d.lines(); len(lines) != 1 || lines[0] != "last words" {
		t.Errorf("%q", lines)
	}
}
