package e2e

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
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

// TestNodesStayReady makes and deletes pods for ten minutes: no node may change its Ready condition.
func TestNodesStayReady(t *testing.T) {
	if *soak == 0 {
		t.Skip("takes minutes; run by make soak")
	}
	nodes, pods, last := size(0, 5000), size(0, 20_000), time.Duration(float64(10*time.Minute)**scale)
	w := newWorld(t)
	w.create("churn", "--heartbeat-factor", "1")
	w.ok("scale", "node", "--replicas", fmt.Sprint(nodes), "--name", "churn")
	w.eventually(2*time.Minute, "nodes are Ready", func() bool { return w.readyNodes("churn") == nodes })
	changes := w.watchNodes("churn")
	w.kubectl("churn", "create", "deployment", "web", "--image", "i", "--replicas", fmt.Sprint(pods))
	for end, round := time.Now().Add(last), 1; time.Now().Before(end); round++ {
		w.kubectl("churn", "set", "env", "deployment", "web", fmt.Sprintf("ROUND=%d", round)) // replaces all pods, a quarter at a time
		r := w.run("--name", "churn", "kubectl", "rollout", "status", "deployment", "web", "--timeout", time.Until(end).Round(time.Second).String())
		t.Logf("round %d: %.0f s, exit status %d", round, r.took.Seconds(), r.code)
	}
	if got := changes(); len(got) > 0 {
		t.Errorf("%d nodes changed Ready: %.10q", len(got), got)
	}
	t.Logf("%d nodes, %d pods, %s", nodes, pods, last)
}

func (w *world) readyNodes(cluster string) int {
	w.t.Helper()
	list, err := w.client(cluster).CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	ready := 0
	for i := range list.Items {
		if readyNode(&list.Items[i]) {
			ready++
		}
	}
	return ready
}

// watchNodes notes the nodes whose Ready condition changes, until its result is called.
func (w *world) watchNodes(cluster string) func() []string {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	api := w.client(cluster).CoreV1().Nodes()
	list, err := api.List(ctx, metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	was, version, names := map[string]bool{}, list.ResourceVersion, []string(nil)
	for i := range list.Items {
		was[list.Items[i].Name] = readyNode(&list.Items[i])
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			watcher, err := api.Watch(ctx, metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true})
			if err != nil {
				time.Sleep(100 * time.Millisecond) // a retry, not a wait
				continue
			}
			for e := range watcher.ResultChan() {
				n, ok := e.Object.(*corev1.Node)
				if !ok {
					names = append(names, fmt.Sprintf("the watch ended: %v", e.Object))
					cancel()
					break
				}
				version = n.ResourceVersion
				if is := readyNode(n); e.Type == watch.Modified && is != was[n.Name] {
					names = append(names, n.Name)
					was[n.Name] = is
				}
			}
		}
	})
	return func() []string {
		cancel()
		wg.Wait()
		return names
	}
}
