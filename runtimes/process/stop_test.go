//go:build linux

package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kwokctl/runtimes"
)

// stopped fails unless everything is gone.
func (w *world) stopped() {
	w.Helper()
	if left := w.processes(); len(left) > 0 {
		w.Errorf("processes left: %v", left)
	}
	if held, err := locked(filepath.Join(w.dir, lockName)); held || err != nil {
		w.Errorf("lock held %v, %v", held, err)
	}
	for _, s := range w.specs {
		if got := w.status(s.Name); got.State != runtimes.Stopped || got.PID != 0 {
			w.Errorf("status %+v", got)
		}
	}
}

func TestStopInOrder(t *testing.T) {
	w := newWorld(t, Periods{}, chain()...)
	w.mustStart()
	began := time.Now()
	killed, err := w.rt.Stop(t.Context(), w.specs, false)
	t.Logf("stop took %s", time.Since(began))
	if err != nil || len(killed) > 0 {
		t.Errorf("got %v, %v", killed, err)
	}
	w.stopped()
	w.before("scheduler ends", "apiserver term")
	w.before("kwok ends", "apiserver term")
	w.before("apiserver ends", "etcd term")
	w.before("scheduler term", "kwok ends") // one layer ends together
	w.before("kwok term", "scheduler ends")
	if killed, err := w.rt.Stop(t.Context(), w.specs, false); err != nil || len(killed) > 0 {
		t.Errorf("a second stop: %v, %v", killed, err)
	}
}

func TestStopSome(t *testing.T) {
	w := newWorld(t, Periods{}, chain()...)
	w.mustStart()
	if _, err := w.rt.Stop(t.Context(), w.specs[3:], false); err != nil {
		t.Fatal(err)
	}
	if s := w.status("kwok"); s.State != runtimes.Stopped {
		t.Errorf("status %+v", s)
	}
	etcd := w.status("etcd")
	w.mustStart()
	if again := w.status("etcd"); again.PID != etcd.PID || w.status("kwok").State != runtimes.Ready {
		t.Errorf("etcd %+v, kwok %+v", again, w.status("kwok"))
	}
}

// TestStartMeetsStop starts what a stop, whose client has gone, has yet to come to: it is ended and started again.
func TestStartMeetsStop(t *testing.T) {
	w := newWorld(t, Periods{}, chain()...)
	w.mustStart()
	etcd := w.status("etcd")
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := w.rt.Stop(ctx, w.specs, false)
		gone <- err
	}()
	w.until("kwok", "told to end", func(runtimes.Status) bool { return strings.Contains(w.read("trace"), "kwok term") })
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("stop says %v", err)
	}
	w.mustStartSome("etcd")
	if again := w.status("etcd"); again.PID == etcd.PID || again.State != runtimes.Ready {
		t.Errorf("etcd is %+v, was %+v", again, etcd)
	}
}

func TestStopKillsTheDeaf(t *testing.T) {
	w := newWorld(t, quick(), fakeSpec("etcd", nil), fakeSpec("deaf", []string{"etcd"}, "--deaf"))
	w.mustStart()
	killed, err := w.rt.Stop(t.Context(), w.specs, false)
	if err != nil || !slices.Equal(killed, []string{"deaf"}) {
		t.Errorf("got %v, %v", killed, err)
	}
	w.stopped()
}

func TestStopAtTheGate(t *testing.T) {
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil, "--slow", "1h"), fakeSpec("apiserver", []string{"etcd"}))
	failed := make(chan error, 1)
	go func() { failed <- w.start() }()
	w.until("apiserver", "launched", func(s runtimes.Status) bool { return s.State == runtimes.Waiting && s.PID > 0 })
	w.until("etcd", "starting", func(s runtimes.Status) bool { return s.State == runtimes.Starting })
	if _, err := w.rt.Stop(t.Context(), w.specs, true); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "stopped meanwhile") {
		t.Errorf("start says %v", err)
	}
	w.stopped()
}

func TestKillIsQuick(t *testing.T) {
	w := newWorld(t, Periods{}, chain("--deaf")...)
	w.mustStart()
	began := time.Now()
	if _, err := w.rt.Stop(t.Context(), w.specs, true); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("kill took %s", took)
	if took > 5*time.Second { // 100 ms on a machine that does nothing else
		t.Errorf("took %s", took)
	}
	w.stopped()
}

func TestGroupGoesToo(t *testing.T) {
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil, "--groupy"))
	w.mustStart()
	if n := len(w.processes()); n < 3 {
		t.Fatalf("only %d processes", n)
	}
	if _, err := w.rt.Stop(t.Context(), w.specs, false); err != nil {
		t.Fatal(err)
	}
	w.stopped()
}

