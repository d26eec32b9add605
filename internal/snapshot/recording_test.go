package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	sjson "sigs.k8s.io/json"
)

// someKinds are those of a small API server.
func someKinds() *Kinds {
	k := &Kinds{byType: map[schema.GroupVersionKind]Kind{}, custom: map[string]bool{}}
	verbs := metav1.Verbs{"list", "create"}
	k.learn("v1", []metav1.APIResource{
		{Name: "nodes", Kind: "Node", Verbs: verbs}, {Name: "pods", Kind: "Pod", Namespaced: true, Verbs: verbs},
		{Name: "configmaps", Kind: "ConfigMap", Namespaced: true, Verbs: verbs}, {Name: "services", Kind: "Service", Namespaced: true, Verbs: verbs},
	})
	k.learn("apps/v1", []metav1.APIResource{{Name: "deployments", Kind: "Deployment", Namespaced: true, Verbs: verbs}})
	k.learn("apiextensions.k8s.io/v1", []metav1.APIResource{{Name: "customresourcedefinitions", Kind: "CustomResourceDefinition", Verbs: verbs}})
	return k
}

// fromUpstream has the form that upstream's tools write: no marks, and changes in about the order of time.
const fromUpstream = `apiVersion: v1
kind: Node
metadata: {name: rack7, uid: u1, creationTimestamp: "$(time-offset-nanosecond -42000000000)"}
---
apiVersion: action.kwok.x-k8s.io/v1alpha1
kind: ResourcePatch
resource: {version: v1, resource: pods}
target: {name: demo-1, namespace: lab}
durationNanosecond: 2750000000
method: patch
template: {status: {phase: Running, startTime: "$(time-offset-nanosecond 2700000000)"}}
---
apiVersion: action.kwok.x-k8s.io/v1alpha1
kind: ResourcePatch
resource: {version: v1, resource: pods}
target: {name: demo-1, namespace: lab}
durationNanosecond: 1500000000
method: create
template: {apiVersion: v1, kind: Pod, metadata: {name: demo-1, namespace: lab}, spec: {nodeName: rack7, containers: [{name: c, image: i}]}}
---
apiVersion: action.kwok.x-k8s.io/v1alpha1
kind: ResourcePatch
resource: {version: v1, resource: pods}
target: {name: demo-2, namespace: lab}
durationNanosecond: 3000000000
method: create
template: {apiVersion: v1, kind: Pod, metadata: {name: demo-2, namespace: lab}, spec: {containers: [{name: c, image: i}]}}
---
apiVersion: action.kwok.x-k8s.io/v1alpha1
kind: ResourcePatch
resource: {version: v1, resource: pods}
target: {name: demo-2, namespace: lab}
durationNanosecond: 9000000000
method: delete
`

func input(t testing.TB, text string) *Input {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recording.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	return in
}

// played plays a recording without a server.
func played(t testing.TB, in *Input, kinds *Kinds, start time.Time) (*world, *script, error) {
	t.Helper()
	s, err := newScript(context.Background(), in, kinds, start, func(line int, err error) error { return &LineError{in.Name, line, err} })
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(kinds, start)
	err = s.each(func(e *entry) error {
		_, now, err := w.apply(e)
		if err == nil && now != nil {
			_, err = encode(now)
		}
		return err
	})
	return w, s, err
}

func TestUpstream(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w, s, err := played(t, input(t, fromUpstream), someKinds(), start)
	if err != nil || s.cut != nil {
		t.Fatal(err, s.cut)
	}
	var node, pod map[string]any
	for key, into := range map[string]*map[string]any{"/minions/rack7": &node, "/pods/lab/demo-1": &pod} {
		if w.kept[key] == nil {
			t.Fatalf("%s is not there", key)
		}
		if err := json.Unmarshal(w.kept[key].text, into); err != nil {
			t.Fatal(err)
		}
	}
	if gone := w.kept["/pods/lab/demo-2"]; gone == nil || gone.text != nil {
		t.Errorf("demo-2: %+v", gone)
	}
	if got := node["metadata"].(map[string]any)["creationTimestamp"]; got != "2026-01-02T03:03:23Z" {
		t.Errorf("node: made at %v", got)
	}
	status := pod["status"].(map[string]any)
	if status["phase"] != "Running" || status["startTime"] != "2026-01-02T03:04:07Z" || pod["spec"].(map[string]any)["nodeName"] != "rack7" {
		t.Errorf("pod: %v", pod)
	}
	if meta := pod["metadata"].(map[string]any); meta["uid"] == "" || meta["creationTimestamp"] != "2026-01-02T03:04:05Z" {
		t.Errorf("pod: %v", meta)
	}
}

