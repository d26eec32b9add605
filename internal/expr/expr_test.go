package expr

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestLimits(t *testing.T) {
	base := Base("1", time.Now())
	for _, text := range []string{
		`{{ range until 99999 }}{{ range until 99999 }}{{ end }}{{ end }}`,
		`{{ range until 99999 }}{{ repeat 1000 "x" }}{{ end }}`,
		`{{ repeat 1000000000 "x" }}`, `{{ until 1000000000 }}`, `{{ printf "%1000000000d" 1 }}`, `{{ printf "%.99999f" 1.0 }}`, `{{ printf "%*d" 1000000000 1 }}`, `{{ printf "%[1]*d" 1000000000 }}`,
		`{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`,
	} {
		tmpl, err := NewTemplate(text, base)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := tmpl.Render(nil); err == nil || time.Since(began) > 3*time.Second {
			t.Errorf("%s: %v after %v", text, err, time.Since(began))
		}
	}
	for text, want := range map[string]string{
		`{{ printf "https://%s:10250" "a" }}`: "https://a:10250", `{{ printf "a*%03d%% of 12345*" 7 }}`: "a*007% of 12345*",
	} {
		tmpl, err := NewTemplate(text, base)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tmpl.Render(nil); err != nil || got != want {
			t.Errorf("%s: got %q, %v", text, got, err)
		}
	}
	for _, program := range []string{`[range(1e12)]`, `def f: f; f`} {
		jq, err := NewJQ(program)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jq.Run(nil); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", program, err)
		}
	}
}

func TestHermetic(t *testing.T) {
	for _, name := range forbidden {
		if _, err := NewTemplate("{{ "+name+" }}", Base("1", time.Now())); err == nil || !strings.Contains(err.Error(), "not defined") {
			t.Errorf("%s: %v", name, err)
		}
	}
	jq, err := NewJQ("env | length")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := jq.Run(nil); err != nil || !reflect.DeepEqual(out, []any{0}) {
		t.Errorf("environment seen: %v %v", out, err)
	}
}

func TestRender(t *testing.T) {
	for _, tt := range []struct {
		text string
		want any
	}{
		{"", nil},
		{` {"a": 1} `, map[string]any{"a": int64(1)}},
		{"a: {{ .s | Quote }}\nb: [1, 1.5, yes, ~]", map[string]any{"a": "x\"y", "b": []any{int64(1), 1.5, true, nil}}},
		{"{{ .m | YAML }}", map[string]any{"k": "v"}},
		{"a:{{ YAML .m 1 }}", map[string]any{"a": map[string]any{"k": "v"}}},
		{"t: 2006-01-02T15:04:05Z", map[string]any{"t": "2006-01-02T15:04:05Z"}},
		{`{{ if eq .missing "x" }}a{{ else }}b{{ end }}`, "b"},
		{"v: {{ Version }}", map[string]any{"v": "v1"}},
	} {
		tmpl, err := NewTemplate(tt.text, Base("v1", time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := tmpl.Render(map[string]any{"s": `x"y`, "m": map[string]any{"k": "v"}})
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %#v, want %#v (%v)", tt.text, got, tt.want, err)
		}
	}
}

func TestCEL(t *testing.T) {
	env, err := NewCELEnv(nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := env.Compile(`self.a == 1 && self.b.startsWith("x")`)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.Eval(map[string]any{"a": int64(1), "b": "xy"}); err != nil || v != true {
		t.Errorf("got %v, %v", v, err)
	}
	c, err = env.Compile(`self.l.all(a, self.l.all(b, self.l.all(c, self.l.all(d, a + b + c + d >= 0))))`)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]any, 300)
	for i := range list {
		list[i] = int64(i)
	}
	if _, err := c.Eval(map[string]any{"l": list}); !errors.Is(err, ErrLimit) {
		t.Errorf("got %v, want a broken limit", err)
	}
}

// Pods and nodes are structs to expressions: what is absent is zero, and times are times.
func TestTypedCEL(t *testing.T) {
	env, err := NewCELEnv((*corev1.Pod)(nil))
	if err != nil {
		t.Fatal(err)
	}
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 7, Labels: map[string]string{"app": "web", "wait": "3s"}, CreationTimestamp: metav1.NewTime(made)},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", Resources: corev1.ResourceRequirements{
			Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")}}}}},
		Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	for text, want := range map[string]any{
		`self.status.phase == "" && self.spec.nodeName == "" && !self.spec.hostNetwork`:                              true,
		`has(self.metadata.deletionTimestamp) || has(self.status.phase)`:                                             false,
		`self.metadata.deletionTimestamp == null && self.spec.terminationGracePeriodSeconds == null`:                 true,
		`self.status.conditions.exists(c, c.type == "Ready" && c.status == "True")`:                                  true,
		`self.spec.containers[0].securityContext.runAsUser == null && self.spec.securityContext.sysctls.size() == 0`: true,
		`self.metadata.ownerReferences.size() + self.status.containerStatuses.size()`:                                int64(0),
		`self.metadata.generation`: int64(7),
		`self.metadata.creationTimestamp + duration(self.metadata.labels["wait"])`:        made.Add(3 * time.Second),
		`timestamp(self.metadata.creationTimestamp) == timestamp("2026-01-02T03:04:05Z")`: true,
		`self.spec.containers.all(c, c.resources.limits["cpu"] > Quantity("1"))`:          true,
		`double(self.spec.containers[0].resources.limits["cpu"])`:                         1.5,
		`string(self.spec.containers[0].resources.limits["cpu"])`:                         "1500m",
		`"app" in self.metadata.labels && !("x" in self.metadata.annotations)`:            true,
		`self.metadata.annotations["x"]`:                                                  errors.New("no such key"),
		`self.spec.nothing`:                                                               errors.New("undefined field 'nothing'"),
	} {
		c, err := env.Compile(text)
		var got any
		if err == nil {
			got, err = c.Eval(pod)
		}
		if fails, ok := want.(error); ok {
			if err == nil || !strings.Contains(err.Error(), fails.Error()) {
				t.Errorf("%s: %v, want %v", text, err, fails)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v (%v), want %#v", text, got, err, want)
		}
	}
}
