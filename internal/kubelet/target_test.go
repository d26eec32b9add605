package kubelet

import (
	"path/filepath"
	"strings"
	"testing"

	"kwokctl/internal/api"
)

func TestTargets(t *testing.T) {
	t.Parallel()
	objs, err := api.Load(strings.NewReader(`
kind: ClusterLogs
metadata: {name: some}
spec:
  selector: {matchNamespaces: [a, b], matchNames: [p]}
  logs: [{containers: [x], logsFile: some-x}]
---
kind: Logs
metadata: {name: own, namespace: a}
spec:
  logs: [{logsFile: own-first}, {logsFile: own-second}, {containers: [x, w], logsFile: own-xy}]
---
kind: Logs
metadata: {name: own, namespace: a}
spec: {logs: [{logsFile: twice}]}
---
kind: Logs
metadata: {name: bare}
spec: {logs: [{containers: [x], logsFile: bare-x}]}
---
kind: ClusterLogs
metadata: {name: rest}
spec: {logs: [{containers: [z], logsFile: rest-z}, {logsFile: rest}]}
`), "objects")
	if err != nil {
		t.Fatal(err)
	}
	targets := NewTargets(api.Of[*api.Logs](objs),
		func(l *api.Logs) (*api.PodSelector, []api.LogsRule) { return l.Spec.Selector, l.Spec.Logs },
		func(r *api.LogsRule) []string { return r.Containers })
	for _, c := range []struct{ pod, container, want string }{
		{"a/own", "w", "own-xy"},    // it names the container, though others stand before it
		{"a/own", "z", "own-first"}, // the first without names
		{"default/bare", "x", "bare-x"},
		{"default/bare", "z", ""}, // the pod has an object of its own: no other is asked
		{"a/p", "x", "some-x"},
		{"a/p", "z", "rest-z"}, // the first object that takes the pod has no rule for it
		{"c/p", "x", "rest"},
		{"b/q", "x", "rest"},
	} {
		namespace, pod, _ := strings.Cut(c.pod, "/")
		got := ""
		if r := targets.Find(namespace, pod, c.container); r != nil {
			got = filepath.Base(r.LogsFile)
		}
		if got != c.want {
			t.Errorf("%s %s: %q, want %q", c.pod, c.container, got, c.want)
		}
	}
}
