package controller

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kwokctl/internal/stage"
)

const widgetStage = `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: %s}
spec:
  resourceRef: {apiGroup: example.com/v1, kind: Widget}
  selector:
    matchExpressions:
    - {key: .status.phase, operator: NotIn, values: [done]}
  delay: {durationMilliseconds: %d}
  steps:
  - patch: {subresource: status, root: status, template: 'phase: done'}
`

func widget(n, version int, more string) string {
	return fmt.Sprintf(`{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w%d","namespace":"d","uid":"%s","resourceVersion":"%d"}%s}`,
		n, uid(n), version, more)
}

// liveStageEvent is a Stage as the watch brings it.
func liveStageEvent(name, spec string, gone bool) batch {
	text := fmt.Sprintf(`{"apiVersion":"kwok.x-k8s.io/v1alpha1","kind":"Stage","metadata":{"name":%q,"uid":"u-%s"},"spec":%s}`, name, name, spec)
	obj, err := stage.Decode([]byte(text))
	if err != nil {
		panic(err)
	}
	return batch{kind: stageObjects, events: []event{{gone: gone, obj: obj}}}
}

// reports returns what the loop wants to be written about itself.
func (b *bench) reports() (all []report) {
	for _, d := range b.report.desks {
		for len(d) > 0 {
			all = append(all, <-d)
		}
	}
	return all
}

func TestAnyKind(t *testing.T) {
	b := newBenchWith(t, 0, nil, fmt.Sprintf(widgetStage, "a", 1000))
	b.launchAll()
	b.take(batch{kind: firstOther, begin: true, where: &b.mustFind("Widget").where})
	b.feed(firstOther, widget(1, 5, ""), widget(2, 6, `,"status":{"phase":"done"}`))
	const path = "PATCH /apis/example.com/v1/namespaces/d/widgets/w1/status?fieldValidation=Ignore"
	b.pass(900 * time.Millisecond)
	if n := b.f.count("PATCH"); n != 0 {
		t.Fatalf("played before its time: %v", b.f.requests)
	}
	b.pass(200 * time.Millisecond)
	if b.f.count(path) != 1 || b.f.count("PATCH") != 1 {
		t.Fatalf("got %v", b.f.requests)
	}
	var body struct{ Metadata, Status map[string]string }
	if err := json.Unmarshal(b.f.bodies[0], &body); err != nil || body.Status["phase"] != "done" || body.Metadata["uid"] != string(uid(1)) {
		t.Fatalf("got %s", b.f.bodies[0])
	}
	b.take(batch{kind: firstOther, missing: true}) // its definition was deleted
	if b.loop.t.live != 0 {
		t.Fatalf("%d objects of a kind that is gone", b.loop.t.live)
	}
}

// mustFind fills in where a kind lives.
func (b *bench) mustFind(kind string) *player {
	b.t.Helper()
	for _, p := range b.kinds {
		if p.ref.Kind == kind {
			where, err := b.find.Resource(b.t.Context(), p.ref.APIGroup, kind)
			if err != nil {
				b.t.Fatal(err)
			}
			p.where = where
			return p
		}
	}
	b.t.Fatalf("no player of %s", kind)
	return nil
}

func TestStagesComeAndGo(t *testing.T) {
	b := newBenchWith(t, 0, []string{"Stage"})
	select {
	case <-b.staged:
		t.Fatal("nobody knows the Stages yet")
	default:
	}
	b.take(batch{kind: stageObjects, begin: true})
	b.take(batch{kind: stageObjects, end: true})
	<-b.staged
	b.epoch(nodes, newNode(1, 1))
	b.epoch(pods)
	if b.f.count("PUT /api/v1/nodes/n1/status") != 1 {
		t.Fatal("without Stages the built-in ones are played")
	}

	slow := `{"resourceRef":{"apiGroup":"v1","kind":"Pod"},"selector":{},"delay":{"durationMilliseconds":%d},
		"steps":[{"patch":{"root":"metadata","template":"annotations: {a: b}"}}]}`
	b.take(liveStageEvent("slow", fmt.Sprintf(slow, 60_000), false))
	b.pass(2 * time.Second)
	b.feed(pods, newPod(1, 2))
	b.pass(30 * time.Second)
	if n := b.f.count("P") - 1; n != 0 {
		t.Fatalf("the built-in Stages of pods are still played: %v", b.f.requests)
	}
	// Another Stage, of another kind: what waits keeps its time.
	b.take(liveStageEvent("other", `{"resourceRef":{"apiGroup":"v1","kind":"Node"},"selector":{"matchLabels":{"x":"y"}}}`, false))
	b.pass(2 * time.Second)
	b.epoch(pods, newPod(1, 2))
	b.pass(29 * time.Second)
	if n := b.f.count("PATCH /api/v1/namespaces/d/pods/p1"); n != 1 {
		t.Fatalf("%d patches after a minute", n)
	}
	// An edit takes effect on an object that waits.
	b.feed(pods, newPod(2, 3))
	b.take(liveStageEvent("slow", fmt.Sprintf(slow, 100), false))
	b.pass(time.Second)
	select {
	case <-b.kinds[pods].renew:
	default:
		t.Fatal("no new epoch was asked for")
	}
	b.epoch(pods, newPod(2, 3))
	b.pass(time.Second)
	if n := b.f.count("PATCH /api/v1/namespaces/d/pods/p2"); n != 1 {
		t.Fatalf("%d patches after the edit", n)
	}
	b.take(liveStageEvent("slow", fmt.Sprintf(slow, 100), true))
	b.pass(time.Second)
	b.feed(pods, newPod(3, 4))
	if b.f.count("PUT /api/v1/namespaces/d/pods/p3/status") != 1 {
		t.Fatalf("the built-in Stages are not back: %v", b.f.requests)
	}
}