// TestChecked holds what CheckRecording says of recordings.
func TestChecked(t *testing.T) {
	const node = "apiVersion: v1\nkind: Node\nmetadata: {name: a}\n"
	change := func(rest string) string {
		return "---\napiVersion: action.kwok.x-k8s.io/v1alpha1\nkind: ResourcePatch\nresource: {version: v1, resource: nodes}\ntarget: {name: a}\n" + rest + "\n---\napiVersion: action.kwok.x-k8s.io/v1alpha1\nkind: ResourcePatch\nresource: {version: v1, resource: nodes}\ntarget: {name: z}\nmethod: delete\n"
	}
	for name, tt := range map[string]struct {
		text   string
		replay Replay
		want   string // of the error
		cut    string
		counts string
	}{
		"whole":         {text: fromUpstream, counts: "1 4"},
		"snapshot only": {text: fromUpstream, replay: Replay{Snapshot: true}, counts: "1 0"},
		"nothing":       {text: "# a comment\n", want: "no objects"},
		"scalar":        {text: "hello\n---\n" + node, want: "line 1: not an object"},
		"unknown kind":  {text: node + "---\napiVersion: x.io/v1\nkind: Unicorn\nmetadata: {name: a}\n", want: `Unicorn of "x.io/v1"`},
		"left out":      {text: node + "---\napiVersion: x.io/v1\nkind: Unicorn\nmetadata: {name: a}\n", replay: Replay{IgnoreUnknown: true}, counts: "1 0"},
		"method":        {text: node + change("method: explode"), want: `line 4: method "explode"`},
		"time":          {text: node + change("method: delete\ndurationNanosecond: -5"), want: "-5"},
		"no template":   {text: node + change("method: patch"), want: "template: missing"},
		"not there":     {text: change("method: patch\ntemplate: {spec: {}}"), want: "no such object"},
		"wrong type":    {text: node + change("method: patch\ntemplate: {spec: {taints: 5}}"), want: "patch of nodes a"},
		"name":          {text: "apiVersion: v1\nkind: Node\nmetadata: {name: a/b}\n---\n" + node, want: `"a/b"`},
		"no namespace":  {text: "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n" + node, want: `namespace ""`},
		"namespace":     {text: "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: ..}\n---\n" + node, want: `namespace ".."`},
		"damaged":       {text: node + "---\na: [1\n---\n" + node, want: "line 6"},
		"ignored":       {text: node + "---\na: [1\n---\n" + node, replay: Replay{IgnoreErrors: true}, counts: "2 0"},
		"cut":           {text: node + "---\na: [1\n", counts: "1 0", cut: "missing"},
		"cut field":     {text: fromUpstream + "---\napiVersion: action.kwok.x-k8s.io/v1alpha1\nkind: ResourcePatch\nresource: {vers", counts: "1 4", cut: "missing"},
		"our own, cut":  {text: "# kwokctl snapshot 2026-01-02T03:04:05Z x\n---\n" + node + "---\n" + strings.Replace(node, "a}", "b}", 1), counts: "1 0", cut: "missing"},
		"whole so far":  {text: "# kwokctl snapshot 2026-01-02T03:04:05Z x\n---\n" + node + "---\n" + strings.Replace(node, "a}", "b}", 1) + markWhole, counts: "2 0", cut: "missing"},
		"all but ends":  {text: "# kwokctl snapshot 2026-01-02T03:04:05Z x\n---\n" + node + "---\n# kwokctl snapshot ends, objects: 1\n", counts: "1 0"},
		"middle gone":   {text: "# kwokctl snapshot 2026-01-02T03:04:05Z x\n---\n" + node + "---\n# kwokctl snapshot ends, objects: 7\n", want: "7 objects"},
		"later defined": {text: widget + "---\n" + definitionOfWidgets, counts: "2 0"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := CheckRecording(context.Background(), input(t, tt.text), someKinds(), tt.replay)
			switch {
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("got %v, want %q", err, tt.want)
			case tt.want != "":
				return
			case err != nil:
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%d %d", r.Objects, r.Changes); got != tt.counts {
				t.Errorf("objects and changes: %s, want %s", got, tt.counts)
			}
			if (r.Cut != nil) != (tt.cut != "") || r.Cut != nil && !strings.Contains(r.Cut.Error(), tt.cut) {
				t.Errorf("cut: %v, want %q", r.Cut, tt.cut)
			}
		})
	}
}

