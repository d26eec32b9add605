//go:build linux

package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kwokctl/runtimes"
)

func TestRestart(t *testing.T) {
	p := quick()
	p.BackoffFirst = 300 * time.Millisecond
	w := newWorld(t, p, chain("--lines", "30")...)
	w.mustStart()
	first := w.status("apiserver")
	client := w.status("kwok")
	w.signal(first.PID, syscall.SIGKILL)
	s := w.untilState("apiserver", runtimes.Exited)
	if s.Reason != "killed by signal 9" || *s.ExitCode != 137 || len(s.Tail) != 20 || s.Tail[19] != "apiserver line 29" || s.PID != 0 {
		t.Errorf("exited: %+v", s)
	}
	s = w.untilState("apiserver", runtimes.Ready)
	if s.Restarts != 1 || s.PID == first.PID || *s.ExitCode != 137 || s.Reason != "" {
		t.Errorf("restarted: %+v", s)
	}
	if again := w.status("kwok"); again.PID != client.PID || again.Restarts != 0 {
		t.Errorf("a client of it was restarted too: %+v", again)
	}
	log := w.read("logs/apiserver.log")
	if strings.Count(log, "apiserver line 0\n") != 2 || !strings.Contains(log, "apiserver exited: killed by signal 9; restart 1 in 300ms ---\n") {
		t.Errorf("log:\n%s", log)
	}
	w.signal(s.PID, syscall.SIGTERM) // a clean exit nobody asked for
	s = w.until("apiserver", "restarted", func(s runtimes.Status) bool { return s.Restarts == 2 && s.State == runtimes.Ready })
	if *s.ExitCode != 0 {
		t.Errorf("restarted: %+v", s)
	}
}

