package expr

import (
	"math/rand/v2"
	"testing"

	"sigs.k8s.io/yaml"
)

// The short way to YAML must write what the way by JSON does.
func TestToYAMLLikeJSON(t *testing.T) {
	leaves := []any{nil, true, 0, int64(-7), 1.5, 1e7, float64(3), "", "a", "a: b", "yes", "~", "null", "012", "0x1", "1e3", "2001-01-01", "12:30", "=", "<<",
		"- a", "a #b", "#", "<&>", "\x00", "\u2028", "\xff", "two\nlines", " a ", "é", "{", "\"", "'", "%", []any(nil), map[string]any(nil), []string{"x"}}
	r := rand.New(rand.NewPCG(7, 7))
	var tree func(depth int) any
	tree = func(depth int) any {
		switch kind := r.IntN(4); {
		case depth == 0 || kind > 1:
			return leaves[r.IntN(len(leaves))]
		case kind == 0:
			list := []any{}
			for range r.IntN(4) {
				list = append(list, tree(depth-1))
			}
			return list
		}
		m := map[string]any{}
		for range r.IntN(4) {
			key, _ := leaves[r.IntN(len(leaves))].(string)
			m[key] = tree(depth - 1)
		}
		return m
	}
	for range 20_000 {
		x := tree(3)
		want, wantErr := yaml.Marshal(x)
		got, err := toYAML(x)
		if got != string(want) || (err == nil) != (wantErr == nil) {
			t.Fatalf("%#v: %q, %v; want %q, %v", x, got, err, want, wantErr)
		}
	}
}
