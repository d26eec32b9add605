package runtimes

import (
	"slices"
	"strings"
	"testing"
)

// Programs print all their flags about a wrong one; among them nobody finds what was wrong.
func TestTail(t *testing.T) {
	for name, tail := range map[string][]string{
		"at the end": {
			"      --v Level                    number for the log level verbosity",
			"      --vmodule pattern=N,...      comma-separated list of settings",
			"                                   for file-filtered logging", "",
			"Global flags:", "", "  -h, --help   help for kube-scheduler", "Error: unknown flag: --foo",
		},
		"before":     {"Error: unknown flag: --foo", "Usage flags:", "  --name 'default'"},
		"alone":      {"Error: unknown flag: --foo"},
		"go's own":   {"Error: unknown flag: --foo", "  -zap-encoder value", "    	Zap log encoding (one of 'json' or 'console')"},
		"with words": {"", "Error: unknown flag: --foo"},
	} {
		if got := Tail(strings.Join(tail, "\n")); !slices.Equal(got, []string{"Error: unknown flag: --foo"}) {
			t.Errorf("%s: %q", name, got)
		}
	}
	// What is no help stays, flags in it or not.
	tail := []string{"flag --foo is deprecated", "  panic: x", "goroutine 1 [running]:", "\tmain.go:3 --a"}
	if got := Tail(strings.Join(tail, "\n") + "\n"); !slices.Equal(got, tail) {
		t.Errorf("got %q of %q", got, tail)
	}
	many := strings.Repeat("line\n", 30) + strings.Repeat("      --flag   what it is for\n", 500)
	if got := Tail(many); len(got) != 20 || got[19] != "line" {
		t.Errorf("%d lines, %q", len(got), got)
	}
}
