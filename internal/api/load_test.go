package api

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestLoad(t *testing.T) {
	for _, tt := range []struct{ name, in, err string }{
		{"empty", "---\n# nothing\n---\n", ""},
		{"unknown field", "# c\n---\nkind: Stage\nmetadata: {name: a}\nspec:\n  resourceRef: {kind: Pod}\n  selektor: {}\n",
			"f.yaml:7: spec.selektor: no such field"},
		{"wrong type", "kind: Stage\nspec:\n  resourceRef: {kind: Pod}\n  weight: heavy\n", "f.yaml:4: spec.weight: want a whole number, not string"},
		{"infinite", "kind: KwokctlConfiguration\noptions:\n  heartbeatFactor: .inf\n", "f.yaml:3: want a number that is finite, not +Inf"},
		{"deep unknown", "kind: Stage\nspec:\n  steps:\n  - patch:\n      tmplate: x\n", "f.yaml:5: spec.steps[0].patch.tmplate: no such field"},
		{"twice", "kind: Stage\nkind: Stage\n", `f.yaml:2: key "kind" already set in map`},
		{"bad yaml", "---\nkind: Stage\n\n---\na: [\n", "f.yaml:"},
		{"no kind", "a: b\n", "f.yaml:1: kind: missing"},
		{"not an object", "- a\n", "f.yaml:1: not an object"},
		{"typo in kind", "apiVersion: kwok.x-k8s.io/v1alpha1\nkind: Stag\n", `f.yaml:2: kind: no kind "Stag"`},
		{"foreign", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(strings.NewReader(tt.in), "f.yaml")
			if tt.err == "" && err != nil {
				t.Fatal(err)
			}
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("got %v, want %q", err, tt.err)
			}
		})
	}
}

func TestNormalise(t *testing.T) {
	objs, err := Load(strings.NewReader(`
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: old}
spec:
  resourceRef: {kind: Pod}
  selector:
    matchExpressions: [{key: .a, operator: In, values: [b]}]
  weightFrom: {expressionFrom: .w}
  delay: {durationFrom: {expressionFrom: .d}}
  next:
    delete: true
    event: {type: Normal}
    finalizers: {empty: true}
    statusTemplate: x
    statusPatchAs: {username: bob}
`), "f")
	if err != nil {
		t.Fatal(err)
	}
	s := Of[*Stage](objs)[0].Spec
	if s.ResourceRef.APIGroup != "v1" || s.Selector.MatchExpressions[0].JQ.Key != ".a" || s.WeightFrom.JQ.Expression != ".w" ||
		s.Delay.DurationFrom.JQ.Expression != ".d" || s.Next != nil {
		t.Fatalf("not normalised: %+v", s)
	}
	if len(s.Steps) != 4 || s.Steps[0].Event == nil || s.Steps[1].Finalizers == nil || !s.Steps[3].Delete {
		t.Fatalf("steps: %+v", s.Steps)
	}
	if p := s.Steps[2].Patch; p.Root != "status" || p.Subresource != "status" || p.Impersonation.Username != "bob" {
		t.Fatalf("patch: %+v", p)
	}
	var out bytes.Buffer
	if err := Save(&out, objs...); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(&out, "saved"); err != nil {
		t.Fatal(err)
	}
}

func TestDefaultsPerField(t *testing.T) {
	objs, err := Load(strings.NewReader(`
kind: KwokConfiguration
options: {manageAllNodes: true, enablePodsOnNodeSyncListPager: false}
---
kind: KwokConfiguration
options: {cidr: 10.1.0.0/16}
`), "f")
	if err != nil {
		t.Fatal(err)
	}
	c, err := MergeKwok(Of[*KwokConfiguration](objs))
	if err != nil {
		t.Fatal(err)
	}
	o := c.Options
	if !o.ManageAllNodes || o.CIDR != "10.1.0.0/16" || o.PodPlayStageParallelism != 4 || !o.EnableDebuggingHandlers || o.EnablePodsOnNodeSyncListPager {
		t.Fatalf("got %+v", o)
	}
}

func TestAliasBomb(t *testing.T) {
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := '1'; i <= '9'; i++ {
		bomb += "a" + string(i) + ": &a" + string(i) + " [" + strings.Repeat("*a"+string(i-1)+",", 10) + "]\n"
	}
	began := time.Now()
	if _, err := Load(strings.NewReader("kind: Stage\n"+bomb), "bomb"); err == nil {
		t.Fatal("loaded")
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Fatalf("took %v", d)
	}
	if _, err := Load(strings.NewReader(strings.Repeat("#", maxInput+1)), "big"); err == nil {
		t.Fatal("loaded a file that is too large")
	}
}

func FuzzLoad(f *testing.F) {
	for _, s := range []string{"", "{}{}", "---\n--- {a: b}\n", "kind: Stage\nspec: {next: {}}\n", "kind: KwokConfiguration\noptions: []\n", "\xef\xbb\xbf{\"kind\":\"Stage\"}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		objs, err := Load(strings.NewReader(s), "fuzz")
		if err == nil {
			_ = Save(&bytes.Buffer{}, objs...)
		}
	})
}
