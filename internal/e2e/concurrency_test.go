package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestManyAtOnce creates 20 clusters at once. It has the machine for itself.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	const many = 20
	single := w.timed("create", "cluster", "--name", "single", "--wait", "120s")
	w.ok("delete", "cluster", "--name", "single")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	began := time.Now()
	var runs []*running
	for i := range many {
		runs = append(runs, w.begin(w.command(ctx, "create", "cluster", "--name", fmt.Sprintf("many-%d", i), "--wait", "300s")))
	}
	for i, r := range runs {
		if res := r.wait(); res.code != 0 {
			t.Errorf("create many-%d: exit status %d: %s", i, res.code, res.stderr)
		}
	}
	took := time.Since(began)
	owner := map[string]string{}
	for i := range many {
		name := fmt.Sprintf("many-%d", i)
		w.ready(name)
		if got := strings.Count(read(w.kubeconfig()), "\n- name: kwok-"+name+"\n") + strings.Count(read(w.kubeconfig()), "\n  name: kwok-"+name+"\n"); got != 3 {
			t.Errorf("the kubeconfig file has %d entries for %s, want a cluster, a context and a user", got, name)
		}
		for component, port := range w.ports(name) {
			if at := fmt.Sprint(port); owner[at] != "" {
				t.Errorf("port %s belongs to %s and to %s of %s", at, owner[at], component, name)
			} else {
				owner[at] = component + " of " + name
			}
		}
	}
	for _, i := range []int{0, many - 1} {
		w.kubectl(fmt.Sprintf("many-%d", i), "get", "serviceaccount", "default")
	}
	t.Logf("delete --all took %s", w.timed("delete", "cluster", "--all"))
	// The speed of the machine changes: one alone is measured before and after.
	single = (single + w.timed("create", "cluster", "--name", "single", "--wait", "120s")) / 2
	w.ok("delete", "cluster", "--name", "single")
	t.Logf("%d clusters in %.1f s; one alone takes %.2f s: %.2f times as long for each", many, took.Seconds(), single.Seconds(), took.Seconds()/single.Seconds()/many)
	if most := single * many * 3; took > most { // the goal is 1.2; 1.3 to 1.8 were measured, see docs/benchmarks.md
		t.Errorf("%d clusters took %s, want %s at most", many, took, most)
	}
}

// TestSameName runs creates of the same name at once. The first makes it, the others wait, say for whom, and find it.
func TestSameName(t *testing.T) { inProcessesAndContainers(t, testSameName) }

func testSameName(t *testing.T, w *world) {
	var runs []*running
	for range 3 {
		runs = append(runs, w.begin(w.command(t.Context(), "create", "cluster", "--name", "same", "--wait", "120s")))
	}
	made, waited := 0, 0
	for _, r := range runs {
		res := r.wait()
		if res.code != 0 {
			t.Errorf("exit status %d: %s", res.code, res.stderr)
		}
		if strings.Contains(res.stderr, "is ready in") {
			made++
		}
		if strings.Contains(res.stderr, "waiting for cluster same, held by kwokctl (pid ") {
			waited++
		}
	}
	if made != 1 || waited != 2 {
		t.Errorf("%d of 3 made it, want 1; %d waited and said for whom, want 2", made, waited)
	}
	w.ready("same")
}

// TestCreateAgainstDelete runs create and delete of the same cluster at once. It is all there afterwards, or gone.
func TestCreateAgainstDelete(t *testing.T) { inProcessesAndContainers(t, testCreateAgainstDelete) }

func testCreateAgainstDelete(t *testing.T, w *world) {
	took := w.timed("create", "cluster", "--name", "duel", "--wait", "120s")
	step := 1
	if w.runtime != "" { // each round takes three times as long
		step = 2
	}
	for i := 0; i < 6; i += step {
		first := w.begin(w.command(t.Context(), "create", "cluster", "--name", "duel", "--wait", "120s"))
		time.Sleep(took * time.Duration(i) / 6)
		second := w.begin(w.command(t.Context(), "delete", "cluster", "--name", "duel"))
		third := w.begin(w.command(t.Context(), "create", "cluster", "--name", "duel", "--wait", "120s"))
		for _, r := range []*running{first, second, third} {
			if res := r.wait(); res.code != 0 {
				t.Errorf("round %d: %v: exit status %d: %s", i, r.cmd.Args[1:], res.code, res.stderr)
			}
		}
		if got := w.status("duel"); got == "" {
			w.gone("duel")
		} else {
			w.ready("duel")
		}
	}
}

// TestStartAgainstStop runs start and stop at once, many times.
func TestStartAgainstStop(t *testing.T) { inProcessesAndContainers(t, testStartAgainstStop) }

func testStartAgainstStop(t *testing.T, w *world) {
	w.create("swing")
	for range 3 {
		var runs []*running
		for _, verb := range []string{"stop", "start", "stop", "start"} {
			runs = append(runs, w.begin(w.command(t.Context(), verb, "cluster", "--name", "swing")))
		}
		for _, r := range runs {
			if res := r.wait(); res.code != 0 {
				t.Errorf("%v: exit status %d: %s", r.cmd.Args[1:], res.code, res.stderr)
			}
		}
		if got := w.status("swing"); got == "Stopped" {
			if left := w.processesOf("swing"); len(left) > 0 {
				t.Errorf("processes of a stopped cluster: %q", left)
			}
		} else {
			w.ready("swing")
		}
	}
}
