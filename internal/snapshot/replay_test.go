package snapshot

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fromUpstream has the form that upstream's tools write: no marks, and changes in about the order of time.
const fromUpstream = `apiVersion: v1
kind: Node
metadata: {name: rack7, uid: u1, creationTimestamp: "$(time-offset-nanosecond -42000000000)"}
---
apiVersion: action.kwok.x-k8s.io/v1alpha1
kind: ResourcePatch
resource: {version: v1, resource: pods}
target: {name: demo-1, namespace: lab}
durationNanosecond: 2750000000
method: patch
template: {status: {phase: Running, startTime: "$(time-offset-nanosecond 2700000000)"}}
---
apiVersion: action.kwok.x-k8s.io/v1alpha1
kind: ResourcePatch
resource: {version: v1, resource: pods}
target: {name: demo-1, namespace: lab}
durationNanosecond: 1500000000
method: create
template: {apiVersion: v1, kind: Pod, metadata: {name: demo-1, namespace: lab}, spec: {nodeName: rack7, containers: [{name: c, image: i}]}}
---
apiVersion: action.kwok.x-k8s.io/v1alpha1
kind: ResourcePatch
resource: {version: v1, resource: pods}
target: {name: demo-2, namespace: lab}
durationNanosecond: 3000000000
method: create
template: {apiVersion: v1, kind: Pod, metadata: {name: demo-2, namespace: lab}, spec: {containers: [{name: c, image: i}]}}
---
apiVersion: action.kwok.x-k8s.io/v1alpha1
kind: ResourcePatch
resource: {version: v1, resource: pods}
target: {name: demo-2, namespace: lab}
durationNanosecond: 9000000000
method: delete
`

// played plays a recording without a server, but for the entries of the lines that are wrong.
func played(t testing.TB, in *Input, kinds *Kinds, start time.Time, wrong map[int]bool) (*world, *script, error) {
	t.Helper()
	s, err := newScript(context.Background(), in, kinds, start, func(line int, err error) error {
		if wrong[line] {
			return nil
		}
		return &LineError{in.Name, line, err}
	})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(kinds, start)
	return w, s, s.each(func(e *entry) error {
		if wrong[e.line] {
			return nil
		}
		_, now, err := w.apply(e)
		if err == nil && now != nil {
			_, err = encode(now)
		}
		return err
	})
}

func TestUpstream(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w, s, err := played(t, input(t, fromUpstream), someKinds(), start, nil)
	if err != nil || s.cut != nil {
		t.Fatal(err, s.cut)
	}
	var node, pod map[string]any
	for key, into := range map[string]*map[string]any{"/minions/rack7": &node, "/pods/lab/demo-1": &pod} {
		if w.kept[key] == nil {
			t.Fatalf("%s is not there", key)
		}
		if err := json.Unmarshal(w.kept[key].text, into); err != nil {
			t.Fatal(err)
		}
	}
	if gone := w.kept["/pods/lab/demo-2"]; gone == nil || gone.text != nil {
		t.Errorf("demo-2: %+v", gone)
	}
	if got := node["metadata"].(map[string]any)["creationTimestamp"]; got != "2026-01-02T03:03:23Z" {
		t.Errorf("node: made at %v", got)
	}
	status := pod["status"].(map[string]any)
	if status["phase"] != "Running" || status["startTime"] != "2026-01-02T03:04:07Z" || pod["spec"].(map[string]any)["nodeName"] != "rack7" {
		t.Errorf("pod: %v", pod)
	}
	if meta := pod["metadata"].(map[string]any); meta["uid"] == "" || meta["creationTimestamp"] != "2026-01-02T03:04:05Z" {
		t.Errorf("pod: %v", meta)
	}
}

