package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// moments is at how many moments, spread over its duration, a command is interrupted.
const moments = 10

// signalAt starts a command and sends it a signal after part of the time that it takes.
func (w *world) signalAt(sig syscall.Signal, took time.Duration, moment int, args ...string) result {
	w.t.Helper()
	r := w.begin(w.command(context.Background(), args...))
	time.Sleep(took * time.Duration(moment+1) / (moments + 1))
	_ = r.cmd.Process.Signal(sig) // it may have ended
	return r.wait()
}

// TestKilledCreate kills the command line in the middle of create. The next create finishes the job, and delete
// removes all of it.
func TestKilledCreate(t *testing.T) { inProcessesAndContainers(t, testKilledCreate) }

func testKilledCreate(t *testing.T, w *world) {
	took := w.timed("create", "cluster", "--name", "whole", "--wait", "60s")
	w.ok("delete", "cluster", "--name", "whole")
	for i := range moments {
		name := fmt.Sprintf("killed-%d", i)
		w.signalAt(syscall.SIGKILL, took, i, "create", "cluster", "--name", name, "--wait", "60s")
		if i%2 == 0 {
			w.create(name)
			w.ready(name)
			if !strings.Contains(read(w.kubeconfig()), "kwok-"+name) {
				t.Errorf("context of %s is missing", name)
			}
		}
		if r := w.run("delete", "cluster", "--name", name); r.code != 0 {
			t.Errorf("killed at moment %d: delete: exit status %d: %s", i, r.code, r.stderr)
		}
		w.gone(name)
	}
}

const foreign = `apiVersion: v1
kind: Config
# a comment of mine
current-context: mine
clusters:
- {name: mine, cluster: {server: "https://example.com"}}
contexts:
- {name: mine, context: {cluster: mine, user: me}}
users:
- {name: me, user: {token: abc}}
`

// TestInterruptedCreate interrupts create with both signals. It undoes what it did.
func TestInterruptedCreate(t *testing.T) { inProcessesAndContainers(t, testInterruptedCreate) }

func testInterruptedCreate(t *testing.T, w *world) {
	took := w.timed("create", "cluster", "--name", "whole", "--wait", "60s")
	w.ok("delete", "cluster", "--name", "whole")
	write(t, w.kubeconfig(), foreign)
	if err := os.Chmod(w.kubeconfig(), 0o640); err != nil {
		t.Fatal(err)
	}
	undone := 0
	for i := range moments {
		name := fmt.Sprintf("interrupted-%d", i)
		sig := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2]
		r := w.signalAt(sig, took, i, "create", "cluster", "--name", name, "--wait", "60s")
		if r.code == 0 { // this time it was faster than before
			w.ready(name)
			w.ok("delete", "cluster", "--name", name)
			continue
		}
		undone++
		early := r.code == -1 && r.stderr == "" // before the program had come to handle signals, or to do anything
		if !early && (r.code != 130 || !strings.Contains(r.stderr, "interrupted")) || r.took > took+10*time.Second {
			t.Errorf("%s at moment %d: exit status %d after %s, want 130:\n%s", sig, i, r.code, r.took, r.stderr)
		}
		w.gone(name)
		if got := read(w.kubeconfig()); got != foreign {
			t.Errorf("%s at moment %d: the kubeconfig file has changed:\n%s", sig, i, got)
		}
	}
	if undone < moments/2 {
		t.Errorf("only %d of %d were interrupted", undone, moments)
	}
	if info, err := os.Stat(w.kubeconfig()); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the kubeconfig file: %v, %v", info.Mode(), err)
	}
}

// TestTimeout ends create too early. It names who is late.
func TestTimeout(t *testing.T) { inProcessesAndContainers(t, testTimeout) }

func testTimeout(t *testing.T, w *world) {
	limit := "300ms"
	if w.runtime != "" { // the containers are made, and nothing is ready
		limit = "1500ms"
	}
	for _, flag := range []string{"--timeout", "--wait"} {
		r := w.run("create", "cluster", "--name", "late", flag, limit)
		if r.code != 124 || !strings.Contains(r.stderr, strings.Replace(limit, "1500ms", "1.5s", 1)) {
			t.Errorf("%s: exit status %d, want 124: %s", flag, r.code, r.stderr)
		}
		installing := flag == "--timeout" // which may take longer than that
		if !installing && !slices.ContainsFunc(all, func(name string) bool { return strings.Contains(r.stderr, name+" is ") }) {
			t.Errorf("%s: nobody is named: %s", flag, r.stderr)
		}
		w.gone("late")
	}
}

// TestInterruptedStart interrupts start. The cluster is as stopped as before.
func TestInterruptedStart(t *testing.T) { inProcessesAndContainers(t, testInterruptedStart) }