const widget = "apiVersion: acme.io/v1\nkind: Widget\nmetadata: {name: w, namespace: lab}\nspec: {size: 1, keep: x}\n"

const definitionOfWidgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.acme.io}
spec:
  group: acme.io
  scope: Namespaced
  names: {plural: widgets, kind: Widget}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`

// TestCutAnywhere cuts a recording of ours at a third of its bytes: what is left is played, and nothing that was not recorded.
func TestCutAnywhere(t *testing.T) {
	kinds := someKinds()
	whole := recorded(t, kinds)
	start := time.Now()
	var states []string // after each entry
	s, err := newScript(context.Background(), input(t, whole), kinds, start, func(line int, err error) error { return err })
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(kinds, start)
	states = append(states, w.print())
	if err := s.each(func(e *entry) error {
		_, _, err := w.apply(e)
		states = append(states, w.print())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if s.cut != nil || len(states) < 8 {
		t.Fatalf("cut %v, %d states", s.cut, len(states))
	}
	if _, _, err := played(t, input(t, whole), kinds, start); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for n := 1; n < len(whole); n += 1 + n%5 {
		w, s, err := played(t, input(t, whole[:n]), kinds, start)
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if s.cut == nil && n > strings.IndexByte(whole, '\n') && !strings.HasSuffix(strings.TrimSpace(whole[:n]), "objects: 8") {
			t.Errorf("cut at %d is not noticed: %q", n, whole[max(0, n-80):n])
		}
		i := slices.Index(states[lines:], w.print())
		if i < 0 {
			t.Fatalf("cut at %d: the state is none that was recorded, or an older one:\n%s", n, w.print())
		}
		lines += i
	}
}

func (w *world) print() string {
	var b strings.Builder
	keys := []string{}
	for key, k := range w.kept {
		if k.text != nil {
			keys = append(keys, key+" "+string(k.text))
		}
	}
	slices.Sort(keys)
	b.WriteString(strings.Join(keys, "\n"))
	return b.String()
}

// recorded is what a recorder writes of some changes.
func recorded(t testing.TB, kinds *Kinds) string {
	t.Helper()
	var b bytes.Buffer
	start := time.Now().Add(-time.Minute)
	r := &recorder{Record: Record{Warn: func(string) {}, Progress: func(int) {}}, kinds: kinds, out: &Output{Writer: &b}, w: NewWriter(&b), start: start,
		last: map[string]map[string][]byte{}, watched: map[string]bool{}}
	r.w.Begin(start, "and recording of a test")
	pod := func(change string) map[string]any {
		return parseObject(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"lab","uid":"u","creationTimestamp":"2026-01-02T03:04:05Z"},`+change+`}`)
	}
	node := parseObject(t, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n","uid":"v","creationTimestamp":"2026-01-02T03:04:05Z"}}`)
	if err := r.remember(kindNamed(kinds, "nodes"), "/n", node); err != nil {
		t.Fatal(err)
	}
	if err := r.w.Write(relative(node, start).(map[string]any)); err != nil {
		t.Fatal(err)
	}
	for i, e := range []event{
		{object: pod(`"spec":{"containers":[{"name":"c","image":"i"}]}`)},
		{object: pod(`"spec":{"containers":[{"name":"c","image":"i"}],"nodeName":"n"}`)},
		{object: pod(`"spec":{"containers":[{"name":"c","image":"i"}],"nodeName":"n"},"status":{"phase":"Running","startTime":"2026-01-02T03:04:06Z"}`)},
		{object: pod(`"spec":{"containers":[{"name":"c","image":"i"}],"nodeName":"n"},"status":{"phase":"Running","startTime":"2026-01-02T03:04:06Z"}`)}, // no news
		{object: pod(`"spec":{"containers":[{"name":"c","image":"j"}],"nodeName":"n"},"status":{"phase":"Running"}`)},
		{object: nil},
		{object: pod(`"spec":{"containers":[{"name":"c","image":"i"}]}`)},
		{all: map[string]bool{}},
		{object: nil}, // it is gone already
	} {
		e.kind, e.name, e.at = kindNamed(kinds, "pods"), "lab/p", start.Add(time.Duration(i)*time.Second)
		if err := r.write(e); err != nil {
			t.Fatal(err)
		}
		if i == 3 || i == 8 { // as there is no news
			continue
		}
		if err := r.flush(); err != nil {
			t.Fatal(err)
		}
	}
	r.w.End()
	if err := r.w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func kindNamed(kinds *Kinds, resource string) Kind {
	for _, k := range kinds.byType {
		if k.String() == resource {
			return k
		}
	}
	panic("no kind " + resource)
}

func parseObject(t testing.TB, text string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := sjson.UnmarshalCaseSensitivePreserveInts([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestRecorded holds the form of what is written against upstream's.
func TestRecorded(t *testing.T) {
	text := recorded(t, someKinds())
	for _, want := range []string{
		"---\napiVersion: v1\nkind: Node\nmetadata:\n  creationTimestamp: \"$(time-offset-nanosecond -",
		"---\napiVersion: action.kwok.x-k8s.io/v1alpha1\ndurationNanosecond: 1000000000\nkind: ResourcePatch\nmethod: patch\nresource:\n  resource: pods\n  version: v1\ntarget:\n  name: p\n  namespace: lab\ntemplate:\n  spec:\n    nodeName: \"n\"\n",
		"---\napiVersion: action.kwok.x-k8s.io/v1alpha1\ndurationNanosecond: 5000000000\nkind: ResourcePatch\nmethod: delete\nresource:\n  resource: pods\n  version: v1\ntarget:\n  name: p\n  namespace: lab\n# whole up to here\n---\n",
		"---\n# kwokctl snapshot ends, objects: 8\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "2026-01-02") {
		t.Errorf("it has absolute times:\n%s", text)
	}
}

func TestPatch(t *testing.T) {
	kinds := someKinds()
	if err := kinds.define(mustJSON(t, definitionOfWidgets)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		kind, old, now string
		ok             bool
	}{
		"field":        {"pods", `{"spec":{"nodeName":"a"}}`, `{"spec":{"nodeName":"b"}}`, true},
		"removed":      {"pods", `{"metadata":{"labels":{"a":"1","b":"2"}}}`, `{"metadata":{"labels":{"b":"2"}}}`, true},
		"list by name": {"pods", `{"spec":{"containers":[{"name":"a"},{"name":"b","image":"x"}]}}`, `{"spec":{"containers":[{"name":"b","image":"y"},{"name":"c"}]}}`, true},
		"order":        {"pods", `{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}`, `{"spec":{"containers":[{"name":"b"},{"name":"a"}]}}`, true},
		"finalizers":   {"pods", `{"metadata":{"finalizers":["a","b"]}}`, `{"metadata":{"finalizers":["b"]}}`, true},
		"numbers":      {"pods", `{"spec":{"priority":1}}`, `{"spec":{"priority":9007199254740993}}`, true},
		"same key":     {"services", `{"spec":{"ports":[{"port":53,"protocol":"TCP"}]}}`, `{"spec":{"ports":[{"port":53,"protocol":"TCP"},{"port":53,"protocol":"UDP"}]}}`, false},
		"custom":       {"widgets.acme.io", `{"spec":{"size":1,"list":[1,2],"gone":{}}}`, `{"spec":{"size":2,"list":[2],"new":{"a":[]}}}`, true},
		"custom null":  {"widgets.acme.io", `{"spec":{"size":1}}`, `{"spec":{"size":null}}`, false}, // a merge patch has no null
	} {
		patch, ok, err := difference(kindNamed(kinds, tt.kind), []byte(tt.old), []byte(tt.now))
		if err != nil || ok != tt.ok {
			t.Errorf("%s: %s, %v, %v", name, patch, ok, err)
		}
	}
}

func mustJSON(t testing.TB, text string) []byte {
	t.Helper()
	d, err := NewReader(strings.NewReader(text), "test").Next()
	if err != nil {
		t.Fatal(err)
	}
	return d.JSON
}

func TestRelative(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	in := map[string]any{"a": "2026-01-02T03:04:06Z", "b": []any{"2026-01-02T05:04:05.5+02:00", "2026-01-02", "x"}, "c": "0001-01-01T00:00:00Z",
		"annotations": map[string]any{"at": "2026-01-02T03:04:06Z"}}
	got := fmt.Sprint(relative(in, start))
	want := "map[a:$(time-offset-nanosecond 1000000000) annotations:map[at:2026-01-02T03:04:06Z] b:[$(time-offset-nanosecond 500000000) 2026-01-02 x] c:0001-01-01T00:00:00Z]"
	if got != want {
		t.Errorf("got %s", got)
	}
	if in["a"] != "2026-01-02T03:04:06Z" {
		t.Error("the object itself was changed")
	}
}

func TestCompare(t *testing.T) {
	for _, tt := range []struct{ want, is, says string }{
		{`{"a":1}`, `{"a":1,"b":2}`, ""},
		{`{"a":{"b":[1,{"c":"x"}]}}`, `{"a":{"b":[1,{"c":"x","d":1}]}}`, ""},
		{`{"a":{"b":[1,2]}}`, `{"a":{"b":[1]}}`, "a.b: has 1 items, not 2"},
		{`{"a":[{"b":"x"}]}`, `{"a":[{"b":"y"}]}`, `a[0].b: is "y", not "x"`},
		{`{"a":"2026-01-02T03:04:05.5Z"}`, `{"a":"2026-01-02T03:04:05Z"}`, ""},
		{`{"a":"2026-01-02T03:04:05Z"}`, `{"a":"2026-01-02T03:05:05Z"}`, `a: is "2026-01-02T03:05:05Z", not "2026-01-02T03:04:05Z"`},
		{`{"a":{},"b":null,"c":"","d":false}`, `{}`, ""},
		{`{"a":{"b":1}}`, `{}`, "a: is missing"},
	} {
		if got := compare("", parseObject(t, tt.want), parseObject(t, tt.is)); got != tt.says {
			t.Errorf("%s, %s: got %q, want %q", tt.want, tt.is, got, tt.says)
		}
	}
}

func TestClock(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fast := NewClock(0)
	fast.Start()
	if err := fast.wait(ctx, time.Hour); err != nil {
		t.Error(err)
	}
	c := NewClock(100)
	c.Start()
	began := time.Now()
	if err := c.wait(ctx, 5*time.Second); err != nil || time.Since(began) < 50*time.Millisecond {
		t.Errorf("5 s at x100: %v, %s", err, time.Since(began))
	}
	c.Pause(true)
	done := make(chan error, 1)
	go func() { done <- c.wait(ctx, time.Hour) }()
	select {
	case err := <-done:
		t.Fatalf("it went on while paused: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	c.turn(func() { c.at, c.paused = time.Hour, false })
	if err := <-done; err != nil {
		t.Error(err)
	}
	for i, want := range []string{"1.1", "1", "0.9", "0.81"} {
		if i == 0 {
			c = NewClock(1)
			c.Faster()
		} else {
			c.Slower()
		}
		if speed, _ := c.State(); fmt.Sprintf("%.3g", speed) != want {
			t.Errorf("speed %.3g, want %s", speed, want)
		}
	}
	ended, stop := context.WithCancel(context.Background())
	stop()
	if err := NewClock(1).wait(ended, time.Hour); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// FuzzReplay holds that no file makes the replay fall over, or write what the API server could not read.
func FuzzReplay(f *testing.F) {
	f.Add([]byte(fromUpstream))
	f.Add([]byte(recorded(f, someKinds())))
	f.Add([]byte(definitionOfWidgets + "---\n" + widget))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Node, metadata: {name: a}}]\n"))
	f.Add([]byte(strings.ReplaceAll(fromUpstream, "status: {phase", "spec: {containers: [{$patch: delete, name: c}], $retainKeys: [a]}, status: {phase")))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) == 0 {
			return
		}
		kinds := someKinds()
		in := &Input{Name: "fuzz"}
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		in, err := Open(path, nil)
		if err != nil {
			return
		}
		defer in.Close()
		r, err := CheckRecording(context.Background(), in, kinds, Replay{IgnoreErrors: true})
		if err != nil {
			return
		}
		w, _, err := playedBut(t, in, kinds, r.wrong)
		if err != nil {
			t.Fatalf("it was checked, and now: %v", err)
		}
		for key, k := range w.kept {
			if !strings.HasPrefix(key, "/") || strings.Contains(key, "/../") || strings.HasSuffix(key, "/") {
				t.Errorf("key %q", key)
			}
			if k.text == nil {
				continue
			}
			if _, err := decode(k.kind, k.text); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
	})
}

// playedBut is played without the entries of some lines.
func playedBut(t testing.TB, in *Input, kinds *Kinds, wrong map[int]bool) (*world, *script, error) {
	t.Helper()
	start := time.Now()
	s, err := newScript(context.Background(), in, kinds, start, func(line int, err error) error {
		if wrong[line] {
			return nil
		}
		return &LineError{in.Name, line, err}
	})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(kinds, start)
	return w, s, s.each(func(e *entry) error {
		if wrong[e.line] {
			return nil
		}
		_, now, err := w.apply(e)
		if err == nil && now != nil {
			_, err = encode(now)
		}
		return err
	})
}
