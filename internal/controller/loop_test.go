package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"kwokctl/internal/api"
	"kwokctl/internal/kube"
	"kwokctl/internal/stage"
)

// fake is an API server that keeps what is written, and can refuse.
type fake struct {
	mu       sync.Mutex
	requests []string
	bodies   [][]byte
	version  int
	refuse   func(r *request) *reply
}

func (f *fake) Do(_ context.Context, r *request) reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r.method+" "+r.path)
	f.bodies = append(f.bodies, r.body)
	if f.refuse != nil {
		if rep := f.refuse(r); rep != nil {
			return *rep
		}
	}
	f.version++
	obj := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{ResourceVersion: fmt.Sprint(1000 + f.version)}}
	body, _ := seal("v1", "Pod", obj)
	return reply{code: http.StatusOK, body: body}
}

func (f *fake) Open(context.Context, string, string) (io.ReadCloser, reply) {
	return nil, reply{code: 500}
}

// Resource knows a kind or two.
func (f *fake) Resource(_ context.Context, version, kind string) (kube.Resource, error) {
	if kind == "Missing" {
		return kube.Resource{}, apierrors.NewNotFound(schema.GroupResource{}, kind)
	}
	return kube.Resource{APIVersion: version, Plural: strings.ToLower(kind) + "s", Namespaced: kind != "Volume"}, nil
}

func (f *fake) count(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

// bench is a loop driven by hand, with a clock of its own.
type bench struct {
	*loop
	f    *fake
	time time.Time
	t    testing.TB
}

func newBench(t testing.TB, lease uint) *bench {
	t.Helper()
	return newBenchWith(t, lease, nil)
}

// newBenchWith makes a bench with stages that are YAML.
func newBenchWith(t testing.TB, lease uint, crds []string, stages ...string) *bench {
	t.Helper()
	b := &bench{f: &fake{}, time: time.Unix(1_000_000, 0), t: t}
	var list []*api.Stage
	for _, text := range stages {
		objs, err := api.Load(strings.NewReader(text), "test.yaml")
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, api.Of[*api.Stage](objs)...)
	}
	cfg := config{opts: api.KwokOptions{EnableCRDs: crds, CIDR: "10.0.0.0/29", NodeLeaseDurationSeconds: lease, NodeIP: "1.2.3.4"}, id: "me", seed: 1, version: "1.0.0",
		sel: selection{all: true}}
	if err := cfg.sort(list); err != nil {
		t.Fatal(err)
	}
	b.loop = newLoop(t.Context(), cfg, b.f, b.f, newStats(), slog.New(slog.DiscardHandler), func() time.Time { return b.time })
	return b
}

// pass lets time go by, turn by turn.
func (b *bench) pass(d time.Duration) {
	for end := b.time.Add(d); b.time.Before(end); {
		b.time = b.time.Add(tickLength)
		b.now = b.time
		b.turn()
		b.drain()
	}
}

// drain waits for all senders and takes their results.
func (b *bench) drain() {
	for b.inflight != [lanes]int{} {
		b.finish(<-b.results)
		b.turn()
	}
}

func (b *bench) feed(k kind, objs ...any) {
	batch := batch{kind: k}
	for _, o := range objs {
		batch.events = append(batch.events, event{obj: wrap(o)})
	}
	b.take(batch)
	b.turn()
	b.drain()
}

func wrap(o any) stage.Object {
	switch o := o.(type) {
	case *corev1.Pod:
		return stage.NewPod(o)
	case *corev1.Node:
		return stage.NewNode(o)
	case string:
		t, err := stage.Decode([]byte(o))
		if err != nil {
			panic(err)
		}
		return t
	}
	return nil
}

func (b *bench) epoch(k kind, objs ...any) {
	b.take(batch{kind: k, begin: true})
	b.feed(k, objs...)
	b.take(batch{kind: k, end: true})
	b.turn()
	b.drain()
}

// populate begins with n nodes that nobody holds, and no pods.
func (b *bench) populate(n int) {
	b.take(batch{leases: map[string]lease{}})
	var all []any
	for i := range n {
		all = append(all, newNode(i, i+1))
	}
	b.epoch(nodes, all...)
	b.epoch(pods)
}

func uid(n int) types.UID { return types.UID(fmt.Sprintf("00000000-0000-0000-0000-%012d", n)) }

func newNode(n, version int) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", n), UID: uid(1000 + n), ResourceVersion: fmt.Sprint(version)}}
}

