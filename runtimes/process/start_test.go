//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kwokctl/runtimes"
)

// before fails unless line a comes before line b in the trace.
func (w *world) before(a, b string) {
	w.Helper()
	lines := strings.Split(w.read("trace"), "\n")
	at, bt := slices.Index(lines, a), slices.Index(lines, b)
	if at < 0 || bt < 0 || at > bt {
		w.Errorf("want %q (line %d) before %q (line %d)", a, at, b, bt)
	}
}

func TestStartInOrder(t *testing.T) {
	w := newWorld(t, Periods{}, chain("--slow", "200ms")...)
	var mu sync.Mutex
	var seen []string
	observe := func(s runtimes.Status) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, s.Name+" "+string(s.State))
	}
	if err := w.rt.Start(t.Context(), w.specs, observe); err != nil {
		t.Fatal(err)
	}
	w.before("etcd serves", "apiserver started")
	w.before("apiserver serves", "scheduler started")
	w.before("apiserver serves", "kwok started")
	w.before("apiserver launched", "etcd serves") // embedded programs are launched ahead of time,
	w.before("etcd serves", "kwok launched")      // one level ahead of what is ready
	w.before("kwok launched", "apiserver serves")
	for _, want := range []string{"etcd Starting", "etcd Ready", "apiserver Waiting", "kwok Ready"} {
		if !slices.Contains(seen, want) {
			t.Errorf("nobody was told %q: %q", want, seen)
		}
	}
	s := w.status("apiserver")
	if s.State != runtimes.Ready || s.PID == 0 || s.Took < 200*time.Millisecond || s.Restarts != 0 {
		t.Errorf("status: %+v", s)
	}
	if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", s.PID)); string(comm) != "apiserver\n" {
		t.Errorf("comm is %q", comm)
	}
	// A second start changes nothing.
	w.mustStart()
	if again := w.status("apiserver"); again.PID != s.PID {
		t.Errorf("pid %d became %d", s.PID, again.PID)
	}
}

func TestOwnBinaryIsLaunchedLate(t *testing.T) {
	self, _ := os.Executable()
	own := fakeSpec("own", []string{"etcd"})
	own.Program = self
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil, "--slow", "200ms"), own)
	w.mustStart()
	w.before("etcd serves", "own launched")
}

func TestProbeOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	spec := fakeSpec("web", nil, "--port", strconv.Itoa(port))
	spec.Probe.Ready = fmt.Sprintf("http://127.0.0.1:%d/readyz", port)
	spec.Probe.Live = fmt.Sprintf("http://127.0.0.1:%d/livez", port)
	w := newWorld(t, Periods{}, spec)
	w.mustStart()
}

func TestExitBeforeReady(t *testing.T) {
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil), fakeSpec("bad", []string{"etcd"}, "--die", "--lines", "30"),
		fakeSpec("after", []string{"bad"}))
	w.mustStartSome("etcd")
	began := time.Now()
	err := w.start()
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %s", took)
	}
	var exit *runtimes.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("got %v", err)
	}
	if exit.Component != "bad" || exit.Reason != "exit status 3" || len(exit.Tail) != 20 || exit.Tail[19] != "bad line 29" ||
		exit.Log != filepath.Join(w.dir, "logs", "bad.log") {
		t.Errorf("got %+v", exit)
	}
	if s := w.status("bad"); s.State != runtimes.Exited || s.ExitCode == nil || *s.ExitCode != 3 {
		t.Errorf("status %+v", s)
	}
	if s := w.status("etcd"); s.State != runtimes.Ready {
		t.Errorf("the others are not left alone: %+v", s)
	}
}

// TestExitAfterReady starts one that exits when it was ready, once or always, while another one takes its time.
func TestExitAfterReady(t *testing.T) {
	p := quick()
	p.Steady = 400 * time.Millisecond
	for _, tt := range []struct {
		name  string
		times int
		wants string
	}{{"once", 1, ""}, {"twice", 2, "flaky: exit status 4"}} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, p, fakeSpec("flaky", nil, "--faints", "faints", "--lines", "1"), fakeSpec("another", nil, "--slow", "1s"))
			if err := os.WriteFile(filepath.Join(w.dir, "faints"), make([]byte, tt.times), 0o600); err != nil {
				t.Fatal(err)
			}
			got, began := "", time.Now()
			err := w.start()
			if exit := (*runtimes.ExitError)(nil); errors.As(err, &exit) {
				got = exit.Component + ": " + exit.Reason
			} else if err != nil {
				t.Fatal(err)
			}
			if got != tt.wants {
				t.Errorf("got %q, want %q", got, tt.wants)
			}
			if took := time.Since(began); tt.wants != "" && took > time.Second {
				t.Errorf("took %s, as long as another one", took)
			}
			if s := w.status("flaky"); tt.wants == "" && (s.State != runtimes.Ready || s.Restarts != 1) {
				t.Errorf("status %+v", s)
			}
		})
	}
}

func (w *world) mustStartSome(names ...string) {
	w.Helper()
	var some []runtimes.Spec
	for _, s := range w.specs {
		if slices.Contains(names, s.Name) {
			some = append(some, s)
		}
	}
	if err := w.rt.Start(w.Context(), some, nil); err != nil {
		w.Fatal(err)
	}
}

