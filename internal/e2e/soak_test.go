package e2e

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// soak is how often make soak runs what else is run once, and smaller.
var soak = flag.Int("soak", 0, "runs at full size of what else is run once and smaller, and more kills; 0 is one small run")

// scale is the part of the full size that a soak has, on a machine that is too small for it.
var scale = flag.Float64("scale", 1, "part of the full size of a soak, such as 0.1")

// size chooses between a run of the suite and one of make soak.
func size(small, full int) int {
	if *soak == 0 {
		return small
	}
	return max(1, int(float64(full)**scale))
}

// TestNodesStayReady makes and deletes pods for ten minutes, or for longer than a lease lasts: no node may change its
// Ready condition.
func TestNodesStayReady(t *testing.T) {
	nodes, pods, last := size(100, 5000), size(300, 20_000), time.Duration(size(60, 600))*time.Second
	w := newWorld(t)
	w.create("churn", "--heartbeat-factor", "1")
	w.ok("scale", "node", "--replicas", fmt.Sprint(nodes), "--name", "churn")
	w.eventually(2*time.Minute, "nodes are Ready", func() bool { return w.readyNodes("churn") == nodes })
	before := w.readySince("churn")
	w.kubectl("churn", "create", "deployment", "web", "--image", "i", "--replicas", fmt.Sprint(pods))
	for end, round := time.Now().Add(last), 1; time.Now().Before(end); round++ {
		w.kubectl("churn", "set", "env", "deployment", "web", fmt.Sprintf("ROUND=%d", round)) // replaces all pods, a quarter at a time
		r := w.run("--name", "churn", "kubectl", "rollout", "status", "deployment", "web", "--timeout", time.Until(end).Round(time.Second).String())
		t.Logf("round %d: %.0f s, exit status %d", round, r.took.Seconds(), r.code)
	}
	after, changed := w.readySince("churn"), []string(nil)
	for name, since := range before {
		if now, ready := after[name]; !ready || !now.Equal(&since) {
			changed = append(changed, name)
		}
	}
	if len(changed) > 0 {
		t.Errorf("Ready changed on %d nodes, such as %s", len(changed), changed[0])
	}
	t.Logf("%d nodes, %d pods, %s", nodes, pods, last)
}

func (w *world) readyNodes(cluster string) int { return len(w.readySince(cluster)) }

// readySince returns the nodes that are Ready, with when they became it.
func (w *world) readySince(cluster string) map[string]metav1.Time {
	w.t.Helper()
	list, err := w.client(cluster).CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	ready := map[string]metav1.Time{}
	for i := range list.Items {
		for _, c := range list.Items[i].Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				ready[list.Items[i].Name] = c.LastTransitionTime
			}
		}
	}
	return ready
}
