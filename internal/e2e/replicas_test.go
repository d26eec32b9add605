package e2e

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// signed makes pods run and say which controller made them.
const signed = `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: signed}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector: {matchExpressions: [{key: .status.phase, operator: In, values: [Pending]}]}
  steps:
  - patch:
      subresource: status
      root: status
      template: |
        phase: Running
        message: {{ NodeName }}
        podIP: {{ PodIPWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace | Quote }}
        conditions: [{type: Ready, status: "True"}]
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: gone}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector: {matchExpressions: [{key: .metadata.deletionTimestamp, operator: Exists}]}
  steps: [{delete: true}]
`

// holders returns who holds each node.
func (w *world) holders(name string) map[string]string {
	w.t.Helper()
	list, err := w.client(name).CoordinationV1().Leases("kube-node-lease").List(context.Background(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]string{}
	for _, l := range list.Items {
		if l.Spec.HolderIdentity != nil {
			all[l.Name] = *l.Spec.HolderIdentity
		}
	}
	return all
}

// shared tells whether these controllers, and no other, hold the nodes, each about as many.
func (w *world) shared(name string, nodes int, by ...string) func() bool {
	return func() bool {
		count := map[string]int{}
		for _, id := range w.holders(name) {
			count[id]++
		}
		sum := 0
		for _, id := range by {
			if sum += count[id]; count[id] < nodes/len(by)/2 {
				return false
			}
		}
		return sum == nodes
	}
}

// playedByHolders makes pods on all nodes, and checks that each was run by who holds its node.
func (w *world) playedByHolders(cluster, deployment string, pods int) {
	w.t.Helper()
	w.kubectl(cluster, "create", "deployment", deployment, "--image", "i", "--replicas", fmt.Sprint(pods))
	w.kubectl(cluster, "wait", "deployment", deployment, "--for", fmt.Sprintf("jsonpath={.status.readyReplicas}=%d", pods), "--timeout", "60s")
	holders := w.holders(cluster)
	list, err := w.client(cluster).CoreV1().Pods("default").List(context.Background(), metav1.ListOptions{LabelSelector: "app=" + deployment})
	if err != nil {
		w.t.Fatal(err)
	}
	by, foreign := map[string]int{}, 0
	for _, p := range list.Items {
		if by[p.Status.Message]++; p.Status.Message != holders[p.Spec.NodeName] {
			foreign++
		}
	}
	w.t.Logf("%s: pods run by %v", deployment, by)
	if foreign > 0 || len(by) != len(slices.Compact(slices.Sorted(maps.Values(holders)))) {
		w.t.Errorf("%s: %d of %d pods were run by a controller that does not hold their node; all by %v", deployment, foreign, pods, by)
	}
	w.addresses(cluster, "10.0.0.0/8")
}

// TestReplicas lets up to three controllers share nodes. The second says who has them; when one comes or goes, the
// others make room or take over.
func TestReplicas(t *testing.T) { inProcessesAndContainers(t, testReplicas) }

func testReplicas(t *testing.T, w *world) {
	const nodes, pods, duration = 60, 300, 6 * time.Second
	w.create("many", "--disable", "kwok-controller")
	w.ok("scale", "node", "--replicas", fmt.Sprint(nodes), "--name", "many")
	w.file("signed.yaml", signed)
	start := func(id string) *running {
		r := w.kwok("many", "--id", id, "--node-name", id, "-c", "signed.yaml", "--node-lease-duration-seconds", fmt.Sprint(int(duration.Seconds())))
		t.Cleanup(func() {
			if t.Failed() {
				_ = r.cmd.Process.Kill()
				_ = r.cmd.Wait()
				t.Logf("log of %s:\n%s", id, r.errs.String())
			}
		})
		return r
	}
	first := start("first")
	w.eventually(20*time.Second, "the first holds all nodes", w.shared("many", nodes, "first"))
	second := start("second")
	w.eventually(10*time.Second, "the second says who holds them", func() bool {
		return strings.Contains(w.kubectl("many", "get", "events", "--field-selector", "reason=HeldByAnotherController"), "to first")
	})
	w.eventually(duration, "they share", w.shared("many", nodes, "first", "second"))
	w.playedByHolders("many", "two", pods)
	third := start("third")
	w.eventually(2*duration, "three share", w.shared("many", nodes, "first", "second", "third"))
	w.playedByHolders("many", "three", pods)

	_ = first.cmd.Process.Kill() // no time to give anything back
	_ = first.cmd.Wait()
	began := time.Now()
	w.eventually(2*duration, "the others take over", w.shared("many", nodes, "second", "third"))
	took := time.Since(began)
	t.Logf("taken over %s after the kill; leases last %s", took.Round(10*time.Millisecond), duration)
	if took > duration+3*time.Second { // on a busy machine
		t.Errorf("taken over after %s, leases last %s", took, duration)
	}
	w.playedByHolders("many", "killed", pods)

	_ = third.cmd.Process.Signal(os.Interrupt) // with notice
	if err := third.cmd.Wait(); err != nil {
		t.Errorf("the third ends: %v\n%s", err, third.errs.String())
	}
	began = time.Now()
	w.eventually(duration/2, "the second takes what was given back", w.shared("many", nodes, "second"))
	t.Logf("taken %s after the third was stopped", time.Since(began).Round(10*time.Millisecond))
	w.playedByHolders("many", "stopped", pods)
	_ = second.cmd.Process.Signal(os.Interrupt)
	if err := second.cmd.Wait(); err != nil {
		t.Errorf("the second ends: %v\n%s", err, second.errs.String())
	}
	if !strings.Contains(second.errs.String(), "holder=first") {
		t.Errorf("no line of the log names the first:\n%s", second.errs.String())
	}
	for node, id := range w.holders("many") {
		if id != "" {
			t.Errorf("the lease of %s is not given back by %s", node, id)
		}
	}
	left := w.kubectl("many", "get", "leases", "-n", "kube-system", "-l", "kwok.x-k8s.io/members", "-o", "jsonpath={range .items[*]}{.spec.holderIdentity}={.spec.leaseDurationSeconds} {end}")
	for _, ended := range []string{"second=1 ", "third=1 "} { // at once; the first was killed
		if !strings.Contains(left, ended) {
			t.Errorf("members are left: %s", left)
		}
	}
}