// TestConditionsOfOthers says whether a Stage is played beside what others say of it, such as a Stage for Stages.
func TestConditionsOfOthers(t *testing.T) {
	b := newBenchWith(t, 0, []string{"Stage"})
	b.take(batch{kind: stageObjects, begin: true})
	const theirs = `{"resourceRef":{"apiGroup":"v1","kind":"Pod"},"selector":{}},"status":{"conditions":[{"type":"Available","status":"True"}]}`
	b.take(liveStageEvent("judged", theirs, false))
	b.take(batch{kind: stageObjects, end: true})
	var types []string
	for _, r := range b.reports() {
		for _, c := range r.stageConditions {
			types = append(types, c.Type+" "+c.Status)
		}
	}
	if want := []string{"Ready True", "Available True"}; !slices.Equal(types, want) {
		t.Errorf("got %q, want %q", types, want)
	}
	// That one cannot be read is said once, though each word about it brings it again.
	for n, want := range []int{1, 0} {
		b.take(liveStageEvent("unread", `{"resourceRef":{"apiGroup":"v1","kind":"Pod"},"nosuchfield":1}`, false))
		b.pass(2 * time.Second)
		said := 0
		for _, r := range b.reports() {
			said += len(r.stageConditions)
		}
		if said != want {
			t.Errorf("event %d: %d conditions, want %d", n, said, want)
		}
	}
}

func TestBadStagesAreSetAside(t *testing.T) {
	b := newBenchWith(t, 0, []string{"Stage"})
	b.take(batch{kind: stageObjects, begin: true})
	for i, spec := range []string{
		`{"selector":{"matchExpressions":[{"jq":{"key":".a[","operator":"Exists"}}]},"resourceRef":{"apiGroup":"v1","kind":"Pod"}}`,
		`{"selector":{"matchExpressions":[{"cel":{"expression":"self.a ="}}]},"resourceRef":{"apiGroup":"v1","kind":"Pod"}}`,
		`{"selector":{},"steps":[{"patch":{"template":"{{ nope }}"}}],"resourceRef":{"apiGroup":"v1","kind":"Pod"}}`,
		`{"selector":{},"steps":[{"patch":{"type":"odd"}}],"resourceRef":{"apiGroup":"v1","kind":"Pod"}}`,
		`{"selector":{"matchExpressions":[{"jq":{"key":".a","operator":"In"}}]},"resourceRef":{"apiGroup":"v1","kind":"Pod"}}`,
		`{"resourceRef":{"apiGroup":"v1","kind":"Node"}}`,
		`{"selector":{},"nosuchfield":1,"resourceRef":{"apiGroup":"v1","kind":"Pod"}}`,
	} {
		b.take(liveStageEvent(fmt.Sprint("bad-", i), spec, false))
	}
	b.take(batch{kind: stageObjects, end: true})
	events, conditions := 0, 0
	for _, r := range b.reports() {
		if r.path != "" {
			conditions++
			if c := r.stageConditions[0]; c.Status != "False" || !strings.Contains(c.Message, "spec.") && !strings.Contains(c.Message, "nosuchfield") {
				t.Errorf("got %+v", c)
			}
			continue
		}
		events++
		if r.refer.Kind != "Stage" || r.refer.UID == "" || r.typ != "Warning" {
			t.Errorf("got %+v", r)
		}
	}
	if events != 7 || conditions != 7 {
		t.Errorf("%d events and %d conditions, want 7 each", events, conditions)
	}
	b.epoch(nodes, newNode(1, 1)) // a Stage without selector is how one says that nothing is played
	b.epoch(pods)
	if b.f.count("PUT /api/v1/nodes") != 0 {
		t.Error("nodes are played")
	}
	b.feed(nodes, newNode(2, 2))
	p := newPod(1, 3)
	b.feed(pods, p)
	if b.f.count("PUT /api/v1/namespaces/d/pods/p1/status") != 1 {
		t.Error("pods are not played by the built-in Stages")
	}
}

