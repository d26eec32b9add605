package expr

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestLimits(t *testing.T) {
	base := Base("1", time.Now())
	for _, text := range []string{
		`{{ range until 99999 }}{{ range until 99999 }}{{ end }}{{ end }}`,
		`{{ range until 99999 }}{{ repeat 1000 "x" }}{{ end }}`,
		`{{ repeat 1000000000 "x" }}`, `{{ until 1000000000 }}`, `{{ printf "%1000000000d" 1 }}`,
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
	env, err := NewCELEnv()
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
