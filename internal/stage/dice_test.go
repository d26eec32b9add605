package stage

import (
	"fmt"
	"testing"
)

// A seed repeats the choices for an object, in whatever order objects come.
func TestSeed(t *testing.T) {
	draw := func(seed uint64, order ...string) map[string]string {
		d := NewDice(seed)
		got := map[string]string{}
		for _, name := range order {
			for turn := range uint16(3) {
				r := d.Roll(&Meta{Kind: "Pod", Namespace: "ns", Name: name}, turn)
				got[name] += fmt.Sprint(r.IntN(1000), " ", r.IntN(1000), ";")
			}
		}
		return got
	}
	a, b, c := draw(1, "x", "y"), draw(1, "y", "x"), draw(2, "x", "y")
	if a["x"] != b["x"] || a["y"] != b["y"] {
		t.Errorf("order matters: %v %v", a, b)
	}
	if a["x"] == a["y"] || a["x"] == c["x"] {
		t.Errorf("objects or seeds do not matter: %v %v", a, c)
	}
}
