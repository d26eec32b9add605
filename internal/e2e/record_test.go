package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// recorder begins a recording and returns when the objects are in the file.
func (w *world) recorder(args ...string) *running {
	w.t.Helper()
	said := filepath.Join(w.t.TempDir(), "said")
	cmd := w.command(context.Background(), args...)
	out, err := os.Create(said)
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close()
	r := &running{w: w, cmd: cmd, began: time.Now()}
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	w.eventually(time.Minute, "the recording begins", func() bool { return strings.Contains(read(said), "every change from now on") })
	return r
}

// end interrupts a recording, which must end well.
func (r *running) end() {
	r.w.t.Helper()
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		r.w.t.Fatal(err)
	}
	if res := r.wait(); res.code != 0 {
		r.w.t.Fatalf("record: exit status %d: %s", res.code, res.stderr)
	}
}

// recordable is what a replay brings back of the objects that a test makes: all but times and revisions.
func (w *world) recordable(name string) map[string]any {
	w.t.Helper()
	var list struct{ Items []map[string]any }
	text := w.kubectl(name, "get", "nodes,pods,deployments,replicasets,services,configmaps,widgets", "-A", "-o", "json")
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		w.t.Fatal(err)
	}
	all := map[string]any{}
	for _, o := range list.Items {
		meta := o["metadata"].(map[string]any)
		id := fmt.Sprint(o["kind"], meta["namespace"], meta["name"])
		if strings.Contains(id, "kube-root-ca.crt") || strings.Contains(id, "kube-system") || id == "Servicedefaultkubernetes" {
			continue // each API server has its own
		}
		all[id] = timeless(o)
	}
	return all
}

// timeless is v without times and what comes from the writing itself.
func timeless(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for key, item := range v {
			if key != "resourceVersion" && key != "managedFields" {
				m[key] = timeless(item)
			}
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = timeless(item)
		}
		return list
	case string:
		if _, err := time.Parse(time.RFC3339, v); err == nil {
			return "a time"
		}
	}
	return v
}

// happen makes a history: things are made, changed and deleted, a custom kind among them.
func (w *world) happen(name string) {
	w.t.Helper()
	w.define(name, "widgets.acme.io", "Widget")
	w.ok("scale", "node", "--replicas", "3", "--name", name)
	w.kubectl(name, "create", "deployment", "web", "--image", "nginx", "--replicas", "4")
	w.kubectl(name, "wait", "deployment", "web", "--for", "condition=Available", "--timeout", "60s")
	w.apply(name, "apiVersion: acme.io/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 1, parts: [a, b]}\n")
	w.kubectl(name, "patch", "widget", "w", "--type", "merge", "-p", `{"spec":{"size":2,"parts":["b"]}}`)
	w.kubectl(name, "create", "configmap", "gone", "--from-literal=a=b")
	w.kubectl(name, "delete", "configmap", "gone")
	w.apply(name, "apiVersion: v1\nkind: Service\nmetadata: {name: dns}\nspec: {selector: {app: web}, ports: [{name: u, port: 53, protocol: UDP}]}\n")
	w.kubectl(name, "patch", "service", "dns", "--type", "json", "-p", `[{"op":"add","path":"/spec/ports/-","value":{"name":"t","port":53,"protocol":"TCP"}}]`)
	w.kubectl(name, "scale", "deployment", "web", "--replicas", "2")
	w.kubectl(name, "label", "node", "node-000001", "zone=a")
	w.eventually(time.Minute, "two pods run and no more are there", func() bool {
		return strings.Count(w.kubectl(name, "get", "pods", "--no-headers"), "Running") == 2 &&
			w.kubectl(name, "get", "deployment", "web", "-o", "jsonpath={.status.replicas}{.status.readyReplicas}{.status.terminatingReplicas}") == "220"
	})
}

// clean deletes what happen made.
func (w *world) clean(name string) {
	w.t.Helper()
	w.kubectl(name, "delete", "crd,deployments", "--all", "--wait=true")
	w.kubectl(name, "delete", "service", "dns")
	w.eventually(time.Minute, "all pods are gone", func() bool { return w.kubectl(name, "get", "pods", "-o", "name") == "" })
	w.kubectl(name, "delete", "nodes", "--all", "--wait=true") // before, nobody but a collector would end their pods, after a minute
}

