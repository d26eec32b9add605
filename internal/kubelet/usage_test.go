package kubelet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const usagePage = aMetric + `
  - {name: used, kind: gauge, value: node.Usage("cpu")}
  - {name: pod, kind: gauge, dimension: pod, labels: [{name: pod, value: pod.metadata.name}], value: pod.Usage("cpu")}
  - {name: total, kind: counter, dimension: pod, labels: [{name: pod, value: pod.metadata.name}], value: 'pod.CumulativeUsage("cpu")'}
  - {name: node_total, kind: counter, value: node.CumulativeUsage("cpu")}
---
kind: ResourceUsage
metadata: {name: own, namespace: d}
spec:
  usages:
  - {containers: [a], usage: {cpu: {value: 1, expression: '7'}}}
  - {usage: {cpu: {expression: 'Quantity("2") * container.name.size()'}}}
---
kind: ClusterResourceUsage
metadata: {name: some}
spec:
  selector: {matchNames: [p, circle]}
  usages: [{usage: {cpu: {expression: 'pod.metadata.name == "p" ? double(pod.metadata.annotations["x"]) : pod.Usage("cpu")'}}}]
`

func TestUsage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usagePage)
	w.SetPod(aPod("own", nil, "a", "bb"))                     // 1 + 4
	w.SetPod(aPod("p", map[string]string{"x": "10"}, "a"))    // 10
	w.SetPod(aPod("nobody", nil, "a"))                        // nobody says what it uses
	w.SetPod(aPod("circle", map[string]string{"x": ""}, "a")) // uses what it uses
	want := `used 15
pod{pod="circle"} 0
pod{pod="nobody"} 0
pod{pod="own"} 5
pod{pod="p"} 10
total{pod="circle"} 0
total{pod="nobody"} 0
total{pod="own"} 0
total{pod="p"} 0
node_total 0`
	if got := w.series("/metrics/nodes/n/m"); got != want {
		t.Errorf("got\n%s", got)
	}
	if !strings.Contains(w.log.String(), "no ResourceUsage is for it") {
		t.Errorf("log: %s", &w.log)
	}

	// What is used adds up between scrapes, at the usage that is found then; a pod that is another begins anew.
	w.at = w.at.Add(10 * time.Second)
	w.SetPod(aPod("p", map[string]string{"x": "20"}, "a"))
	other := aPod("own", nil, "a", "bb")
	other.UID = "other"
	w.SetPod(other)
	w.SetPod(aPod("p2", nil, "a"))
	w.DropPod(aPod("circle", nil))
	want = `total{pod="nobody"} 0
total{pod="own"} 0
total{pod="p"} 200
total{pod="p2"} 0
node_total 250`
	if _, got, _ := strings.Cut(w.series("/metrics/nodes/n/m"), "total"); "total"+got != want {
		t.Errorf("got\ntotal%s", got)
	}
	w.at = w.at.Add(-time.Hour) // the clock is set back: a total never goes down
	w.SetPod(aPod("p", map[string]string{"x": "-20"}, "a"))
	if got := w.series("/metrics/nodes/n/m"); !strings.Contains(got, `total{pod="p"} 200`) || !strings.Contains(got, "node_total 250") {
		t.Errorf("got\n%s", got)
	}
}

// Of nodes and pods as much is kept as expressions look at, and nothing without a Metric.
func TestKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shipped())
	w.SetPod(aPod("p", nil, "a"))
	p := w.nodes["n"].pods[podName{"d", "p"}]
	if len(p.raw) > 110 {
		t.Errorf("a pod takes %d bytes", len(p.raw))
	}
	if renew, _ := w.Use(parse(t, aMetric+"  - {name: g, kind: gauge, value: size(node.metadata.name)}")); renew {
		t.Error("less is looked at, and yet all is to be told anew")
	}
	renew, _ := w.Use(parse(t, aMetric+"  - {name: g, kind: gauge, dimension: container, value: size(container.image) + size(pod.metadata.labels) + size(node.metadata.labels)}"))
	w.SetNode(aNode("n", "1"))
	w.SetPod(aPod("p", nil, "a"))
	if got := w.series("/metrics/nodes/n/m"); !renew || got != "g 7" {
		t.Errorf("renew %v, got %s", renew, got)
	}
	w.Use(nil)
	w.SetPod(aPod("p", nil, "a"))
	w.SetNode(aNode("n", "1"))
	if len(w.nodes) > 0 {
		t.Error("nodes and pods are kept for nobody")
	}
}

// Containers are counted when they start, however often they are seen. What is gone leaves nothing behind.
func TestRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, aMetric+"  - {name: started, kind: counter, value: node.StartedContainersTotal()}\n  - {name: pods, kind: gauge, dimension: pod, labels: [{name: pod, value: pod.metadata.name}], value: '1'}")
	check := func(what, want string) {
		t.Helper()
		if got := strings.ReplaceAll(w.series("/metrics/nodes/n/m"), "\n", " "); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	pod := aPod("p", nil, "a", "b")
	pod.Status.ContainerStatuses[1].State = corev1.ContainerState{}
	w.SetPod(pod)
	w.SetPod(pod)
	check("one of two runs", `started 1 pods{pod="p"} 1`)
	pod = aPod("p", nil, "a", "b")
	pod.Status.ContainerStatuses[0].RestartCount = 2
	w.SetPod(pod)
	w.SetNode(aNode("n", "1"))
	check("the other, and two restarts", `started 4 pods{pod="p"} 1`)
	w.DropPod(pod)
	check("gone", "started 4")
	w.SetPod(pod)
	w.SetPod(aPod("q", nil, "a"))
	w.BeginPods()
	w.SetPod(pod)
	w.EndPods()
	check("q was not told of", `started 9 pods{pod="p"} 1`)
	w.SetNode(aNode("n", "2"))
	check("another node of that name", `started 4 pods{pod="p"} 1`)
	w.DropNode("n")
	check("no node", `404 no node "n" that this controller manages`)
	w.SetNode(aNode("n", "3"))
	w.BeginNodes()
	w.EndNodes()
	check("not told of", `404 no node "n" that this controller manages`)
	w.DropPod(pod)
	if len(w.nodes) != 0 {
		t.Error("a node is left behind")
	}
}

// One scrape costs as much as there are pods on its node, whatever there is on others.
func BenchmarkScrape(b *testing.B) {
	t := &testing.T{}
	w := newWorld(t, shipped())
	for n := range 1000 {
		name := fmt.Sprint("n", n)
		w.SetNode(aNode(name, name))
		for i := range 30 {
			p := aPod(fmt.Sprint("p", n, "-", i), nil, "a")
			p.Spec.NodeName = name
			w.SetPod(p)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		w.get("/metrics/nodes/n7/metrics/resource")
	}
}
