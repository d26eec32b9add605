package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// podFacts is what the tests of the engine look at.
type podFacts struct {
	Metadata struct{ Name, UID, ResourceVersion string }
	Status   struct{ PodIP string }
}

// pods lists the pods of the default namespace.
func (w *world) pods(name string) []podFacts {
	w.t.Helper()
	var list struct{ Items []podFacts }
	if err := json.Unmarshal([]byte(w.kubectl(name, "get", "--raw", "/api/v1/namespaces/default/pods")), &list); err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

// allReady waits until there are n pods in the default namespace, all Ready.
func (w *world) allReady(within time.Duration, what, cluster string, n int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), within)
	defer cancel()
	list := cache.NewListWatchFromClient(w.client(cluster).CoreV1().RESTClient(), "pods", metav1.NamespaceDefault, fields.Everything())
	all, ready := map[types.UID]bool{}, 0
	_, err := watchtools.UntilWithSync(ctx, list, nil, nil, func(e watch.Event) (bool, error) {
		pod := e.Object.(*corev1.Pod)
		if all[pod.UID] {
			ready--
		}
		delete(all, pod.UID)
		if e.Type != watch.Deleted {
			all[pod.UID] = readyPod(pod)
		}
		if all[pod.UID] {
			ready++
		}
		return ready == n && len(all) == n, nil
	})
	if err != nil {
		w.t.Fatalf("%s: %d of %d pods are Ready, want %d, after %s: %v", what, ready, len(all), n, within, err)
	}
}

// addresses checks that no address is out of place or given twice.
func (w *world) addresses(name, cidr string) {
	w.t.Helper()
	seen := map[string]string{}
	for _, p := range w.pods(name) {
		ip, err := netip.ParseAddr(p.Status.PodIP)
		if err != nil || !netip.MustParsePrefix(cidr).Contains(ip) {
			w.t.Errorf("pod %s has address %q, outside %s", p.Metadata.Name, p.Status.PodIP, cidr)
		}
		if other, ok := seen[p.Status.PodIP]; ok {
			w.t.Errorf("pods %s and %s both have %s", p.Metadata.Name, other, p.Status.PodIP)
		}
		seen[p.Status.PodIP] = p.Metadata.Name
	}
}

// A controller that was killed goes on where it was: what is at rest is not written to.
func TestControllerKilled(t *testing.T) { inProcessesAndContainers(t, testControllerKilled) }

func testControllerKilled(t *testing.T, w *world) {
	first, then, patience := size(600, 50_000), size(200, 2000), 90*time.Second+time.Duration(size(0, 900))*time.Second
	w.create("killed")
	w.ok("scale", "node", "--replicas", fmt.Sprint(size(20, 1000)), "--name", "killed")
	w.kubectl("killed", "create", "deployment", "a", "--image", "i", "--replicas", fmt.Sprint(first))
	w.allReady(patience, "pods are Ready", "killed", first)
	before := map[string]string{}
	for _, p := range w.pods("killed") {
		before[p.Metadata.UID] = p.Metadata.ResourceVersion
	}
	pid := w.components("killed")["kwok-controller"].PID
	w.kubectl("killed", "create", "deployment", "b", "--image", "i", "--replicas", fmt.Sprint(then))
	w.signal(pid, syscall.SIGKILL)
	began := time.Now()
	w.allReady(60*time.Second, "all pods are Ready after the kill", "killed", first+then)
	t.Logf("%d pods, %d of them made around the kill: all Ready after %s", first+then, then, time.Since(began).Round(100*time.Millisecond))
	written := 0
	for _, p := range w.pods("killed") {
		if v, ok := before[p.Metadata.UID]; ok && v != p.Metadata.ResourceVersion {
			written++
		}
	}
	if written > first/100 {
		t.Errorf("%d of %d pods at rest were written to", written, first)
	}
	w.addresses("killed", "10.0.0.0/8")
	if events := w.kubectl("killed", "get", "events", "--field-selector", "reason=NodeNotReady"); strings.Contains(events, "node/") {
		t.Errorf("nodes were lost:\n%s", events)
	}
}

// An API server that is killed while pods are made leaves none behind.
func TestServerKilledUnderLoad(t *testing.T) { inProcessesAndContainers(t, testServerKilledUnderLoad) }

func testServerKilledUnderLoad(t *testing.T, w *world) {
	pods, kills := size(600, 20_000), size(2, 10)
	w.create("load")
	w.ok("scale", "node", "--replicas", fmt.Sprint(size(20, 500)), "--name", "load")
	w.kubectl("load", "create", "deployment", "a", "--image", "i", "--replicas", fmt.Sprint(pods))
	for range kills {
		w.eventually(30*time.Second, "some pods are there", func() bool {
			return len(w.run("--name", "load", "kubectl", "get", "pods", "-o", "name").stdout) > 100
		})
		w.signal(w.components("load")["kube-apiserver"].PID, syscall.SIGKILL)
		w.eventually(60*time.Second, "the API server is back", func() bool {
			return w.run("--name", "load", "kubectl", "get", "--raw", "/readyz").code == 0
		})
	}
	began := time.Now()
	// The pods that were not yet made when the last kill came take as long as they take.
	w.allReady(60*time.Second+time.Duration(size(0, 300))*time.Second, "all pods are Ready after the last kill", "load", pods)
	t.Logf("%d pods, %d kills: all Ready %s after the last", pods, kills, time.Since(began).Round(100*time.Millisecond))
	w.addresses("load", "10.0.0.0/8")
}

// A Stage that moves in circles is slowed, and nothing else is.
func TestCirclesDoNotStarve(t *testing.T) { inProcessesAndContainers(t, testCirclesDoNotStarve) }

func testCirclesDoNotStarve(t *testing.T, w *world) {
	w.create("circle", "--enable-crds", "Stage")
	w.ok("scale", "node", "--replicas", "5", "--name", "circle")
	w.apply("circle", `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: circle}
spec:
  resourceRef: {apiGroup: v1, kind: ConfigMap}
  selector: {matchLabels: {circle: "yes"}}
  immediateNextStage: true
  steps: [{patch: {root: data, template: 'at: {{ Now | Quote }}'}}]
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: c1, labels: {circle: "yes"}}, data: {}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: c2, labels: {circle: "yes"}}, data: {}}
`)
	w.eventually(20*time.Second, "an Event tells of both", func() bool {
		out := w.kubectl("circle", "get", "events", "--field-selector", "reason=MovesInCircles")
		return strings.Contains(out, "configmap/c1") && strings.Contains(out, "configmap/c2")
	})
	version := func() string { return w.kubectl("circle", "get", "configmap", "c1", "-o", "jsonpath={.data.at}") }
	from, changes := version(), 0
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		if to := version(); to != from {
			from = to
			changes++
		}
	}
	if changes < 2 || changes > 5 {
		t.Errorf("%d changes in 3 seconds, want one a second", changes)
	}
	w.kubectl("circle", "create", "deployment", "a", "--image", "i", "--replicas", "50")
	w.allReady(20*time.Second, "pods run beside it", "circle", 50)
}
