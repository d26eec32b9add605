package stage

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"

	"kwokctl/internal/api"
	"kwokctl/internal/expr"
	plain "kwokctl/internal/yaml"
)

var update = flag.Bool("update", false, "rewrite the outputs of the fixtures")

// stubs print themselves and their arguments instead of answering.
func stubs() expr.Funcs {
	call := func(name string, args []any) string {
		if len(args) == 0 {
			return "<" + name + ">"
		}
		var list []string
		for _, a := range args {
			list = append(list, fmt.Sprintf("%#v", a))
		}
		return "<" + name + "(" + strings.Join(list, ", ") + ")>"
	}
	f := expr.Base("1.0.0", testNow)
	for _, name := range strings.Fields("NodeIP NodeName NodePort PodIP NodeIPWith PodIPWith Now now Version") {
		f[name] = func(args ...any) string { return call(name, args) }
	}
	f["StorageClass"] = func(any) any { return map[string]any{} }
	for _, name := range strings.Fields("NodeIPsWith PodIPsWith") {
		f[name] = func(args ...any) []any {
			text := strings.TrimPrefix(call(name, args), "<")
			return []any{"<0 of " + text, "<1 of " + text}
		}
	}
	return f
}

func TestShippedStages(t *testing.T) {
	inputs, err := filepath.Glob("../../kustomize/stage/*/*/testdata/*.input.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatal("no fixtures", err)
	}
	for _, in := range inputs {
		t.Run(strings.TrimSuffix(filepath.Base(in), ".input.yaml"), func(t *testing.T) {
			got := fixture(t, in)
			out := strings.Replace(in, ".input.", ".output.", 1)
			if *update {
				if err := os.WriteFile(out, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(out)
			if err != nil || string(got) != string(want) {
				t.Fatalf("%v\ngot:\n%s", err, got)
			}
		})
	}
}

func fixture(t *testing.T, in string) []byte {
	text, err := os.ReadFile(in)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	o, err := Decode(asJSON)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(filepath.Dir(in))
	files, _ := filepath.Glob(filepath.Join(dir, "*.yaml"))
	var stages []*api.Stage
	for _, f := range files {
		if filepath.Base(f) == "kustomization.yaml" {
			continue
		}
		file, err := os.Open(f)
		if err != nil {
			t.Fatal(err)
		}
		objs, err := api.Load(file, f)
		_ = file.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range api.Of[*api.Stage](objs) {
			if s.Spec.ResourceRef == (api.ResourceRef{APIGroup: o.Meta().APIVersion, Kind: o.Meta().Kind}) {
				stages = append(stages, s)
			}
		}
	}
	l, errs := Compile(stages, stubs())
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	described, err := l.Describe(o, testNow)
	if err != nil {
		t.Fatal(err)
	}
	out, err := yaml.Marshal(described)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMatchTypedLikeJSON(t *testing.T) {
	typed := typedPod(t, pendingPod)
	text, _ := json.Marshal(typed.Pod)
	tree, _ := Decode(text)
	for _, key := range []string{".status.phase", ".metadata.name", ".status.podIP", ".metadata.annotations.a", ".status.conditions.[].type",
		".status.conditions.[] | select( .type == \"PodScheduled\" ) | .status", ".spec.containers[].name", ".metadata.deletionTimestamp",
		".metadata.creationTimestamp", ".spec.initContainers[].restartPolicy", ".status.containerStatuses[].ready", ".spec", ".a.b.c", ".metadata.name.x"} {
		fast, ok := newPath(key)
		if !ok {
			t.Fatalf("%s is not a path", key)
		}
		jq, err := expr.NewJQ(key)
		if err != nil {
			t.Fatal(err)
		}
		slow := requirement{jq: jq}
		for _, o := range []Object{typed, tree} {
			var a, b []value
			_ = walk(fast, o, func(v value) bool { a = append(a, v); return true })
			_ = slow.each(o, func(v value) bool { b = append(b, v); return true })
			if !slices.Equal(a, b) {
				t.Errorf("%s on %T: path %v, jq %v", key, o, a, b)
			}
		}
	}
}

func TestMergeLikeServer(t *testing.T) {
	old := typedPod(t, pendingPod).Pod
	for _, patch := range []string{
		`{"status":{"phase":"Running","podIP":"1.2.3.4","podIPs":[{"ip":"1.2.3.4"}]}}`,
		`{"status":{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"},{"type":"PodScheduled","reason":"x"}]}}`,
		`{"status":{"containerStatuses":[{"name":"a","image":"i","ready":true,"restartCount":3,"state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}}}],"initContainerStatuses":null}}`,
		`{"status":{"phase":null,"startTime":"2026-01-01T00:00:00Z"},"metadata":{"labels":{"a":"b"}}}`,
		`{"status":null}`,
	} {
		text, _ := json.Marshal(old)
		merged, err := strategicpatch.StrategicMergePatch(text, []byte(patch), &corev1.Pod{})
		if err != nil {
			t.Fatal(err)
		}
		var want corev1.Pod
		if err := json.Unmarshal(merged, &want); err != nil {
			t.Fatal(err)
		}
		data, err := plain.Parse([]byte(patch))
		if err != nil {
			t.Fatal(err)
		}
		a := &Action{Type: StrategicPatch, Subresource: "status", Data: data}
		if _, err := a.applyPod(old, data.(map[string]any), true); err != nil {
			t.Fatal(err)
		}
		byType := func(a, b corev1.PodCondition) int { return strings.Compare(string(a.Type), string(b.Type)) }
		slices.SortFunc(want.Status.Conditions, byType) // the server's order is of no meaning
		got, ok := a.Put.(*corev1.Pod)
		if !ok {
			continue
		}
		slices.SortFunc(got.Status.Conditions, byType)
		if !equality.Semantic.DeepEqual(got.Status, want.Status) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", patch, got.Status, want.Status)
		}
	}
}

func ms(n int64) *int64 { return &n }

func TestDelay(t *testing.T) {
	for _, tt := range []struct {
		annotations, want string
		jitter            int64
	}{
		{`{}`, "1s 5s", 5000},
		{`{"d":"500ms"}`, "500ms 5s", 5000},
		{`{"d":"10s"}`, "5s 5s", 5000},
		{`{"d":"5s"}`, "1s 1s", 1000},
		{`{"d":"10s","j":"12s"}`, "10s 12s", 5000},
		{`{"d":""}`, "0s 0s", 5000},
		{`{"d":"2006-01-02T15:04:35Z"}`, "5s 5s", 5000},
		{`{"d":"rubbish"}`, "1s 5s", 5000},
	} {
		s := &api.Stage{Spec: api.StageSpec{Selector: &api.Selector{}, Delay: &api.Delay{DurationMilliseconds: ms(1000),
			DurationFrom:               &api.Source{JQ: &api.Expression{Expression: ".metadata.annotations.d"}},
			JitterDurationMilliseconds: ms(tt.jitter),
			JitterDurationFrom:         &api.Source{JQ: &api.Expression{Expression: `.metadata.annotations["j"]`}}}}}
		l, errs := Compile([]*api.Stage{s}, stubs())
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		o, _ := Decode([]byte(`{"metadata":{"annotations":` + tt.annotations + `}}`))
		d, j, err := l.stages[0].delay(o, testNow, &l.hash)
		if got := fmt.Sprint(d, j); err != nil || got != tt.want {
			t.Errorf("%s: got %s, want %s (%v)", tt.annotations, got, tt.want, err)
		}
	}
}

func TestFinalizers(t *testing.T) {
	f := func(names ...string) (l []api.Finalizer) {
		for _, n := range names {
			l = append(l, api.Finalizer{Value: n})
		}
		return l
	}
	for _, tt := range []struct {
		have []string
		f    api.Finalizers
		want string
	}{
		{nil, api.Finalizers{Add: f("a")}, `[{"op":"add","path":"/metadata/finalizers","value":["a"]}]`},
		{[]string{"a"}, api.Finalizers{Add: f("a", "b")}, `[{"op":"add","path":"/metadata/finalizers/-","value":"b"}]`},
		{[]string{"a", "b", "c"}, api.Finalizers{Remove: f("a", "c")}, `[{"op":"remove","path":"/metadata/finalizers/2"},{"op":"remove","path":"/metadata/finalizers/0"}]`},
		{[]string{"a"}, api.Finalizers{Empty: true}, `[{"op":"remove","path":"/metadata/finalizers"}]`},
		{[]string{"a"}, api.Finalizers{Remove: f("a"), Add: f("b")}, `[{"op":"remove","path":"/metadata/finalizers"},{"op":"add","path":"/metadata/finalizers","value":["b"]}]`},
		{nil, api.Finalizers{Empty: true}, `null`},
	} {
		if got, _ := json.Marshal(finalizerOps(tt.have, &tt.f)); string(got) != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestBadStageIsSetAside(t *testing.T) {
	good := &api.Stage{Metadata: api.ObjectMeta{Name: "good"}, Spec: api.StageSpec{Selector: &api.Selector{}}}
	bad := map[string]api.StageSpec{
		"jq":       {Selector: &api.Selector{MatchExpressions: []api.Requirement{{JQ: &api.JQRequirement{Key: ".[", Operator: "Exists"}}}}},
		"operator": {Selector: &api.Selector{MatchExpressions: []api.Requirement{{JQ: &api.JQRequirement{Key: ".a", Operator: "Is"}}}}},
		"cel":      {Selector: &api.Selector{MatchExpressions: []api.Requirement{{CEL: &api.Expression{Expression: "self."}}}}},
		"template": {Selector: &api.Selector{}, Steps: []api.Step{{Patch: &api.Patch{Template: "{{ env \"HOME\" }}"}}}},
		"type":     {Selector: &api.Selector{}, Steps: []api.Step{{Patch: &api.Patch{Type: "x"}}}},
	}
	stages := []*api.Stage{good}
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		stages = append(stages, &api.Stage{Metadata: api.ObjectMeta{Name: name}, Spec: bad[name]})
	}
	l, errs := Compile(stages, stubs())
	if len(errs) != len(bad) || len(l.stages) != 1 {
		t.Fatalf("got %v", errs)
	}
	for _, err := range errs {
		t.Log(err)
	}
	// one that fails only on an object does not stop its neighbour
	fails := &api.Stage{Metadata: api.ObjectMeta{Name: "fails"}, Spec: api.StageSpec{Selector: &api.Selector{
		MatchExpressions: []api.Requirement{{CEL: &api.Expression{Expression: "self.nothing.here == 1"}}}}}}
	l, errs = Compile([]*api.Stage{fails, good}, stubs())
	mv, err := l.Next(typedPod(t, pendingPod), testNow, rnd())
	if len(errs) > 0 || err == nil || mv == nil || mv.Stage != "good" {
		t.Fatalf("got %v %v %v", errs, mv, err)
	}
}

// broken is an object that makes whoever looks at it closely panic.
type broken struct{ Object }

func (broken) Tree() map[string]any { panic("broken") }

// What panics in one stage stops neither the others nor the program.
func TestPanicsAreErrors(t *testing.T) {
	stage := func(name string, spec api.StageSpec) *api.Stage {
		if spec.Selector == nil {
			spec.Selector = &api.Selector{}
		}
		return &api.Stage{Metadata: api.ObjectMeta{Name: name}, Spec: spec}
	}
	program := &api.JQRequirement{Key: "[.a] | .[0]", Operator: "Exists"}
	wait := &api.Source{JQ: &api.Expression{Expression: program.Key}}
	patch := []api.Step{{Patch: &api.Patch{Template: "a: {{ .b }}"}}}
	for what, bad := range map[string]*api.Stage{
		"selector": stage("bad", api.StageSpec{Selector: &api.Selector{MatchExpressions: []api.Requirement{{JQ: program}}}}),
		"weight":   stage("bad", api.StageSpec{WeightFrom: wait}),
		"delay":    stage("bad", api.StageSpec{Weight: 1, Delay: &api.Delay{DurationFrom: wait}}),
		"patch":    stage("bad", api.StageSpec{Weight: 1, Steps: patch}),
	} {
		l, errs := Compile([]*api.Stage{bad, stage("good", api.StageSpec{})}, stubs())
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		o := broken{typedPod(t, pendingPod)}
		mv, err := l.Next(o, testNow, rnd())
		if mv != nil && mv.Stage == "bad" && err == nil {
			_, err = mv.Actions(o, testNow)
		}
		var s *StageError
		if mv == nil || !errors.As(err, &s) || s.Stage != "bad" || !strings.Contains(err.Error(), "panic: broken") {
			t.Errorf("%s: %v, %v", what, mv, err)
		}
	}
}

// Of a pod, a field that is absent is its zero value; of other kinds it is an error.
func TestAbsentFields(t *testing.T) {
	for kind, want := range map[string]bool{"Pod": true, "Widget": false} {
		s := &api.Stage{Metadata: api.ObjectMeta{Name: "absent"}, Spec: api.StageSpec{ResourceRef: api.ResourceRef{APIGroup: "v1", Kind: kind},
			Selector: &api.Selector{MatchExpressions: []api.Requirement{{CEL: &api.Expression{Expression: `self.spec.priorityClassName == ""`}}}}}}
		l, errs := Compile([]*api.Stage{s}, stubs())
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		o := Object(typedPod(t, pendingPod))
		if kind != "Pod" {
			o = NewTree(o.Tree())
		}
		if mv, err := l.Next(o, testNow, rnd()); (mv != nil) != want || (err == nil) != want {
			t.Errorf("%s: %v, %v", kind, mv, err)
		}
	}
}

func FuzzStage(f *testing.F) {
	f.Add(".status.phase", "{{ .a }}", "self.a == 1")
	f.Add(".a[] | select(.b == \"c\") | .d", "{{ range .a }}{{ . | Quote }}{{ end }}", "true")
	f.Add("..", "{{ range until 100000 }}{{ end }}", "self.all(x, x == x)")
	f.Add("[range(1e9)]", "a: {{ repeat 10 \"x\" }}", "[1,2,3].map(x, x * x)")
	f.Fuzz(func(t *testing.T, jq, template, cel string) {
		s := &api.Stage{Spec: api.StageSpec{Selector: &api.Selector{MatchExpressions: []api.Requirement{
			{JQ: &api.JQRequirement{Key: jq, Operator: "Exists"}}, {CEL: &api.Expression{Expression: cel}}}},
			Steps: []api.Step{{Patch: &api.Patch{Root: "status", Template: template}}}}}
		l, errs := Compile([]*api.Stage{s}, stubs())
		if len(errs) > 0 {
			return
		}
		o := typedPod(t, pendingPod)
		if mv, _ := l.Next(o, testNow, rnd()); mv != nil {
			_, _ = mv.Actions(o, testNow)
		}
		_, _ = l.Move(0).Actions(o, testNow)
	})
}