func TestSupervisorTakesSIGTERM(t *testing.T) {
	w := newWorld(t, Periods{}, chain()...)
	w.mustStart()
	supervisor := supervisorOf(w.dir)
	w.signal(supervisor.PID, syscall.SIGTERM)
	if !ended(supervisor, 10*time.Second) {
		t.Fatal("it does not end")
	}
	w.before("kwok ends", "apiserver term")
	w.before("apiserver ends", "etcd term")
	w.stopped()
}

func TestHungSupervisor(t *testing.T) {
	w := newWorld(t, Periods{}, chain()...)
	w.mustStart()
	pid := w.supervisorPID()
	w.signal(pid, syscall.SIGSTOP)
	w.rt.wait = 300 * time.Millisecond
	want := fmt.Sprintf("(pid %d) does not answer within 300ms", pid)
	if _, err := w.rt.Status(t.Context(), w.specs); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("status: want %q, got %v", want, err)
	}
	if err := w.start(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("start: want %q, got %v", want, err)
	}
	if _, err := w.rt.Stop(t.Context(), w.specs, false); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("stop: want %q, got %v", want, err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, stateName), []byte("{garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.rt.Stop(t.Context(), w.specs, true); err != nil {
		t.Error(err)
	}
	w.stopped()
}

func TestKilledSupervisor(t *testing.T) {
	w := newWorld(t, Periods{}, chain("--deaf")...)
	for round := range 20 {
		w.mustStart()
		w.signal(w.supervisorPID(), syscall.SIGKILL)
		if round%2 == 0 {
			continue // a start at once has to deal with those that are still dying
		}
		for began := time.Now(); len(w.processes()) > 0; time.Sleep(time.Millisecond) {
			if time.Since(began) > 5*time.Second {
				t.Fatalf("round %d: processes left: %v", round, w.processes())
			}
		}
	}
	w.mustStart()
	if pids := w.processes(); len(pids) != 5 {
		t.Errorf("want 5 processes, got %v", pids)
	}
}

// TestLeftovers: a former component that does not die with its supervisor is ended; a stranger that was given the
// pid of another one is not touched.
func TestLeftovers(t *testing.T) {
	w := newWorld(t, Periods{Leftover: 200 * time.Millisecond}, fakeSpec("etcd", nil))
	left, decoy := sleeper(t), sleeper(t)
	leftID, err := identify(left.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	decoyID, err := identify(decoy.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	decoyID.Start--
	old := state{Components: map[string]savedState{"etcd": {Process: leftID}, "kwok": {Process: decoyID}}}
	if err := saveState(w.dir, old); err != nil {
		t.Fatal(err)
	}
	w.mustStart()
	if err := left.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("leftover: %v", err)
	}
	if !identity.alive(func() identity { decoyID.Start++; return decoyID }()) {
		t.Error("the decoy was killed")
	}
}

func TestDecoyOfAnotherBoot(t *testing.T) {
	w := newWorld(t, Periods{Leftover: 50 * time.Millisecond}, fakeSpec("etcd", nil))
	decoy := sleeper(t)
	id, err := identify(decoy.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	foreign := id
	foreign.Boot = "another"
	if err := saveState(w.dir, state{Components: map[string]savedState{"etcd": {Process: foreign}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.rt.Stop(t.Context(), w.specs, true); err != nil {
		t.Error(err)
	}
	w.mustStart()
	if !id.alive() {
		t.Error("the decoy was killed")
	}
}

// sleeper is a process that would run for long, in a directory of its own.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func TestDamagedState(t *testing.T) {
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil))
	for _, text := range []string{"", "{", `{"components":[1,2]}`, "\x00\x01\x02", `{"components":{"etcd":{"process":{"pid":-1}}}}`} {
		if err := os.WriteFile(filepath.Join(w.dir, stateName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s := w.status("etcd"); s.State != runtimes.Stopped {
			t.Errorf("%q: %+v", text, s)
		}
		w.mustStart()
		if _, err := w.rt.Stop(t.Context(), w.specs, true); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		w.stopped()
	}
	if !strings.Contains(w.read("logs/supervisor.log"), "state file damaged") {
		t.Error("nobody was warned")
	}
}

func TestStateFile(t *testing.T) {
	w := newWorld(t, Periods{}, fakeSpec("etcd", nil))
	w.mustStart()
	pid := w.status("etcd").PID
	var s state
	for began := time.Now(); s.Components["etcd"].State != runtimes.Ready; time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("state file: %+v", s)
		}
		if err := json.Unmarshal([]byte(w.read(stateName)), &s); err != nil {
			t.Fatal(err)
		}
	}
	if id := s.Components["etcd"].Process; id.PID != pid || !id.alive() || !s.Supervisor.alive() {
		t.Errorf("state file: %+v", s)
	}
}

func TestStatusOfNothing(t *testing.T) {
	w := newWorld(t, Periods{}, chain()...)
	w.stopped()
	w.rt = New(Options{Dir: filepath.Join(w.dir, "missing")})
	w.stopped()
}
