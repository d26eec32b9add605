package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const ordered = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: ring}
spec:
  replicas: %d
  serviceName: ring
  podManagementPolicy: OrderedReady
  selector: {matchLabels: {app: ring}}
  template:
    metadata: {labels: {app: ring}}
    spec:
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: ring}}}
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
          - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: ring}}}
      containers: [{name: a, image: i}]
`

// TestOrderedStatefulSet makes sets whose pods come one after the other, each on a node of its own, spread over four
// zones: one pod that hangs holds up all that follow.
func TestOrderedStatefulSet(t *testing.T) { inProcessesAndContainers(t, testOrderedStatefulSet) }

func testOrderedStatefulSet(t *testing.T, w *world) {
	runs, replicas, nodes := 1, 24, 30
	if *soak > 0 {
		runs, replicas, nodes = *soak, 128, 131
	}
	w.create("ring")
	w.ok("scale", "node", "--replicas", fmt.Sprint(nodes), "--name", "ring")
	for zone := range 4 {
		label := []string{"label", "node"}
		for i := zone; i < nodes; i += 4 {
			label = append(label, fmt.Sprintf("node-%06d", i))
		}
		w.kubectl("ring", append(label, fmt.Sprintf("topology.kubernetes.io/zone=zone-%d", zone))...)
	}
	for run := range runs {
		unready := w.watchFlaps("ring")
		began := time.Now()
		w.apply("ring", fmt.Sprintf(ordered, replicas))
		// One pod takes the controllers four turns; a second each is slow.
		w.kubectl("ring", "rollout", "status", "statefulset", "ring", "--timeout", fmt.Sprintf("%ds", 30+2*replicas))
		t.Logf("run %d: %d replicas in %s", run+1, replicas, time.Since(began).Round(time.Millisecond))
		w.inOrder(replicas)
		if names := unready(); len(names) > 0 {
			t.Errorf("run %d: were Ready, then not: %v", run+1, names)
		}
		w.kubectl("ring", "delete", "statefulset", "ring")
		w.eventually(60*time.Second, "the pods go", func() bool { return w.kubectl("ring", "get", "pods", "-o", "name") == "" })
	}
}

// inOrder checks that no pod was made before the one before it was Ready.
func (w *world) inOrder(replicas int) {
	w.t.Helper()
	list, err := w.client("ring").CoreV1().Pods("default").List(context.Background(), metav1.ListOptions{})
	if err != nil || len(list.Items) != replicas {
		w.t.Fatalf("%d pods, want %d: %v", len(list.Items), replicas, err)
	}
	made, ready, nodes := map[string]time.Time{}, map[string]time.Time{}, map[string]bool{}
	for _, p := range list.Items {
		made[p.Name] = p.CreationTimestamp.Time
		nodes[p.Spec.NodeName] = true
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				ready[p.Name] = c.LastTransitionTime.Time
			}
		}
	}
	for i := 1; i < replicas; i++ {
		before, name := fmt.Sprintf("ring-%d", i-1), fmt.Sprintf("ring-%d", i)
		if ready[before].IsZero() || made[name].Before(ready[before]) {
			w.t.Errorf("%s was made at %s, %s was Ready at %s", name, made[name], before, ready[before])
		}
	}
	if len(nodes) != replicas {
		w.t.Errorf("%d pods on %d nodes", replicas, len(nodes))
	}
}

// watchFlaps notes the pods that are Ready and then not, unless they are deleted, until its result is called.
func (w *world) watchFlaps(cluster string) func() []string {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	watcher, err := w.client(cluster).CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	var wg sync.WaitGroup
	wg.Go(func() {
		was := map[string]bool{}
		for e := range watcher.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok || p.DeletionTimestamp != nil {
				continue
			}
			is := readyPod(p)
			if was[p.Name] && !is {
				names = append(names, p.Name)
			}
			was[p.Name] = is
		}
	})
	return func() []string {
		cancel()
		watcher.Stop()
		wg.Wait()
		return names
	}
}

func readyPod(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
