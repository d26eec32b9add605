package api

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPaths makes the paths in objects absolute, so that they mean the same to the controller.
func TestPaths(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	objs, err := Load(strings.NewReader(`
kind: ClusterLogs
spec: {logs: [{logsFile: ./a.log, previousLogsFile: ~/b.log}]}
---
kind: Attach
spec: {attaches: [{logsFile: /c.log}, {}]}
---
kind: Exec
spec: {execs: [{local: {workDir: d}}, {}]}
`), "objects")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objs {
		for _, p := range o.(interface{ paths() []*string }).paths() {
			got = append(got, *p)
		}
	}
	want := []string{filepath.Join(here, "a.log"), filepath.Join(home, "b.log"), "/c.log", "", filepath.Join(here, "d")}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("paths %q, want %q", got, want)
	}
}