func TestProgramMissing(t *testing.T) {
	spec := fakeSpec("own", nil)
	spec.Program = "/no/such/program"
	w := newWorld(t, Periods{}, spec)
	var exit *runtimes.ExitError
	if err := w.start(); !errors.As(err, &exit) || !strings.Contains(exit.Reason, "run /no/such/program: no such file") {
		t.Errorf("got %v", err)
	}
}

func TestBadSpecs(t *testing.T) {
	w := newWorld(t, Periods{})
	for want, specs := range map[string][]runtimes.Spec{
		`not the name of a component`:          {{Name: "../etcd"}},
		`needs "b", which is no component`:     {{Name: "a", Needs: []string{"b"}}},
		`needs itself: a needs b needs a`:      {{Name: "a", Needs: []string{"b"}}, {Name: "b", Needs: []string{"a"}}},
		`start ".": not the name of a compone`: {{Name: "."}},
	} {
		if err := w.rt.Start(t.Context(), specs, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestStartEndsWithContext(t *testing.T) {
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil, "--slow", "1h"))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := w.rt.Start(ctx, w.specs, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if s := w.status("etcd"); s.State != runtimes.Starting || !strings.Contains(s.Reason, "etcd:0") {
		t.Errorf("status does not say why it is late: %+v", s)
	}
}

func TestConcurrentStarts(t *testing.T) {
	w := newWorld(t, Periods{}, chain()...)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			// A runtime of its own, as another process would have.
			if err := New(Options{Dir: w.dir, Self: w.rt.self}).Start(t.Context(), w.specs, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if pids := w.processes(); len(pids) != 5 {
		t.Errorf("want a supervisor and 4 components, got %v", pids)
	}
}

func TestSecondSupervisorIsRefused(t *testing.T) {
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil))
	w.mustStart()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := takeOver(ctx, w.dir)
	if want := fmt.Sprintf("(pid %d)", w.supervisorPID()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("want %q, got %v", want, err)
	}
}

func TestLongPathWithSpaces(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b", strings.Repeat("long/", 30), "c'd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w := newWorldIn(t, dir, Periods{}, chain()...)
	w.mustStart()
	if _, err := w.rt.Stop(t.Context(), w.specs, false); err != nil {
		t.Fatal(err)
	}
}

func TestEnvironmentIsClean(t *testing.T) {
	t.Setenv("SECRET_TOKEN", "hunter2")
	t.Setenv("KUBECONFIG", "/root/.kube/config")
	if err := os.Unsetenv("TMPDIR"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	spec := fakeSpec("etcd", nil, "--env-to", "env")
	spec.Env = []string{"ETCD_X=1", "HOME=/nowhere"}
	w := &world{T: t, dir: dir, specs: []runtimes.Spec{spec}}
	w.specs[0].Dir = dir
	self, _ := os.Executable()
	w.rt = New(Options{Dir: dir, Self: self})
	t.Cleanup(w.end)
	w.mustStart()
	got := strings.Split(w.read("env"), "\n")
	slices.Sort(got)
	if want := []string{"ETCD_X=1", "HOME=/nowhere", "PATH=" + os.Getenv("PATH")}; !slices.Equal(got, want) {
		t.Errorf("component sees %q, want %q", got, want)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", w.supervisorPID()))
	if err != nil || strings.Contains(string(environ), "SECRET") || strings.Contains(string(environ), "KUBECONFIG") {
		t.Errorf("supervisor sees %q, %v", environ, err)
	}
}

func TestModes(t *testing.T) {
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil, "--lines", "1"))
	if err := os.Chmod(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.mustStart()
	for name, want := range map[string]os.FileMode{
		".": 0o700, logsDir: 0o700, binDir: 0o700, socketName: 0o600, lockName: 0o600, launchName: 0o600, stateName: 0o600,
		"logs/etcd.log": 0o600, "logs/supervisor.log": 0o600, "etcd:0": 0o700,
	} {
		info, err := os.Stat(filepath.Join(w.dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	adj, _ := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", w.status("etcd").PID))
	if string(adj) != "300\n" {
		t.Errorf("oom_score_adj is %q", adj)
	}
}

func TestSharedDirectoryIsRefused(t *testing.T) {
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil))
	if err := os.Chmod(w.dir, 0o770); err != nil {
		t.Fatal(err)
	}
	if err := w.start(); err == nil || !strings.Contains(err.Error(), "others can write to it") {
		t.Errorf("got %v", err)
	}
}

func TestFewFiles(t *testing.T) {
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil))
	if err := os.WriteFile(filepath.Join(w.dir, "limit"), []byte("5000"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := w.start()
	want := "limit of open files is 5000, need 8192: raise it"
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

func TestFileLimitIsRaised(t *testing.T) {
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil))
	w.mustStart()
	var hard syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &hard); err != nil {
		t.Fatal(err)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", w.status("etcd").PID))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if f := strings.Fields(line); strings.HasPrefix(line, "Max open files") && f[3] != strconv.FormatUint(hard.Max, 10) {
			t.Errorf("got %q, want soft limit %d", line, hard.Max)
		}
	}
}

func TestIdleSupervisorEnds(t *testing.T) {
	w := newWorld(t, Periods{Idle: 50 * time.Millisecond})
	if err := w.rt.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.rt.awaitEnd(t.Context()); err != nil {
		t.Fatal(err)
	}
}