func newPod(n, version int) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p", n), Namespace: "d", UID: uid(n), ResourceVersion: fmt.Sprint(version)},
		Spec:   corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "a", Image: "i"}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending}}
}

// putPod returns the pod in the body of a PUT.
func (f *fake) putPod(t testing.TB, name string) *corev1.Pod {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.requests) - 1; i >= 0; i-- {
		if f.requests[i] == "PUT /api/v1/namespaces/d/pods/"+name+"/status" {
			raw, err := open(f.bodies[i])
			p := &corev1.Pod{}
			if err != nil || p.Unmarshal(raw) != nil {
				t.Fatal("bad body")
			}
			return p
		}
	}
	t.Fatalf("%s was not written: %v", name, f.requests)
	return nil
}

func TestPodRunsOnce(t *testing.T) {
	b := newBench(t, 0)
	b.epoch(nodes, newNode(1, 1))
	b.feed(pods, newPod(1, 2)) // before the first epoch of pods is complete
	if n := b.f.count("PUT /api/v1/namespaces"); n != 0 {
		t.Fatalf("written before all addresses were known")
	}
	used := newPod(2, 3)
	used.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	b.epoch(pods, newPod(1, 2), used)
	p := b.f.putPod(t, "p1")
	if p.Status.PodIP != "10.0.0.2" || p.UID != uid(1) || p.ResourceVersion != "2" {
		t.Fatalf("got %+v", p)
	}
	b.feed(pods, newPod(1, 2)) // replay of what is history
	p.Spec, p.ResourceVersion = newPod(1, 2).Spec, "5000"
	b.feed(pods, p)
	b.pass(time.Minute)
	if n := b.f.count("PUT /api/v1/namespaces"); n != 1 || b.loop.t.find(b.loop.t.parseUID(string(uid(1)))) != 0 {
		t.Fatalf("%d writes, or not settled", n)
	}
	// its address comes back when it is deleted
	b.take(batch{kind: pods, events: []event{{gone: true, obj: wrap(p)}}})
	if has(b.addr.sets[1][0].bits, 2) {
		t.Fatal("address not given back")
	}
}

func TestAddressesStayInside(t *testing.T) {
	b := newBench(t, 0)
	b.epoch(nodes, newNode(1, 1))
	b.epoch(pods)
	for i := range 10 { // a /29 has six
		b.feed(pods, newPod(i+1, 10+i))
	}
	if n := b.f.count("PUT /api/v1/namespaces"); n != 6 {
		t.Fatalf("%d pods got an address", n)
	}
	gone := newPod(3, 100)
	gone.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.3"}}
	b.take(batch{kind: pods, events: []event{{gone: true, obj: wrap(gone)}}})
	b.pass(25 * time.Second)
	if n := b.f.count("PUT /api/v1/namespaces"); n != 7 {
		t.Fatalf("%d pods got an address after one came back", n)
	}
}

func TestRetryConflictAndGone(t *testing.T) {
	b := newBench(t, 0)
	code := http.StatusServiceUnavailable
	b.f.refuse = func(r *request) *reply {
		if r.method == "PUT" && r.path != "/api/v1/nodes/n1/status" && code != 0 {
			return &reply{code: code}
		}
		return nil
	}
	b.epoch(nodes, newNode(1, 1))
	b.epoch(pods, newPod(1, 2))
	b.pass(2 * time.Second)
	if n := b.f.count("PUT /api/v1/namespaces"); n < 3 || n > 6 {
		t.Fatalf("%d tries in 2 s", n)
	}
	code = http.StatusConflict
	b.pass(10 * time.Second)
	before := b.f.count("GET")
	if before == 0 {
		t.Fatal("a conflict without an event must be looked into")
	}
	code = http.StatusNotFound
	b.feed(pods, newPod(1, 3))
	b.pass(time.Minute)
	if i := b.loop.t.find(b.loop.t.parseUID(string(uid(1)))); i != 0 {
		t.Fatalf("a pod that is gone is still there: %+v", b.loop.t.e[i])
	}
}

