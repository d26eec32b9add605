package yaml

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	yaml2 "go.yaml.in/yaml/v2"
	"sigs.k8s.io/yaml"
)

func FuzzPlainYAML(f *testing.F) {
	for _, s := range []string{
		"a: b\nc:\n- d: 1\n  e: \"x y\"\n-  f\n- - g\n  - h\n-\n  i: j\nk:\n  l: ''\n  m: ~\n  n: null\no: yes\np: 0x1f\nq: 1e3\n",
		"conditions:\n# comment\n- lastProbeTime: null\n  status: \"True\"\n  type: Ready\npodIP: 10.0.0.1\nhostIP: fd00::1\nstartTime: 2026-11-21T10:08:05.99Z\nn: 012\nm: -5\n",
		"a:\n  - b\n  - c: d\ne: []\nf: {}\n", "- a\n- b: c\n  d:\n  - e\n", "a: b: c", "a: b #c", "a: |\n  x", "a:\n b: 1\n  c: 2", "a: {b: c}",
		"a: \"\\n\\\"\"", "a: 'it''s'", "a:\n-\n- b", "a:\n\n  b: c\n d: e", "yes: a", "? a", "a: - b", "a:\n  b\n  c", "a: .5", "a: +1", "a: 1_000", "a: 1.2.3.4",
		"a: 2001-01-01", "- \n  a: b", "a: 12:30:45", "-a: b", "a-b.c/d: e", "a: x:y", "a: 190:20", "a: =", "a: <<", "a: \"", "a: '", "-  - a\n   - b", "\"a\": b\n\"yes\": c", "\"a\" : b", "\"a\":b", "- \"a\": b\n  c: d", "a:\n - b\n - c",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) { likeYAML(t, text) })
}

// likeYAML checks that what is taken is read as the general reader does, and reports whether it was taken.
func likeYAML(t *testing.T, text []byte) bool {
	t.Helper()
	got, ok := readPlain(text)
	if !ok {
		return false
	}
	var v any
	if err := yaml2.Unmarshal(text, &v); err != nil {
		t.Fatalf("%q: taken as %#v, but %v", text, got, err)
	}
	if want := plain(v); !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: got %#v, want %#v", text, got, want)
	}
	same, err := ToJSON(text)
	want, wantErr := yaml.YAMLToJSONStrict(text)
	if err != nil || wantErr != nil || !bytes.Equal(same, want) {
		t.Fatalf("%q: in JSON %s, %v; want %s, %v", text, same, err, want, wantErr)
	}
	return true
}

func TestPlainYAMLLikeYAML(t *testing.T) {
	parts := []string{"a", "b", "key", "x-y/z", ":", ": ", ":\n", "- ", "-", "\n", "\n", "\n  ", "\n  ", "\n    ", "\n- ", "\n  - ", " ", "1", "0", "-7",
		"2026-11-21T10:08:05Z", "2026-11-21T10:08:05.123456789Z", "2026-11-21T10:08:05+01:00", "10.0.0.1", "1.5", "1e3", "\"q: r\"", "\"k\"", "\"no\": ", "\"\\n\"", "'s'", "''", "#", " # c", "yes", "null", "~", "[]", "{}", "&a", "*a", "!t", "|",
		">", "{", "]", ",", "?", "=", "<<", "%", "@", "`", ".", "..", "_", "+", "0x1f", "012", "1_0", "12:30", "true", "no", "---", "..."}
	r := rand.New(rand.NewPCG(7, 7))
	taken := 0
	for range 100_000 {
		text := []byte("a" + strings.Repeat(": ", r.IntN(2)))
		for range 1 + r.IntN(12) {
			text = append(text, parts[r.IntN(len(parts))]...)
		}
		if likeYAML(t, text) {
			taken++
		}
	}
	if taken < 1000 {
		t.Errorf("only %d texts were of use", taken)
	}
}

// A document of levels alone must not use up the stack.
func TestDeep(t *testing.T) {
	for _, text := range []string{strings.Repeat("- ", 1<<20) + "a", strings.Repeat("a:\n- ", 1<<10) + "a"} {
		if v, err := ToJSON([]byte(text)); err == nil && len(v) > 1<<14 {
			t.Errorf("%.20q…: %d bytes of JSON", text, len(v))
		}
	}
	deep := ""
	for i := range 2 * mostDeep {
		deep += strings.Repeat(" ", i) + "a:\n"
	}
	if _, ok := readPlain([]byte(deep)); ok {
		t.Errorf("%d levels are taken", 2*mostDeep)
	}
}

// What the shipped stages print most must be read the fast way.
func TestPlainYAMLTakes(t *testing.T) {
	for _, s := range []string{
		"phase: Running\nstartTime: \"2026-11-21T10:08:05.993463072Z\"\nconditions:\n- type: Ready\n  status: \"True\"\npodIPs:\n- ip: 10.0.0.7\n",
		"a:\n  b:\n  - c: 1\n    d: true\n",
		"\"cpu\": \"32\"\n\"nvidia.com/gpu\": 8\n",
	} {
		if _, ok := readPlain([]byte(s)); !ok {
			t.Errorf("%s: left to the general reader", s)
		}
	}
}
