package controller

import (
	"bytes"
	"strings"
	"testing"
)

// TestWrongFlags tells of mistakes in words of the user, not of Go's parsers.
func TestWrongFlags(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{
		"--node-port=abc":                  `"abc": want a whole number`,
		"--node-lease-duration-seconds=-1": `"-1": want a whole number that is not negative`,
		"--manage-all-nodes=perhaps":       `"perhaps": want true or false`,
		"--no-such-flag":                   "unknown flag: --no-such-flag",
	} {
		var out, errs bytes.Buffer
		if code := Main(t.Context(), []string{arg}, &out, &errs); code != 2 {
			t.Errorf("%s: exit status %d", arg, code)
		}
		if got := errs.String(); !strings.Contains(got, want) || strings.Contains(got, "strconv") || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: %q, want %q", arg, got, want)
		}
	}
}
