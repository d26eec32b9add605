package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kwokctl/runtimes/docker"
)

// timed is a life of pods by the clock: containers are being made at +1 s, run at +3 s, and end as many seconds later
// as an annotation says.
const timed = `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: making}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - {key: .status.phase, operator: In, values: [Pending]}
    - {key: '.status.containerStatuses.[].name', operator: DoesNotExist}
  delay: {durationMilliseconds: 1000}
  steps:
  - patch:
      subresource: status
      root: status
      template: |
        containerStatuses:
        {{ range .spec.containers }}
        - {name: {{ .name }}, image: {{ .image }}, state: {waiting: {reason: ContainerCreating}}}
        {{ end }}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: running}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - {key: .status.phase, operator: In, values: [Pending]}
    - {key: '.status.containerStatuses.[].state.waiting.reason', operator: In, values: [ContainerCreating]}
  delay: {durationMilliseconds: 2000}
  steps:
  - patch: {subresource: status, root: status, template: 'phase: Running'}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: ended}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - {key: .status.phase, operator: In, values: [Running]}
  delay:
    durationFrom: {jq: {expression: '.metadata.annotations["example.com/runs"]'}}
  steps:
  - patch: {subresource: status, root: status, template: 'phase: Succeeded'}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: deleted}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector: {matchExpressions: [{key: .metadata.deletionTimestamp, operator: Exists}]}
  steps: [{finalizers: {empty: true}, delete: true}]
`

// On a quiet machine every event is within 100 ms of its time. The bounds here allow for one whose processors are
// busy with something else: nothing may be early, the median must be near, and the worst not lost.
const (
	mayBeEarly = 50 * time.Millisecond
	medianLate = 500 * time.Millisecond
	worstLate  = 3 * time.Second
)

func TestTiming(t *testing.T) { alone(t, testTiming, "binary", docker.Docker) }

