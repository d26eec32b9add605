package stage

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"kwokctl/internal/api"
)

func load(t *testing.T, text string) []*api.Stage {
	t.Helper()
	objs, err := api.Load(strings.NewReader(text), "f.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return api.Of[*api.Stage](objs)
}

func run(t *testing.T, stages []*api.Stage, object string) *Record {
	t.Helper()
	rec, err := Rehearsal{Stages: stages, Seed: 1, Until: 5 * time.Minute, Version: "1.0.0"}.Run([]byte(object))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// story is the transitions and the end of a record in one line.
func story(rec *Record) string {
	s := ""
	for _, tr := range rec.Transitions {
		s += fmt.Sprintf("%s %s, ", tr.At, tr.Stage)
	}
	return s + rec.End
}

func TestRehearseShipped(t *testing.T) {
	const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"%s},"spec":{"containers":[{"name":"a","image":"b"}],"initContainers":[{"name":"i","image":"b"},{"name":"s","image":"b","restartPolicy":"Always"}]}}`
	const job = `,"ownerReferences":[{"apiVersion":"batch/v1","kind":"Job","name":"j","uid":"u"}]`
	for _, tt := range []struct{ set, object, want string }{
		{"pod/fast", fmt.Sprintf(pod, ""), "pod-ready, at rest"},
		{"pod/fast", fmt.Sprintf(pod, job), "pod-ready, pod-complete, at rest"},
		{"pod/fast", fmt.Sprintf(pod, `,"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["a.b/c"]`), "pod-delete, deleted"},
		{"pod/general", fmt.Sprintf(pod, ""), "pod-create, pod-init-container-running, pod-init-container-completed, pod-ready, at rest"},
		{"pod/general", fmt.Sprintf(pod, job), "pod-create, pod-init-container-running, pod-init-container-completed, pod-ready, pod-complete, at rest"},
		{"node/fast", `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n"}}`, "node-initialize, at rest"},
		{"volume/fast", `{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"c"},"spec":{"storageClassName":"kwok-volume","accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}`,
			"pvc-provision, at rest"},
	} {
		stages, err := loadSet(tt.set)
		if err != nil {
			t.Fatal(err)
		}
		rec := run(t, stages, tt.object)
		got := ""
		for _, tr := range rec.Transitions {
			got += tr.Stage + ", "
			if len(tr.Notes) > 0 {
				t.Errorf("%s: %v", tr.Stage, tr.Notes)
			}
		}
		if got += rec.End; got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.set, got, tt.want)
		}
		again := run(t, stages, tt.object)
		if !reflect.DeepEqual(rec, again) {
			t.Errorf("%s: the same input has different outputs", tt.set)
		}
	}
}

func TestRehearsePodSidecarSurvives(t *testing.T) {
	stages, err := loadSet("pod/general")
	if err != nil {
		t.Fatal(err)
	}
	rec := run(t, stages, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"a","image":"b"}],"initContainers":[{"name":"s","image":"b","restartPolicy":"Always"}]}}`)
	o, err := objectOf(rec.Object)
	if err != nil {
		t.Fatal(err)
	}
	p := o.(*Pod)
	if s := p.Status.InitContainerStatuses[0]; s.State.Running == nil || !*s.Started {
		t.Errorf("the sidecar does not run: %+v", s)
	}
	if p.Status.Phase != "Running" || p.Status.PodIP == "" || p.Status.ContainerStatuses[0].State.Running == nil {
		t.Errorf("got %+v", p.Status)
	}
}

const custom = `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: %s}
spec:
  resourceRef: {apiGroup: %s, kind: %s}
  selector: %s
  delay: {durationMilliseconds: %d}
  steps: %s