// TestReplay records a history, deletes everything and plays it: all is as it was, UIDs included. It does so in the
// cluster that was recorded and in another one, from the file as it is and compressed on standard input, by each of the
// commands.
func TestReplay(t *testing.T) { inProcessesAndContainers(t, testReplay) }

func testReplay(t *testing.T, w *world) {
	w.create("r")
	path, zipped := filepath.Join(w.home, "run.yaml"), filepath.Join(w.home, "run.yaml.gz")
	first := w.recorder("snapshot", "record", "--name", "r", "--path", path)
	second := w.recorder("snapshot", "export", "--record", "--kubeconfig", filepath.Join(w.cluster("r"), "kubeconfig.yaml"), "--path", zipped)
	w.happen("r")
	if text := read(path); !strings.Contains(text, "method: patch") {
		t.Error("changes are not written at once")
	}
	before := w.recordable("r")
	first.end()
	second.end()
	if text := read(path); !strings.Contains(text, "# kwokctl snapshot ends, objects: ") || strings.Contains(text, "creationTimestamp: \"20") {
		t.Errorf("the file has no end mark, or absolute times: %s", text[max(0, len(text)-300):])
	}

	w.clean("r")
	r := w.run("snapshot", "replay", "--name", "r", "--path", path, "--speed", "20")
	if r.code != 0 || !strings.Contains(r.stderr, "as the recording ends") {
		t.Fatalf("replay: exit status %d: %s", r.code, r.stderr)
	}
	w.sameState("r", before, w.recordable("r"))
	w.ready("r")
	w.eventually(time.Minute, "the controllers work on", func() bool {
		w.kubectl("r", "scale", "deployment", "web", "--replicas", "3")
		return strings.Count(w.kubectl("r", "get", "pods", "--no-headers"), "Running") == 3
	})

	w.create("other")
	in, err := os.Open(zipped)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	fromInput := w.command(context.Background(), "snapshot", "replay", "--name", "other", "--path", "-", "--speed", "0")
	fromInput.Stdin = in
	if out := w.finish(fromInput); out.code != 0 {
		t.Fatalf("replay of the export: exit status %d: %s", out.code, out.stderr)
	}
	after := w.recordable("other")
	for id, node := range after { // a simulation says so of its nodes
		if strings.HasPrefix(id, "Node") && before[id] != nil {
			if fmt.Sprint(node.(map[string]any)["metadata"].(map[string]any)["annotations"]) == "" {
				t.Errorf("%s has no annotation", id)
			}
			delete(before, id)
			delete(after, id)
		}
	}
	w.sameState("other", before, after)
}

// sameState fails the test unless two states are equal.
func (w *world) sameState(name string, want, got map[string]any) {
	w.t.Helper()
	for id := range want {
		a, _ := json.Marshal(want[id])
		b, _ := json.Marshal(got[id])
		if !bytes.Equal(a, b) {
			w.t.Errorf("cluster %s: %s differs:\n%s\n%s", name, id, a, b)
		}
	}
	for id := range got {
		if want[id] == nil {
			w.t.Errorf("cluster %s: %s is there and was not", name, id)
		}
	}
}