func testInterruptedStart(t *testing.T, w *world) {
	w.create("again")
	before := w.settled("again")
	w.ok("stop", "cluster", "--name", "again")
	took := w.timed("start", "cluster", "--name", "again", "--wait", "60s")
	w.ok("stop", "cluster", "--name", "again")
	for i, moment := range []int{2, 4, 6, 8} {
		sig := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2]
		r := w.signalAt(sig, took, moment, "start", "cluster", "--name", "again", "--wait", "60s")
		if r.code == 0 {
			w.ok("stop", "cluster", "--name", "again")
			continue
		}
		if r.code != 130 {
			t.Errorf("%s at moment %d: exit status %d, want 130: %s", sig, moment, r.code, r.stderr)
		}
		if got := w.status("again"); got != "Stopped" || len(w.processesOf("again")) > 0 {
			t.Errorf("%s at moment %d: status %q, processes %q", sig, moment, got, w.processesOf("again"))
		}
	}
	w.fails(124, []string{"300ms"}, "start", "cluster", "--name", "again", "--timeout", "300ms")
	if got := w.status("again"); got != "Stopped" {
		t.Errorf("status after a start that timed out: %q", got)
	}
	w.ok("start", "cluster", "--name", "again", "--wait", "60s")
	if got := w.objects("again"); got != before {
		t.Errorf("objects differ:\n%s\n---\n%s", before, got)
	}
}

// TestInterruptedTwice gives up the undoing too. The next command recovers.
func TestInterruptedTwice(t *testing.T) { inProcessesAndContainers(t, testInterruptedTwice) }

func testInterruptedTwice(t *testing.T, w *world) {
	took := w.timed("create", "cluster", "--name", "whole", "--wait", "60s")
	w.ok("delete", "cluster", "--name", "whole")
	for i, moment := range []int{3, 7} {
		r := w.begin(w.command(context.Background(), "create", "cluster", "--name", "twice", "--wait", "60s"))
		time.Sleep(took * time.Duration(moment) / moments)
		began := time.Now()
		_ = r.cmd.Process.Signal(syscall.SIGINT)
		time.Sleep(120 * time.Millisecond) // two signals at once are one
		_ = r.cmd.Process.Signal(syscall.SIGINT)
		res := r.wait()
		if res.code == 0 { // this time it was faster than before
			w.ready("twice")
		} else if res.code != 130 || time.Since(began) > 2*time.Second {
			t.Errorf("exit status %d after %s, want 130 at once: %s", res.code, time.Since(began), res.stderr)
		}
		if i == 0 {
			w.create("twice")
			w.ready("twice")
		}
		w.ok("delete", "cluster", "--name", "twice")
		w.gone("twice")
	}
}

// TestInterruptedTool passes a signal on to the program that kwokctl has become.
func TestInterruptedTool(t *testing.T) { everywhere(t, testInterruptedTool) }

func testInterruptedTool(t *testing.T, w *world) {
	w.create("tool")
	for _, args := range [][]string{
		{"--name", "tool", "kubectl", "get", "namespaces", "--watch"},
		{"--name", "tool", "logs", "etcd", "--follow"},
		{"--name", "tool", "etcdctl", "watch", "/registry", "--prefix"},
	} {
		r := w.begin(w.command(context.Background(), args...))
		time.Sleep(time.Second)
		began := time.Now()
		_ = r.cmd.Process.Signal(syscall.SIGINT)
		stop := time.AfterFunc(10*time.Second, func() { _ = r.cmd.Process.Kill() })
		res := r.wait()
		stop.Stop()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%q ended %s after an interrupt, with exit status %d", args, took, res.code)
		}
	}
}

// TestNobodyReads ends those who read what kwokctl prints: it goes on, and what it prints for nobody is no mistake of its.
func TestNobodyReads(t *testing.T) {
	w := newWorld(t)
	run := func(use func(*exec.Cmd, *os.File), args ...string) int {
		r, closed, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		cmd := w.command(t.Context(), args...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		use(cmd, closed)
		_ = cmd.Run() // its status is looked at
		closed.Close()
		if errs.Len() > 0 {
			t.Errorf("%q: %s", args, errs.String())
		}
		return cmd.ProcessState.ExitCode()
	}
	if got := run(func(c *exec.Cmd, to *os.File) { c.Stderr = to }, "create", "cluster", "--name", "a", "--wait", "60s"); got != 0 {
		t.Errorf("create: exit status %d", got)
	}
	w.kubectl("a", "get", "namespaces")
	if got := run(func(c *exec.Cmd, to *os.File) { c.Stdout = to }, "get", "clusters"); got != 141 {
		t.Errorf("get clusters: exit status %d", got)
	}
	if got := run(func(c *exec.Cmd, to *os.File) { c.Stdout = to }, "logs", "etcd", "--name", "a"); got != 141 {
		t.Errorf("logs: exit status %d", got)
	}
}