func TestCrashLoop(t *testing.T) {
	p := quick()
	p.BackoffMost = time.Second
	w := newWorld(t, p, fakeSpec("bad", nil, "--die-if", "bad"))
	bad := filepath.Join(w.dir, "bad")
	if err := os.WriteFile(bad, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var exit *runtimes.ExitError
	if err := w.start(); !errors.As(err, &exit) || exit.Reason != "exit status 3" {
		t.Fatalf("got %v", err)
	}
	if s := w.untilState("bad", runtimes.CrashLoop); s.Restarts != 4 {
		t.Errorf("crash loop after 5 exits: %+v", s)
	}
	if err := os.Remove(bad); err != nil {
		t.Fatal(err)
	}
	w.mustStart() // tries at once
	if s := w.status("bad"); s.Restarts != 5 {
		t.Errorf("status %+v", s)
	}
}

func TestHistory(t *testing.T) {
	p := Periods{}.orDefault()
	now := time.Now()
	for _, tt := range []struct {
		name   string
		ups    []time.Duration
		pauses string // in seconds
		loop   bool
	}{
		{"one", []time.Duration{time.Second}, "1s", false},
		{"doubles", []time.Duration{time.Second, 10 * time.Second, 20 * time.Second, 20 * time.Second, 40 * time.Second}, "1s 2s 4s 8s 16s", false},
		{"at most", []time.Duration{50e9, 50e9, 50e9, 50e9, 50e9, 50e9, 50e9}, "1s 2s 4s 8s 16s 30s 30s", false},
		{"long up", []time.Duration{0, 0, 61e9}, "1s 2s 1s", false},
		{"loop", []time.Duration{0, 0, 0, 0, 0, 0}, "1s 2s 4s 8s 30s 30s", true},
		{"loop stays", []time.Duration{0, 0, 0, 0, 0, 50e9, 50e9}, "1s 2s 4s 8s 30s 30s 30s", true},
		{"loop is over", []time.Duration{0, 0, 0, 0, 0, 60e9}, "1s 2s 4s 8s 30s 1s", false},
	} {
		var h history
		var pauses []string
		var loop bool
		at := now
		for _, up := range tt.ups {
			var pause time.Duration
			at = at.Add(up)
			pause, loop = h.next(at, up, p)
			at = at.Add(pause)
			pauses = append(pauses, pause.String())
		}
		if got := strings.Join(pauses, " "); got != tt.pauses || loop != tt.loop {
			t.Errorf("%s: got %s, %v; want %s, %v", tt.name, got, loop, tt.pauses, tt.loop)
		}
	}
}

func TestHealth(t *testing.T) {
	bad := errors.New("no answer")
	now := time.Now()
	var h health
	for i := range 100 {
		h.judge(now.Add(time.Duration(i)*time.Minute), bad, true)
	}
	if h.hung(now.Add(time.Hour), time.Minute) {
		t.Error("a process that was never ready is not hung")
	}
	h.judge(now, nil, true)
	h.judge(now, bad, true)
	if h.hung(now.Add(time.Hour), time.Minute) {
		t.Error("one bad answer is not enough, however old")
	}
	for range 5 {
		h.judge(now.Add(time.Minute), bad, true)
	}
	if !h.hung(now.Add(time.Minute), time.Minute) {
		t.Error("must be hung")
	}
	h.judge(now.Add(time.Minute), bad, false)
	if h.hung(now.Add(time.Minute), time.Minute) {
		t.Error("what it needs is not ready: not its own fault")
	}
	h.judge(now, nil, true)
	if h.hung(now.Add(time.Hour), time.Minute) {
		t.Error("it answered again")
	}
}

func TestHangAndContinue(t *testing.T) {
	p := quick()
	p.Hung = time.Hour
	w := newWorld(t, p, fakeSpec("etcd", nil))
	w.mustStart()
	pid := w.status("etcd").PID
	w.signal(pid, syscall.SIGSTOP)
	if s := w.untilState("etcd", runtimes.NotReady); !strings.Contains(s.Reason, "no answer within 300ms") {
		t.Errorf("status %+v", s)
	}
	w.signal(pid, syscall.SIGCONT)
	if s := w.untilState("etcd", runtimes.Ready); s.PID != pid || s.Restarts != 0 {
		t.Errorf("status %+v", s)
	}
}

func TestHangAndRestart(t *testing.T) {
	w := newWorld(t, quick(), fakeSpec("etcd", nil))
	w.mustStart()
	pid := w.status("etcd").PID
	w.signal(pid, syscall.SIGSTOP)
	w.untilState("etcd", runtimes.NotReady)
	s := w.until("etcd", "restarted", func(s runtimes.Status) bool { return s.State == runtimes.Ready && s.Restarts == 1 })
	if s.PID == pid {
		t.Errorf("status %+v", s)
	}
	log := w.read("logs/etcd.log")
	for _, want := range []string{"etcd does not answer for 2s; goroutines follow", "SIGQUIT: quit", "goroutine 1 ", "etcd exited: no answer for 2s, exit status 2; restart 1"} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
}

func TestDependentWaitsForRestartedNeed(t *testing.T) {
	w := newWorld(t, quick(), fakeSpec("etcd", nil, "--slow", "300ms"), fakeSpec("apiserver", []string{"etcd"}))
	w.mustStart()
	etcd, apiserver := w.status("etcd"), w.status("apiserver")
	w.signal(etcd.PID, syscall.SIGKILL)
	w.until("etcd", "seen to die", func(s runtimes.Status) bool { return s.PID != etcd.PID })
	w.signal(apiserver.PID, syscall.SIGKILL)
	w.until("apiserver", "at its gate", func(s runtimes.Status) bool { return s.State == runtimes.Waiting && s.PID != 0 })
	w.until("apiserver", "ready again", func(s runtimes.Status) bool { return s.State == runtimes.Ready && s.Restarts == 1 })
}

func TestGate(t *testing.T) {
	for value, want := range map[string]string{"": "bad KWOK_GATE", "x": "bad KWOK_GATE", "1": "bad KWOK_GATE"} {
		t.Setenv(runtimes.GateEnv, value)
		if err := runtimes.WaitGate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", value, err)
		}
		if err := runtimes.WaitGate(); err != nil {
			t.Errorf("second call: %v", err)
		}
	}
}

func TestGateShut(t *testing.T) {
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil, "--slow", "1h"), fakeSpec("apiserver", []string{"etcd"}, "--deaf"))
	go func() { _ = w.start() }()
	s := w.until("apiserver", "at its gate", func(s runtimes.Status) bool { return s.State == runtimes.Waiting && s.PID > 0 })
	w.until("apiserver", "set up", func(runtimes.Status) bool {
		text, _ := os.ReadFile(filepath.Join(w.dir, "trace"))
		return strings.Contains(string(text), "apiserver launched")
	})
	w.signal(s.PID, syscall.SIGKILL)
	w.until("apiserver", "back at its gate", func(now runtimes.Status) bool {
		return now.State == runtimes.Waiting && now.PID > 0 && now.PID != s.PID
	})
}