// TestReplayOfDamage plays files that are cut or damaged. What was cut is played up to there; what is damaged is
// refused, and nothing is touched.
func TestReplayOfDamage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("kwok")
	const made = "\n  kind: Node\n" // what creates a node has it
	path := filepath.Join(w.home, "run.yaml.gz")
	rec := w.recorder("snapshot", "record", "--path", path)
	w.ok("scale", "node", "--replicas", "20")
	w.eventually(time.Minute, "the changes are in the file", func() bool {
		text := unzip(t, path)
		return strings.Count(text, made) == 20 && strings.HasSuffix(text, "# whole up to here\n")
	})
	w.kill(rec.cmd.Process.Pid)
	rec.wait()
	w.kubectl("kwok", "delete", "nodes", "--all")

	pids := w.pids("kwok")
	text := unzip(t, path) // what a recorder that was killed has left
	head, tail, _ := strings.Cut(text, "kind: ResourcePatch")
	half := text[:nth(text, made, 10)]
	change := strings.LastIndex(head, "---\n")
	for name, tt := range map[string]struct{ text, says string }{
		"empty.yaml":   {"", "it is empty"},
		"syntax.yaml":  {strings.Replace(text, "method: create", "method: [create", 1), "line "},
		"method.yaml":  {strings.Replace(text, "method: create", "method: explode", 1), `"explode"`},
		"unknown.yaml": {text + "\n---\napiVersion: acme.io/v1\nkind: Widget\nmetadata: {name: a, namespace: b}\n---\n" + tail, "Widget"},
		"type.yaml":    {head[:change] + badNode + head[change:] + "kind: ResourcePatch" + tail, "create of nodes bad"},
		"bomb.yaml":    {inputs["bomb.yaml"], "bomb.yaml"},
		"binary.yaml":  {inputs["binary.yaml"], "binary.yaml"},
		"middle.yaml":  {half + "\n---\n# kwokctl snapshot ends, objects: 100000\n", "100000"},
	} {
		write(t, filepath.Join(w.home, name), tt.text)
		r := w.run("snapshot", "replay", "--path", name, "--speed", "0")
		w.oneLine(name, r, tt.says)
	}
	if err := os.Mkdir(filepath.Join(w.home, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(w.home, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, words := range map[string]string{
		"--path|directory": "directory", "--path|fifo": "pipe", "--path|missing": "missing", "": "--path", "--path|-": "standard input",
		"--path|run.yaml.gz|--speed|-1": "-1", "--path|run.yaml.gz|--speed|x": `"x"`, "--path|run.yaml.gz|--name|nobody": `"nobody"`,
	} {
		r := w.run(append([]string{"snapshot", "replay"}, strings.FieldsFunc(args, func(c rune) bool { return c == '|' })...)...)
		w.oneLine("replay "+args, r, words)
	}
	for args, words := range map[string]string{"": "--path", "--path|run.yaml.gz": "exists", "--path|x|unicorns": "unicorns", "--path|no/such/dir": "no/such"} {
		r := w.run(append([]string{"snapshot", "record"}, strings.FieldsFunc(args, func(c rune) bool { return c == '|' })...)...)
		w.oneLine("record "+args, r, words)
	}
	if now := w.pids("kwok"); fmt.Sprint(now) != fmt.Sprint(pids) {
		t.Errorf("components were restarted for files that are refused: %v, %v", pids, now)
	}
	if nodes := w.kubectl("kwok", "get", "nodes", "-o", "name"); nodes != "" {
		t.Errorf("refused files made %s", nodes)
	}

	write(t, filepath.Join(w.home, "half.yaml"), half)
	r := w.run("snapshot", "replay", "--path", "half.yaml", "--speed", "0")
	if r.code != 0 || !strings.Contains(r.stderr, "not whole") {
		t.Errorf("a part of a recording: exit status %d: %s", r.code, r.stderr)
	}
	if n := strings.Count(w.kubectl("kwok", "get", "nodes", "-o", "name"), "\n"); n == 0 || n >= 20 {
		t.Errorf("a part of a recording made %d nodes of 20", n)
	}
	if r := w.run("snapshot", "replay", "--path", path, "--speed", "0"); r.code != 0 || !strings.Contains(r.stderr, "not whole") {
		t.Errorf("what a killed recorder has left: exit status %d: %s", r.code, r.stderr)
	}
	if n := strings.Count(w.kubectl("kwok", "get", "nodes", "-o", "name"), "\n"); n != 20 {
		t.Errorf("what a killed recorder has left made %d nodes of 20", n)
	}

	slow := w.begin(w.command(context.Background(), "snapshot", "replay", "--path", path, "--speed", "0.0001"))
	w.eventually(time.Minute, "the components are held", func() bool { return w.pids("kwok")["kube-scheduler"] == 0 })
	if err := slow.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if r := slow.wait(); r.code != 130 {
		t.Errorf("an interrupted replay: exit status %d: %s", r.code, r.stderr)
	}
	w.ready("kwok")
}

// nth is where a word occurs for the nth time.
func nth(text, word string, n int) int {
	at := 0
	for range n {
		at += strings.Index(text[at:], word) + len(word)
	}
	return at
}

// badNode is a change that would leave what the API server cannot read.
const badNode = `---
apiVersion: action.kwok.x-k8s.io/v1alpha1
kind: ResourcePatch
resource: {version: v1, resource: nodes}
target: {name: bad}
method: create
template: {apiVersion: v1, kind: Node, metadata: {name: bad}, spec: 5}
`

// unzip is the text of a compressed file, as far as there is one.
func unzip(t *testing.T, path string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(read(path)))
	if err != nil {
		return ""
	}
	text, _ := io.ReadAll(z) // the end is missing while it is written
	return string(text)
}
