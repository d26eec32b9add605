package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestShippedSets applies the stage sets as a user would, with kubectl apply -k, and looks at what they do.
func TestShippedSets(t *testing.T) { inProcessesAndContainers(t, testShippedSets) }

func testShippedSets(t *testing.T, w *world) {
	w.create("sets", "--enable-crds", "Stage")
	w.ok("scale", "node", "--replicas", "2", "--name", "sets")
	dirs, err := filepath.Glob("../../kustomize/stage/*/*/kustomization.yaml")
	if err != nil || len(dirs) < 8 {
		t.Fatal(dirs, err)
	}
	set := func(name string) string {
		path, err := filepath.Abs("../../kustomize/stage/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, d := range dirs {
		path, err := filepath.Abs(filepath.Dir(d))
		if err != nil {
			t.Fatal(err)
		}
		w.kubectl("sets", "apply", "-k", path, "--dry-run=server", "--validate=strict")
	}
	for _, s := range []string{"fast", "node/chaos", "pod/chaos"} {
		w.kubectl("sets", "apply", "-k", set(s))
	}
	t.Run("chaos", func(t *testing.T) { w.in(t).chaos() })
	w.kubectl("sets", "delete", "stages", "--all")
	w.kubectl("sets", "apply", "-k", set("pod/general"))
	w.kubectl("sets", "wait", "stages", "--all", "--for", "condition=Ready", "--timeout", "30s") // until then pods are played by others
	began := time.Now()
	w.startGeneral() // takes its time, as real pods do; meanwhile others are looked at
	w.kubectl("sets", "apply", "-k", set("volume/fast"))
	w.kubectl("sets", "wait", "stages", "--all", "--for", "condition=Ready", "--timeout", "30s")
	t.Run("volumes", func(t *testing.T) { w.in(t).volumes() })
	t.Run("general", func(t *testing.T) { w.in(t).general(began) })
}

func (w *world) chaos() {
	w.apply("sets", `{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: i}, {name: b, image: i}]}}`)
	w.kubectl("sets", "wait", "pod", "p", "--for", "condition=Ready", "--timeout", "30s")
	const prefix = "pod-container-running-failed.stage.kwok.x-k8s.io"
	w.kubectl("sets", "annotate", "pod", "p", prefix+"/container-name=b", prefix+"/exit-code=137", prefix+"/message=a: [b", prefix+"/delay=200ms")
	ip := w.kubectl("sets", "get", "pod", "p", "-o", "jsonpath={.status.podIP}")
	w.kubectl("sets", "label", "pod", "p", prefix+"=true")
	w.kubectl("sets", "wait", "pod", "p", "--for", "jsonpath={.status.phase}=Failed", "--timeout", "30s")
	got := w.kubectl("sets", "get", "pod", "p", "-o",
		`jsonpath={.status.containerStatuses[1].state.terminated.exitCode} {.status.containerStatuses[1].state.terminated.message} {.status.podIP}`)
	if got != "137 a: [b "+ip {
		w.t.Errorf("failed with %s; its address was %s", got, ip)
	}
	w.kubectl("sets", "delete", "pod", "p")

	taints := func() string {
		return w.kubectl("sets", "get", "node", "node-000000", "-o", `jsonpath={.spec.taints[?(@.key=="node.kubernetes.io/not-ready")].effect}`)
	}
	if got := taints(); got != "" {
		w.t.Errorf("a node that is ready is tainted: %s", got)
	}
	w.kubectl("sets", "label", "node", "node-000000", "node-not-ready.stage.kwok.x-k8s.io=true")
	w.kubectl("sets", "wait", "node", "node-000000", "--for", "condition=Ready=False", "--timeout", "30s")
	w.eventually(30*time.Second, "the node is tainted", func() bool { return strings.Contains(taints(), "NoSchedule") })
	w.kubectl("sets", "label", "node", "node-000000", "node-not-ready.stage.kwok.x-k8s.io-")
	w.kubectl("sets", "wait", "node", "node-000000", "--for", "condition=Ready", "--timeout", "30s")
}

// A pod lives a second or two in each stage, and goes within its grace period.
func (w *world) startGeneral() {
	w.apply("sets", `{apiVersion: v1, kind: Pod, metadata: {name: g}, spec: {terminationGracePeriodSeconds: 4, containers: [{name: a, image: i}],
  initContainers: [{name: once, image: i}, {name: sidecar, image: i, restartPolicy: Always}]}}`)
}

func (w *world) general(began time.Time) {
	w.kubectl("sets", "wait", "pod", "g", "--for", "condition=Ready", "--timeout", "60s")
	if got := w.kubectl("sets", "get", "pod", "g", "--no-headers"); !strings.Contains(got, "2/2") || !strings.Contains(got, "Running") {
		w.t.Errorf("got %s", got)
	}
	w.eventually(10*time.Second, "an Event tells of it", func() bool {
		return strings.Contains(w.kubectl("sets", "get", "events", "--field-selector", "involvedObject.name=g"), "Created container")
	})
	p, err := w.client("sets").CoreV1().Pods("default").Get(context.Background(), "g", metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range p.Status.Conditions { // create, two of init containers, ready: a second each, at least
		if took := c.LastTransitionTime.Sub(began); c.Type == corev1.PodReady && took < 3*time.Second {
			w.t.Errorf("Ready after %s", took)
		}
	}
	began = time.Now()
	w.kubectl("sets", "delete", "pod", "g", "--timeout", "60s")
	if took := time.Since(began); took < time.Second {
		w.t.Errorf("gone after %s", took)
	}
}

// volumes plays the set that binds by itself beside the volume controller, which binds too: both must agree.
func (w *world) volumes() {
	w.apply("sets", `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`)
	w.kubectl("sets", "wait", "pvc", "c", "--for", "jsonpath={.status.phase}=Bound", "--timeout", "60s")
	w.kubectl("sets", "wait", "pv", "--all", "--for", "jsonpath={.status.phase}=Bound", "--timeout", "60s")
	w.kubectl("sets", "delete", "pvc", "c", "--timeout", "60s")
	w.eventually(60*time.Second, "the volume goes with the claim", func() bool { return w.kubectl("sets", "get", "pv", "-o", "name") == "" })
}
