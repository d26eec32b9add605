package runtimes

import (
	"strings"
	"testing"
)

// Programs print all their flags about a wrong one; among them nobody finds what was wrong.
func TestExitErrorLeavesOutHelp(t *testing.T) {
	for name, tail := range map[string][]string{
		"at the end": {
			"      --v Level                    number for the log level verbosity",
			"      --vmodule pattern=N,...      comma-separated list of settings",
			"                                   for file-filtered logging", "",
			"Global flags:", "", "  -h, --help   help for kube-scheduler", "Error: unknown flag: --foo",
		},
		"before":     {"Error: unknown flag: --foo", "Usage flags:", "  --name 'default'"},
		"alone":      {"Error: unknown flag: --foo"},
		"with words": {"", "Error: unknown flag: --foo"},
	} {
		text := (&ExitError{Component: "kube-scheduler", Reason: "exit status 1", Log: "/x.log", Tail: tail}).Error()
		if want := "start kube-scheduler: exit status 1; log: /x.log\n    Error: unknown flag: --foo"; text != want {
			t.Errorf("%s: %s", name, text)
		}
	}
	// What is no help stays, flags in it or not.
	tail := []string{"flag --foo is deprecated", "  panic: x", "goroutine 1 [running]:", "\tmain.go:3 --a"}
	text := (&ExitError{Tail: tail}).Error()
	for _, line := range tail {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing in %s", line, text)
		}
	}
}