`

func TestRehearse(t *testing.T) {
	const widget = `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","finalizers":["a.b/c"]},"spec":{"size":3}}`
	const cm = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"w"},"data":{"a":"b"}}`
	const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c"}]}}`
	none := "{matchExpressions: [{jq: {key: .status.phase, operator: DoesNotExist}}]}"
	is := func(v string) string {
		return "{matchExpressions: [{jq: {key: .status.phase, operator: In, values: [" + v + "]}}]}"
	}
	status := func(v string) string {
		return "[{patch: {subresource: status, root: status, template: 'phase: " + v + "'}}]"
	}
	for _, tt := range []struct{ name, stages, object, want, note string }{
		{"chain", fmt.Sprintf(custom, "a", "example.com/v1", "Widget", none, 1000, status("One")) + "---" +
			fmt.Sprintf(custom, "b", "example.com/v1", "Widget", is("One"), 2000, status("Two")), widget, "1s a, 3s b, at rest", ""},
		{"loop", fmt.Sprintf(custom, "a", "example.com/v1", "Widget", "{}", 0, `[{patch: {root: status, template: 'count: {{ add 1 (or .status.count "0" | toString | int) }}'}}]`), widget, "endless", ""},
		{"late", fmt.Sprintf(custom, "a", "example.com/v1", "Widget", "{}", 600000, status("One")), widget, "waiting", ""},
		{"held", fmt.Sprintf(custom, "a", "example.com/v1", "Widget", "{matchExpressions: [{jq: {key: .metadata.deletionTimestamp, operator: DoesNotExist}}]}", 0, "[{delete: true}]"), widget, "0s a, at rest", "finalizers hold the object"},
		{"freed", fmt.Sprintf(custom, "a", "example.com/v1", "Widget", "{}", 0, "[{finalizers: {empty: true}}, {delete: true}]"), widget, "0s a, deleted", ""},
		{"json", fmt.Sprintf(custom, "a", "example.com/v1", "Widget", none, 0, `[{patch: {root: status, type: json, template: '[{"op":"add","path":"","value":{"phase":"One"}}]'}}]`), widget, "0s a, at rest", ""},
		{"json of nothing", fmt.Sprintf(custom, "a", "example.com/v1", "Widget", none, 0, `[{patch: {root: metadata, type: json, template: "[]"}}, {patch: {root: metadata, type: json, template: "{{ if false }}x{{ end }}"}}, {patch: {root: status, template: 'phase: One'}}]`), widget, "0s a, at rest", ""},
		{"event only", fmt.Sprintf(custom, "a", "v1", "ConfigMap", "{}", 0, "[{event: {type: Normal, reason: A, message: b}}]"), cm, "0s a, at rest", ""},
		{"no subresource", fmt.Sprintf(custom, "a", "v1", "ConfigMap", none, 0, "[{patch: {root: status, template: 'phase: One'}}]"), cm, "0s a, at rest", "status is not changed: the patch needs subresource: status"},
		{"misspelt", fmt.Sprintf(custom, "a", "v1", "Pod", is("Pending"), 0, "[{patch: {subresource: status, root: status, template: '{phase: Running, phse: x, conditions: [{type: Ready, state: y}]}'}}]"), pod, "0s a, at rest", "status.conditions[0].state is dropped: a Pod has no such field; status.phse is dropped: a Pod has no such field"},
		{"all misspelt", fmt.Sprintf(custom, "a", "v1", "Pod", is("Pending"), 0, "[{patch: {subresource: status, root: status, template: 'phse: x'}}]"), pod, "0s a, at rest", "status.phse is dropped: a Pod has no such field"},
		{"wrong subresource", fmt.Sprintf(custom, "a", "v1", "ConfigMap", none, 0, "[{patch: {root: data, subresource: status, template: 'a: c'}}]"), cm, "0s a, at rest", "data is not changed: the patch is of subresource status"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := run(t, load(t, tt.stages), tt.object)
			got := story(rec)
			if rec.End == Endless {
				got = rec.End
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			notes := ""
			for _, tr := range rec.Transitions {
				notes += strings.Join(tr.Notes, "; ")
			}
			if notes != tt.note {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
		})
	}
}