// TestChecked holds what CheckRecording says of recordings.
func TestChecked(t *testing.T) {
	const node = "apiVersion: v1\nkind: Node\nmetadata: {name: a}\n"
	change := func(rest string) string {
		return "---\napiVersion: action.kwok.x-k8s.io/v1alpha1\nkind: ResourcePatch\nresource: {version: v1, resource: nodes}\ntarget: {name: a}\n" + rest + "\n---\napiVersion: action.kwok.x-k8s.io/v1alpha1\nkind: ResourcePatch\nresource: {version: v1, resource: nodes}\ntarget: {name: z}\nmethod: delete\n"
	}
	for name, tt := range map[string]struct {
		text   string
		replay Replay
		want   string // of the error
		cut    string
		counts string
	}{
		"whole":         {text: fromUpstream, counts: "1 4"},
		"snapshot only": {text: fromUpstream, replay: Replay{Snapshot: true}, counts: "1 0"},
		"of etcd":       {text: strings.Repeat("\x00", 16) + "\xed\xda\x0c\xed", want: "snapshot restore takes"},
		"nothing":       {text: "# a comment\n", want: "no objects"},
		"scalar":        {text: "hello\n---\n" + node, want: "line 1: not an object"},
		"unknown kind":  {text: node + "---\napiVersion: x.io/v1\nkind: Unicorn\nmetadata: {name: a}\n", want: `Unicorn of "x.io/v1"`},
		"left out":      {text: node + "---\napiVersion: x.io/v1\nkind: Unicorn\nmetadata: {name: a}\n", replay: Replay{IgnoreUnknown: true}, counts: "1 0"},
		"method":        {text: node + change("method: explode"), want: `line 4: method "explode"`},
		"time":          {text: node + change("method: delete\ndurationNanosecond: -5"), want: "-5"},
		"no template":   {text: node + change("method: patch"), want: "template: missing"},
		"not there":     {text: change("method: patch\ntemplate: {spec: {}}"), want: "no such object"},
		"wrong type":    {text: node + change("method: patch\ntemplate: {spec: {taints: 5}}"), want: "patch of nodes a"},
		"name":          {text: "apiVersion: v1\nkind: Node\nmetadata: {name: a/b}\n---\n" + node, want: `"a/b"`},
		"no namespace":  {text: "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n" + node, want: `namespace ""`},
		"namespace":     {text: "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: ..}\n---\n" + node, want: `namespace ".."`},
		"damaged":       {text: node + "---\na: [1\n---\n" + node, want: "line 6"},
		"ignored":       {text: node + "---\na: [1\n---\n" + node, replay: Replay{IgnoreErrors: true}, counts: "2 0"},
		"cut":           {text: node + "---\na: [1\n", counts: "1 0", cut: "missing"},
		"cut field":     {text: fromUpstream + "---\napiVersion: action.kwok.x-k8s.io/v1alpha1\nkind: ResourcePatch\nresource: {vers", counts: "1 4", cut: "missing"},
		"our own, cut":  {text: "# kwokctl snapshot 2026-01-02T03:04:05Z x\n---\n" + node + "---\n" + strings.Replace(node, "a}", "b}", 1), counts: "1 0", cut: "missing"},
		"whole so far":  {text: "# kwokctl snapshot 2026-01-02T03:04:05Z x\n---\n" + node + "---\n" + strings.Replace(node, "a}", "b}", 1) + markWhole, counts: "2 0", cut: "missing"},
		"zipped so far": {text: unfinished(t, "# kwokctl snapshot 2026-01-02T03:04:05Z x\n---\n"+node+"---\n"+strings.Replace(node, "a}", "b}", 1)+markWhole), counts: "2 0", cut: "missing"},
		"all but ends":  {text: "# kwokctl snapshot 2026-01-02T03:04:05Z x\n---\n" + node + "---\n# kwokctl snapshot ends, objects: 1\n", counts: "1 0"},
		"middle gone":   {text: "# kwokctl snapshot 2026-01-02T03:04:05Z x\n---\n" + node + "---\n# kwokctl snapshot ends, objects: 7\n", want: "7 objects"},
		"later defined": {text: widget + "---\n" + definitionOfWidgets, counts: "2 0"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := CheckRecording(context.Background(), input(t, tt.text), someKinds(), tt.replay)
			switch {
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("got %v, want %q", err, tt.want)
			case tt.want != "":
				return
			case err != nil:
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%d %d", r.Objects, r.Changes); got != tt.counts {
				t.Errorf("objects and changes: %s, want %s", got, tt.counts)
			}
			if (r.Cut != nil) != (tt.cut != "") || r.Cut != nil && !strings.Contains(r.Cut.Error(), tt.cut) {
				t.Errorf("cut: %v, want %q", r.Cut, tt.cut)
			}
		})
	}
}

// unfinished is what a recorder that was killed has left of a compressed file.
func unfinished(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const widget = "apiVersion: acme.io/v1\nkind: Widget\nmetadata: {name: w, namespace: lab}\nspec: {size: 1, keep: x}\n"

const definitionOfWidgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.acme.io}
spec:
  group: acme.io
  scope: Namespaced
  names: {plural: widgets, kind: Widget}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`

// FuzzReplay holds that no file makes the replay fall over, or write what the API server could not read.
func FuzzReplay(f *testing.F) {
	f.Add([]byte(fromUpstream))
	f.Add([]byte(recorded(f, someKinds())))
	f.Add([]byte(definitionOfWidgets + "---\n" + widget))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Node, metadata: {name: a}}]\n"))
	f.Add([]byte(strings.ReplaceAll(fromUpstream, "status: {phase", "spec: {containers: [{$patch: delete, name: c}], $retainKeys: [a]}, status: {phase")))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) == 0 {
			return
		}
		kinds := someKinds()
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		in, err := Open(path, nil)
		if err != nil {
			return
		}
		defer in.Close()
		r, err := CheckRecording(context.Background(), in, kinds, Replay{IgnoreErrors: true})
		if err != nil {
			return
		}
		w, _, err := played(t, in, kinds, time.Now(), r.wrong)
		if err != nil {
			t.Fatalf("it was checked, and now: %v", err)
		}
		for key, k := range w.kept {
			if !strings.HasPrefix(key, "/") || strings.Contains(key, "/../") || strings.HasSuffix(key, "/") {
				t.Errorf("key %q", key)
			}
			if k.text == nil {
				continue
			}
			if _, err := decode(k.kind, k.text); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
	})
}
