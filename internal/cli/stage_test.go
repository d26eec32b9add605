package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// given writes files and returns -f arguments for them.
func given(t *testing.T, texts ...string) (args []string) {
	t.Helper()
	for _, text := range texts {
		name := filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-f", name)
	}
	return args
}

const (
	onePod   = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: a, image: b}]}\n"
	oneStage = `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: slow}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector: {matchExpressions: [{key: .status.phase, operator: In, values: [Pending]}]}
  delay: {durationMilliseconds: 1000, jitterDurationMilliseconds: 9000}
  next: {event: {type: Normal, reason: Slowly, message: here it comes}, statusTemplate: 'phase: Running'}
`
)

func TestStageTest(t *testing.T) {
	run := func(texts []string, more ...string) (int, string, string) {
		return execute(t, append(append([]string{"stage", "test"}, given(t, texts...)...), more...)...)
	}
	status, out, errs := run([]string{onePod})
	if status != 0 || !strings.Contains(out, "pod-ready") || !strings.Contains(out, "status.phase: Pending -> Running") || !strings.Contains(out, "at rest") {
		t.Errorf("built-in: status %d\n%s%s", status, out, errs)
	}
	status, out, errs = run([]string{oneStage, onePod}, "--seed", "7")
	if status != 0 || strings.Contains(out, "pod-ready") || !strings.Contains(out, "event Normal Slowly: here it comes") {
		t.Errorf("own stage: status %d\n%s%s", status, out, errs)
	}
	if _, again, _ := run([]string{oneStage, onePod}, "--seed", "7"); again != out {
		t.Errorf("same seed, other story:\n%s\n%s", out, again)
	}
	if _, other, _ := run([]string{oneStage, onePod}, "--seed", "8"); other == out {
		t.Errorf("another seed, same story:\n%s", out)
	}
	_, out, _ = run([]string{oneStage, onePod}, "--until", "500ms")
	if !strings.Contains(out, "slow is due at") {
		t.Errorf("until:\n%s", out)
	}
	_, out, errs = run([]string{"apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(onePod, "\n", "\n  ") + "\n- {apiVersion: v1, kind: Node, metadata: {name: one}}\n"})
	if !strings.Contains(out, "Pod web") || !strings.Contains(out, "Node one") {
		t.Errorf("list:\n%s%s", out, errs)
	}
	_, out, _ = run([]string{oneStage, onePod}, "-o", "json")
	var records []struct {
		Kind, Name, End string
		Transitions     []struct{ At, Stage string }
	}
	if err := json.Unmarshal([]byte(out), &records); err != nil || records[0].End != "at rest" || records[0].Transitions[0].Stage != "slow" {
		t.Errorf("json: %v\n%s", err, out)
	}
	for _, tt := range []struct {
		texts  []string
		more   string
		status int
		says   string
	}{
		{nil, "", 1, "want files, with -f"},
		{[]string{oneStage}, "", 1, "no object to play on"},
		{[]string{"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"}, "", 1, "play on Secret s: no stages for this kind"},
		{[]string{"kind: Pod\nmetadata: {name: p}\n"}, "", 1, "play on Pod p: apiVersion: missing"},
		{[]string{onePod}, "-o xml", 1, "allowed are table, json, yaml"},
		{[]string{onePod}, "--until -1s", 1, "not negative"},
		{[]string{onePod, "kind: Stage\nspec: {resourceRef: {kind: Pod}, selektor: {}}\n"}, "", 1, "f.yaml:2: spec.selektor: no such field"},
		{[]string{onePod, strings.Replace(oneStage, "phase: Running", "{{ nope }}", 1)}, "", 1, `function "nope" not defined`},
		{[]string{onePod, strings.Replace(oneStage, "kind: Pod", "kind: Node", 1)}, "", 0, "is for kind Pod: the built-in ones play"},
		{[]string{onePod}, "-f /does/not/exist", 1, "read /does/not/exist: no such file or directory"},
	} {
		status, out, errs := run(tt.texts, strings.Fields(tt.more)...)
		if status != tt.status || !strings.Contains(errs, tt.says) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v %s: status %d, want %d and %q\n%s%s", tt.texts, tt.more, status, tt.status, tt.says, out, errs)
		}
	}
}

func TestStageLint(t *testing.T) {
	status, out, errs := execute(t, append([]string{"stage", "lint"}, given(t, oneStage)...)...)
	if status != 0 || out != "" || !strings.Contains(errs, "1 Stage, no mistakes") {
		t.Errorf("good: status %d\n%s%s", status, out, errs)
	}
	bad := oneStage + "---\nkind: Stage\nspek: {}\n---" + strings.Replace(oneStage, "operator: In", "operator: Is", 1)
	args := given(t, bad)
	status, out, errs = execute(t, append([]string{"stage", "lint"}, args...)...)
	want := strings.ReplaceAll(`FILE:12: spek: no such field; did you mean spec? (document 2)
FILE:19: stage "slow": spec.selector.matchExpressions[0].operator: "Is" is none of In, NotIn, Exists, DoesNotExist (document 3)
FILE:16: stage "slow": metadata.name: "slow" is a stage at FILE:4 already (document 3)
`, "FILE", args[1])
	if status != 1 || out != want || !strings.Contains(errs, "3 mistakes in "+args[1]) {
		t.Errorf("bad: status %d\n%s%s\nwant\n%s", status, out, errs, want)
	}
	if status, _, errs := execute(t, append([]string{"stage", "lint"}, given(t, onePod)...)...); status != 1 || !strings.Contains(errs, "no Stage in") {
		t.Errorf("no stage: status %d, %s", status, errs)
	}
}

func TestStageShow(t *testing.T) {
	_, names, _ := execute(t, "stage", "show")
	if !strings.Contains(names, "pod/general\n") {
		t.Fatalf("sets: %s", names)
	}
	for set := range strings.FieldsSeq(names) {
		_, text, _ := execute(t, "stage", "show", set)
		if status, out, errs := execute(t, append([]string{"stage", "lint"}, given(t, text)...)...); status != 0 {
			t.Errorf("%s: %s%s", set, out, errs)
		}
	}
	if status, _, errs := execute(t, "stage", "show", "pod/slow"); status != 1 || !strings.Contains(errs, `no stage set "pod/slow"; there are node/chaos, `) {
		t.Errorf("status %d, %s", status, errs)
	}
}
