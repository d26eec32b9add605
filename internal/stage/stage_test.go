package stage

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kwokctl/internal/api"
	"kwokctl/internal/expr"
	"kwokctl/kustomize"
)

var testNow = time.Date(2006, 1, 2, 15, 4, 5, 0, time.UTC)

func testFuncs() expr.Funcs {
	list := func(s ...any) []any { return s }
	return expr.Base("1.0.0", testNow).With(expr.Funcs{
		"NodeIP": func() string { return "10.0.0.9" }, "NodeName": func() string { return "host" }, "NodePort": func() int { return 10247 },
		"NodeIPsWith": func(any) []any { return list("10.0.0.9") },
		"PodIPsWith":  func(...any) []any { return list("10.1.0.1") },
		"PodIP":       func() string { return "10.1.0.1" },
		"NodeIPWith":  func(any) string { return "10.0.0.9" }, "PodIPWith": func(...any) string { return "10.1.0.1" },
	})
}

func shipped(t testing.TB, set string) *Lifecycle {
	t.Helper()
	files, err := kustomize.Stages(set)
	if err != nil {
		t.Fatal(err)
	}
	var stages []*api.Stage
	for name, text := range files {
		objs, err := api.Load(strings.NewReader(string(text)), name)
		if err != nil {
			t.Fatal(err)
		}
		stages = append(stages, api.Of[*api.Stage](objs)...)
	}
	l, errs := Compile(stages, testFuncs())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return l
}

func rnd() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

const pendingPod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"d","uid":"u","creationTimestamp":null},
"spec":{"nodeName":"n","containers":[{"name":"a","image":"i"}],"initContainers":[{"name":"b","image":"j","restartPolicy":"Always"}]},
"status":{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"True"}]}}`

func typedPod(t testing.TB, text string) *Pod {
	p := &corev1.Pod{}
	if err := json.Unmarshal([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	return NewPod(p)
}

func TestPodReady(t *testing.T) {
	l := shipped(t, "pod/fast")
	o := typedPod(t, pendingPod)
	mv, err := l.Next(o, testNow, rnd())
	if err != nil || mv == nil || mv.Stage != "pod-ready" || mv.After != 0 {
		t.Fatalf("got %+v, %v", mv, err)
	}
	acts, err := mv.Actions(o, testNow)
	if err != nil || len(acts) != 1 {
		t.Fatalf("got %+v, %v", acts, err)
	}
	p := acts[0].Put.(*corev1.Pod)
	if p.Status.Phase != corev1.PodRunning || p.Status.PodIP != "10.1.0.1" || len(p.Status.Conditions) != 4 ||
		p.Status.Conditions[0].Type != "PodScheduled" || p.Status.ContainerStatuses[0].State.Running == nil ||
		!*p.Status.InitContainerStatuses[0].Started {
		t.Fatalf("got %+v", p.Status)
	}
	p.Spec = o.Spec
	if mv, err = l.Next(NewPod(p), testNow, rnd()); mv != nil || err != nil {
		t.Fatalf("not at rest: %+v %v", mv, err)
	}
	// the node lifecycle controller took its Ready away
	flapped := p.DeepCopy()
	for i := range flapped.Status.Conditions {
		if flapped.Status.Conditions[i].Type == corev1.PodReady {
			flapped.Status.Conditions[i].Status = corev1.ConditionFalse
		}
	}
	o = NewPod(flapped)
	if mv, _ = l.Next(o, testNow, rnd()); mv == nil || mv.Stage != "pod-ready" {
		t.Fatalf("does not heal: %+v", mv)
	}
	acts, err = mv.Actions(o, testNow)
	if err != nil || len(acts) != 1 || acts[0].Put.(*corev1.Pod).Status.PodIP != "10.1.0.1" {
		t.Fatalf("got %+v, %v", acts, err)
	}
}

func BenchmarkPodReady(b *testing.B) {
	l, r := shipped(b, "pod/fast"), rnd()
	text := typedPod(b, pendingPod)
	b.ReportAllocs()
	for b.Loop() {
		o := NewPod(text.Pod)
		mv, _ := l.Next(o, testNow, r)
		if _, err := mv.Actions(o, testNow); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNextAtRest(b *testing.B) {
	l, r := shipped(b, "pod/fast"), rnd()
	o := typedPod(b, strings.ReplaceAll(pendingPod, "PodScheduled", "Ready"))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = l.Next(o, testNow, r)
	}
}
