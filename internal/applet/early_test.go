package applet

import (
	"testing"

	"kwokctl/internal/applet/early"
)

// TestEarly fails when the order in which packages are initialised has changed: then all starts are dear again.
func TestEarly(t *testing.T) {
	t.Parallel()
	if !early.InTime() {
		t.Error("kubectl's translations were asked for before package early was initialised")
	}
}