func TestLimitsSetAside(t *testing.T) {
	b := newBenchWith(t, 0, nil, `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: runaway}
spec:
  resourceRef: {kind: Pod}
  selector: {matchExpressions: [{key: "[range(1e12)] | length", operator: Exists}]}
`, `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: good}
spec:
  resourceRef: {kind: Pod}
  selector: {matchExpressions: [{key: .status.phase, operator: In, values: [Pending]}]}
  next: {statusTemplate: 'phase: Running'}
`)
	b.epoch(nodes, newNode(1, 1))
	b.epoch(pods)
	for i := range 10 {
		b.feed(pods, newPod(i+1, 10+i))
	}
	if n := b.f.count("PUT /api/v1/namespaces"); n != 10 {
		t.Fatalf("%d pods run", n)
	}
	told := 0
	for _, r := range b.reports() {
		if r.reason == "StageSetAside" && r.refer.Name == "runaway" {
			told++
		}
	}
	if told != 1 {
		t.Fatalf("told %d times", told)
	}
}

func TestCirclesAreSlowed(t *testing.T) {
	b := newBenchWith(t, 0, nil, `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: loop}
spec:
  resourceRef: {kind: Pod}
  selector: {}
  immediateNextStage: true
  steps: [{patch: {root: metadata, template: 'annotations: {at: "{{ Now }}"}'}}]
`)
	b.f.refuse = func(r *request) *reply { // the reply is the whole pod
		if r.accept != protobuf {
			return nil
		}
		b.f.version++
		p := newPod(1, 1000+b.f.version)
		p.Annotations = map[string]string{"at": fmt.Sprint(b.f.version)}
		body, err := seal("v1", "Pod", p)
		if err != nil {
			t.Fatal(err)
		}
		return &reply{code: http.StatusOK, body: body}
	}
	b.epoch(nodes, newNode(1, 1))
	b.epoch(pods, newPod(1, 2))
	before := b.f.count("PATCH /api/v1/namespaces/d/pods/p1")
	if before > 101 {
		t.Fatalf("%d at once", before)
	}
	b.pass(10 * time.Second)
	if n := b.f.count("PATCH /api/v1/namespaces/d/pods/p1") - before; n < 8 || n > 11 {
		t.Fatalf("%d in 10 s after %d at once", n, before)
	}
	told := 0
	for _, r := range b.reports() {
		if r.reason == "MovesInCircles" && strings.Contains(r.message, "loop") {
			told++
		}
	}
	if told != 1 {
		t.Fatalf("told %d times", told)
	}
}

func TestSecondControllerSaysWho(t *testing.T) {
	b := newBench(t, 40)
	foreign := func() lease {
		return lease{version: "7", holder: "other", renewed: b.time, duration: 40 * time.Second}
	}
	b.take(batch{leases: map[string]lease{"n1": foreign(), "n2": foreign()}})
	b.epoch(nodes, newNode(1, 1), newNode(2, 2))
	b.epoch(pods)
	b.pass(time.Second)
	told := b.reports()
	if len(told) != 1 || told[0].refer.Kind != "Node" || !strings.Contains(told[0].message, "other") {
		t.Fatalf("told %+v, want one event that names the other controller", told)
	}
	b.pass(60 * time.Second)
	if !b.loop.nodes["n1"].held || !b.loop.nodes["n2"].held {
		t.Fatal("not taken over")
	}
}

func TestEventsAreCounted(t *testing.T) {
	f := &fake{}
	r := newReporter(f, newStats(), nil)
	d := &desk{reporter: r, subjects: map[string]*subjectEvents{}}
	now := time.Unix(1_000_000, 0)
	refer := corev1.ObjectReference{Kind: "Pod", Namespace: "d", Name: "p"}
	for i := range 40 {
		rep := report{refer: refer, typ: "Normal", reason: "R", message: "m", at: now.Add(time.Duration(i) * time.Second)}
		if err := d.announce(t.Context(), &rep); err != nil {
			t.Fatal(err)
		}
	}
	if f.count("POST") != 1 || f.count("PATCH") != eventBurst-1 {
		t.Fatalf("%d written, %d counted, want 1 and %d", f.count("POST"), f.count("PATCH"), eventBurst-1)
	}
}