// What has waited its time is not made to wait again, whoever changes it when its move is due.
func TestNoSecondDelay(t *testing.T) {
	const slow = `{apiVersion: kwok.x-k8s.io/v1alpha1, kind: Stage, metadata: {name: slow}, spec: {resourceRef: {apiGroup: v1, kind: Pod},
 selector: {matchExpressions: [{key: .status.podIP, operator: DoesNotExist}]},
 delay: {durationMilliseconds: 6000}, next: {statusTemplate: "podIP: {{ PodIP | Quote }}"}}}`
	for name, tt := range map[string]struct {
		refusal reply // of the first try
		behind  bool  // the change comes after the refusal
	}{
		"conflict, change before": {refusal: reply{code: http.StatusConflict}},
		"conflict, change after":  {refusal: reply{code: http.StatusConflict}, behind: true},
		"cut, change before":      {refusal: reply{err: io.ErrUnexpectedEOF}},
		"cut, change after":       {refusal: reply{err: io.ErrUnexpectedEOF}, behind: true},
		"queued":                  {},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBenchWith(t, 0, nil, slow)
			b.epoch(nodes, newNode(1, 1))
			b.epoch(pods, newPod(1, 2))
			change := func() { b.take(batch{kind: pods, events: []event{{obj: wrap(newPod(1, 3))}}}) }
			writes := func() int { return b.f.count("PATCH /api/v1/namespaces") + b.f.count("PUT /api/v1/namespaces") }
			refusals := 0
			b.f.refuse = func(r *request) *reply {
				if r.method == "GET" || refusals > 0 || tt.refusal.code == 0 && tt.refusal.err == nil {
					return nil
				}
				refusals++
				return &tt.refusal
			}
			b.pass(6*time.Second - 2*tickLength)
			if writes() != 0 {
				t.Fatal("played before its time")
			}
			full := b.limit[normal]
			if name == "queued" {
				b.limit[normal] = 0
			}
			for b.inflight == [lanes]int{} && b.time.Before(time.Unix(1_000_006, 1e8)) { // until it is sent
				b.time = b.time.Add(tickLength)
				b.now = b.time
				b.turn()
			}
			if tt.behind {
				b.finish(<-b.results)
			}
			change()
			b.limit[normal] = full
			b.drain()
			b.pass(time.Second)
			if got, want := writes(), 1+refusals; got != want {
				t.Errorf("%d writes a second after its time, want %d", got, want)
			}
		})
	}
}

func TestDelete(t *testing.T) {
	b := newBench(t, 0)
	b.epoch(nodes, newNode(1, 1))
	p := newPod(1, 2)
	p.DeletionTimestamp = &metav1.Time{Time: b.time}
	p.Finalizers = []string{"example.com/x"}
	b.epoch(pods, p)
	if b.f.count("PATCH /api/v1/namespaces/d/pods/p1?") != 1 || b.f.count("DELETE /api/v1/namespaces/d/pods/p1") != 1 {
		t.Fatalf("got %v", b.f.requests)
	}
	var opts metav1.DeleteOptions
	raw, err := open(b.f.bodies[slices.Index(b.f.requests, "DELETE /api/v1/namespaces/d/pods/p1")])
	if err != nil || opts.Unmarshal(raw) != nil || *opts.GracePeriodSeconds != 0 || *opts.Preconditions.UID != uid(1) {
		t.Fatalf("got %+v of %v %v", opts, b.f.requests, err)
	}
}

func TestParkedUntilNodeComes(t *testing.T) {
	b := newBench(t, 0)
	b.epoch(nodes)
	b.epoch(pods, newPod(1, 2))
	if b.f.count("PUT /api/v1/namespaces") != 0 {
		t.Fatal("played on a node that is not managed")
	}
	b.feed(nodes, newNode(1, 3))
	b.pass(20 * time.Millisecond)
	b.f.putPod(t, "p1")
}

func TestEpochForgets(t *testing.T) {
	b := newBench(t, 0)
	b.epoch(nodes, newNode(1, 1))
	b.epoch(pods)
	p := newPod(1, 2)
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.0.0.5"}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	b.feed(pods, p)
	if !has(b.addr.sets[1][0].bits, 5) {
		t.Fatal("address in use is not taken")
	}
	b.epoch(pods) // deleted while nobody watched
	if has(b.addr.sets[1][0].bits, 5) {
		t.Fatal("address of a pod that is gone is still taken")
	}
}

func TestJSONSize(t *testing.T) { // the request of a patch carries the uid
	m := moveJob{refer: corev1.ObjectReference{UID: "u"}}
	body, err := m.patch(&stage.Action{Data: map[string]any{"status": map[string]any{"a": 1}}})
	var got map[string]map[string]any
	if err != nil || json.Unmarshal(body, &got) != nil || got["metadata"]["uid"] != "u" {
		t.Fatalf("%s %v", body, err)
	}
}