func testTiming(t *testing.T, w *world) {
	n := size(50, 1000)
	text := timed
	created, started := time.Second, 3*time.Second
	if *soak > 0 { // the times of the promise
		text = strings.Replace(text, "durationMilliseconds: 2000", "durationMilliseconds: 9000", 1)
		started = 10 * time.Second
	}
	stages := filepath.Join(t.TempDir(), "stages.yaml")
	if err := os.WriteFile(stages, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.create("clock", "-c", stages)
	w.ok("scale", "node", "--replicas", "10", "--name", "clock")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	watcher, err := w.client("clock").CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	type sighting struct {
		pod *corev1.Pod
		at  time.Time
	}
	sightings := make(chan sighting, 100*n) // room for all of them, so that each is noted when it comes
	go func() {
		defer close(sightings)
		for e := range watcher.ResultChan() {
			if p, ok := e.Object.(*corev1.Pod); ok {
				sightings <- sighting{p, time.Now()}
			}
		}
	}()
	var manifest strings.Builder
	for i := range n {
		fmt.Fprintf(&manifest, `---
apiVersion: batch/v1
kind: Job
metadata: {name: job-%d}
spec:
  template:
    metadata: {annotations: {example.com/runs: %ds}}
    spec: {restartPolicy: Never, containers: [{name: a, image: i}]}
`, i, size(1+i%3, 10))
	}
	w.apply("clock", manifest.String())

	late := map[string][]time.Duration{}
	seen := map[string]map[string]time.Time{} // by pod: when it was first seen how
	for done := 0; done < n; {
		s, ok := <-sightings
		if !ok {
			t.Fatalf("%d of %d pods have ended", done, n)
		}
		p, now := s.pod, s.at
		if p.Spec.NodeName == "" {
			continue
		}
		if seen[p.Name] == nil {
			seen[p.Name] = map[string]time.Time{}
		}
		at, how := seen[p.Name], looks(p)
		if _, again := at[how]; again {
			continue
		}
		at[how] = now
		switch how {
		case "creating":
			late[how] = append(late[how], now.Sub(at["bound"])-created)
		case "running":
			late[how] = append(late[how], now.Sub(at["bound"])-started)
		case "succeeded":
			runs, err := time.ParseDuration(p.Annotations["example.com/runs"])
			if err != nil {
				t.Fatal(err)
			}
			late[how] = append(late[how], now.Sub(at["running"])-runs)
			done++
		}
	}
	for _, how := range []string{"creating", "running", "succeeded"} {
		l := late[how]
		slices.Sort(l)
		if len(l) != n {
			t.Fatalf("%s: seen on %d of %d pods", how, len(l), n)
		}
		within := 0
		for _, d := range l {
			if d.Abs() <= 100*time.Millisecond {
				within++
			}
		}
		t.Logf("%s: late by %s at least, %s in the median, %s p90, %s p99, %s at most; %d of %d within 100 ms", how, l[0], median(l), l[n*9/10], l[n*99/100], l[n-1], within, n)
		if l[0] < -mayBeEarly || median(l) > medianLate || l[n-1] > worstLate {
			t.Errorf("%s: allowed are -%s, %s and %s", how, mayBeEarly, medianLate, worstLate)
		}
	}
	w.eventually(60*time.Second, "all Jobs are complete", func() bool { // kubectl wait looks at ten of them a second
		out := w.kubectl("clock", "get", "jobs", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="Complete")].status}`)
		return strings.Count(out, "True") == n
	})
}

// looks says in a word where in its life a bound pod is.
func looks(p *corev1.Pod) string {
	switch {
	case p.Status.Phase == corev1.PodSucceeded:
		return "succeeded"
	case p.Status.Phase == corev1.PodRunning:
		return "running"
	case len(p.Status.ContainerStatuses) > 0:
		return "creating"
	}
	return "bound"
}

// TestRehearsalComesTrue plays the same seed on a virtual clock and on a cluster: the pod must take as long.
func TestRehearsalComesTrue(t *testing.T) { inProcessesAndContainers(t, testRehearsalComesTrue) }

func testRehearsalComesTrue(t *testing.T, w *world) {
	stages, err := filepath.Abs("../../kustomize/stage/pod/general")
	if err != nil {
		t.Fatal(err)
	}
	const manifest = `{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: a, image: i}], initContainers: [{name: once, image: i}]}}`
	pod := filepath.Join(t.TempDir(), "pod.yaml")
	if err := os.WriteFile(pod, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	var records []struct{ Transitions []struct{ At, Stage string } }
	if err := json.Unmarshal([]byte(w.ok("stage", "test", "-f", stages, "-f", pod, "--seed", "7", "-o", "json")), &records); err != nil {
		t.Fatal(err)
	}
	said := records[0].Transitions[len(records[0].Transitions)-1]
	want, err := time.ParseDuration(said.At)
	if err != nil || said.Stage != "pod-ready" {
		t.Fatal(said, err)
	}
	w.create("seed", "-c", stages, "--extra-args", "kwok-controller=seed=7")
	w.ok("scale", "node", "--name", "seed")
	w.apply("seed", manifest)
	w.kubectl("seed", "wait", "pod", "p", "--for", "condition=PodScheduled", "--timeout", "30s")
	w.kubectl("seed", "wait", "pod", "p", "--for", "condition=Ready", "--timeout", "60s")
	p, err := w.client("seed").CoreV1().Pods("default").Get(context.Background(), "p", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	at := map[corev1.PodConditionType]time.Time{}
	for _, c := range p.Status.Conditions {
		at[c.Type] = c.LastTransitionTime.Time
	}
	took := at[corev1.PodReady].Sub(at[corev1.PodScheduled])
	t.Logf("said %s, took %s to the second", want, took)
	if took < want-time.Second || took > want+worstLate {
		t.Errorf("stage test said %s, the cluster took %s", want, took)
	}
}