func TestRehearseFails(t *testing.T) {
	rec := run(t, load(t, fmt.Sprintf(custom, "a", "v1", "ConfigMap", "{}", 0, "[{patch: {template: '{{ index .data.x 1 }}'}}]")), `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"w"}}`)
	if rec.End != Failed || !strings.Contains(rec.Error, "spec.steps[0].patch.template") {
		t.Errorf("got %s, %s", rec.End, rec.Error)
	}
	if _, err := (Rehearsal{}).Run([]byte(`{"apiVersion":"v1","kind":"Pod"}`)); err != ErrNoStages {
		t.Errorf("got %v", err)
	}
}

func TestDiff(t *testing.T) {
	tree := func(s string) (m map[string]any) {
		if err := json.Unmarshal([]byte(s), &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	got := diff(tree(`{"a":1,"b":{"c":"x","d":[{"name":"n","v":1},{"name":"o"}]},"e":[1]}`), tree(`{"a":1,"b":{"c":"y","d":[{"name":"n","v":2},{"name":"p","v":""}]},"f":{}}`))
	var lines []string
	for _, c := range got {
		lines = append(lines, c.String())
	}
	want := "b.c: x -> y; b.d[n].v: 1 -> 2; b.d[p]: {}; b.d[o]: removed, was {name: o}; e: removed, was [1]; f: {}"
	if s := strings.Join(lines, "; "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

func TestLint(t *testing.T) {
	objs, errs := api.Scan(strings.NewReader(badStages), "f.yaml")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	var got []string
	for _, s := range api.Of[*api.Stage](objs) {
		for _, m := range Lint(s) {
			field, line := s.Where(m.Field)
			got = append(got, fmt.Sprintf("%d:%d %s: %s", s.Document(), line, field, m.Reason))
		}
	}
	want := strings.Split(strings.TrimSpace(badMistakes), "\n")
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !strings.Contains(got[i], want[i]) {
			t.Fatalf("mistake %d:\ngot\n%s\n\nwant\n%s", i, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestCheck names what keeps Stages from being played. What lint finds besides does not.
func TestCheck(t *testing.T) {
	t.Parallel()
	const one = "kind: Stage\nmetadata: {name: a}\nspec: {resourceRef: {kind: Pod}, selector: {}, delay: {durationMilliseconds: 5, jitterDurationMilliseconds: 2}}\n---\n"
	for _, tt := range []struct{ text, want string }{
		{one, ""},
		{one + strings.Replace(one, "kind: Pod", "kind: Node", 1), ""},
		{one + strings.Replace(one, "name: a", "name: b", 1) + one, `f.yaml: stage a: metadata.name: "a" is a stage at f.yaml:2 already`},
		{strings.Replace(one, "kind: Pod", "apiGroup: v1", 1), "f.yaml: stage a: spec.resourceRef.kind: missing"},
		{strings.Replace(one, ": 5", ": -5", 1), "f.yaml: stage a: spec.delay.durationMilliseconds: -5 is negative"},
		{strings.Replace(one, ": 2", ": -2", 1), "f.yaml: stage a: spec.delay.jitterDurationMilliseconds: -2 is negative"},
		{strings.Replace(one, "delay:", "weight: -1, delay:", 1), "f.yaml: stage a: spec.weight: -1 is negative"},
	} {
		objs, err := api.Load(strings.NewReader(tt.text), "f.yaml")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := Check(api.Of[*api.Stage](objs)); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s\ngot %q\nwant %q", tt.text, got, tt.want)
		}
	}
}

const badStages = `# comment
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: a}
spec:
  resourceRef: {apiGroup: apps, kind: ""}
  selector:
    matchExpressions:
    - jq: {key: ".a[", operator: Exists}
    - jq: {key: .a, operator: Is}
    - cel: {expression: "self."}
    - key: .b
      operator: In
    - {}
  weight: -1
  weightFrom: {}
  delay:
    durationMilliseconds: 2000
    jitterDurationMilliseconds: -1
    durationFrom: {expressionFrom: "["}
  steps:
  - event: {type: Info, reason: two words}
    patch:
      type: yaml
      template: "{{ nope }}"
    apply:
      template: " "
  - finalizers: {add: [{value: x}]}
    delete: true
  - patch: {template: "a: b"}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
spec:
  resourceRef: {kind: Pod}
  delay: {jitterDurationMilliseconds: 5}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: c}
spec:
  resourceRef: {kind: Pod}
  selector: {}
  next:
    event: {type: Normal, reason: Fine}
    statusTemplate: |
      {{ if }}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: good}
spec:
  resourceRef: {kind: Pod}
  selector: {}
  next: {delete: true}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: types}
spec:
  resourceRef: {kind: Pod}
  selector:
    matchExpressions:
    - cel: {expression: self.metadata.name}
    - cel: {expression: self.spec.hostNetwork}
    - cel: {expression: self.spec.enableServiceLinks}
  weightFrom: {cel: {expression: '"3"'}}
  delay: {durationFrom: {cel: {expression: self.metadata.labels}}, jitterDurationFrom: {cel: {expression: 'duration("1s")'}}}
  steps:
  - patch: {subresource: statsu, template: "a: b"}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: lower}
spec: {resourceRef: {kind: pod}, selector: {}, next: {delete: true}}
`

const badMistakes = `
1:6 spec.resourceRef.kind: missing
1:6 spec.resourceRef.apiGroup: want a group and version such as v1 or apps/v1, not "apps"
1:9 spec.selector.matchExpressions[0].jq.key: jq
1:10 spec.selector.matchExpressions[1].jq.operator: "Is" is none of
1:11 spec.selector.matchExpressions[2].cel.expression: cel
1:12 spec.selector.matchExpressions[3].values: In needs at least one
1:14 spec.selector.matchExpressions[4]: want jq or cel
1:15 spec.weight: -1 is negative
1:19 spec.delay.jitterDurationMilliseconds: -1 is negative
1:16 spec.weightFrom: want jq or cel
1:20 spec.delay.durationFrom.expressionFrom: jq
1:19 spec.delay.jitterDurationMilliseconds: -1 is less than the duration, 2000
1:22 spec.steps[0].event.type: "Info" is none of Normal, Warning
1:22 spec.steps[0].event.reason: want a word
1:24 spec.steps[0].patch.type: "yaml" is none of
1:25 spec.steps[0].patch.template: 1: function "nope" not defined
1:27 spec.steps[0].apply.template: missing
1:28 spec.steps[1].finalizers.add[0].value: want domain/name
1:30 spec.steps[2]: is not done
2:32 metadata.name: missing
2:34 spec.selector: missing
2:36 spec.delay.durationMilliseconds: missing
2:34 spec.steps: missing
3:46 spec.next.statusTemplate: 1: missing value for if
5:64 spec.selector.matchExpressions[0].cel.expression: yields string; want bool
5:67 spec.weightFrom.cel.expression: yields string; want int, uint, double, bool, duration
5:68 spec.delay.durationFrom.cel.expression: yields map(string, string); want duration, timestamp,
5:70 spec.steps[0].patch.subresource: "statsu" is none of status
6:75 spec.resourceRef.kind: want a kind as objects have it, such as Pod, not "pod"
`

func TestShippedAreClean(t *testing.T) {
	files, err := filepath.Glob("../../kustomize/stage/*/*/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no stages", err)
	}
	for _, name := range files {
		if filepath.Base(name) == "kustomization.yaml" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range load(t, string(text)) {
			for _, m := range Lint(s) {
				t.Errorf("%s: %s: %s", name, m.Field, m.Reason)
			}
		}
	}
}
