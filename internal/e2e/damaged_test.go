package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// damages are what may happen to kwok.yaml.
var damages = []struct {
	what   string
	damage func(text string) string
}{
	{"empty", func(string) string { return "" }},
	{"cut", func(text string) string { return text[:len(text)/2] }},
	{"cut at a line", func(text string) string { return text[:strings.Index(text, "options:")] }},
	{"garbage", func(string) string { return "\x00\xff\x1b[31m{{{\n\n- :" }},
	{"zeros", func(text string) string { return strings.Repeat("\x00", len(text)) }},
	{"unknown field", func(text string) string {
		return strings.Replace(text, "options:\n", "options:\n  noSuchField: 1\n", 1)
	}},
	{"wrong type", func(text string) string {
		return strings.Replace(text, "options:\n", "options:\n  etcdPort: many\n", 1)
	}},
	{"unknown component", func(text string) string {
		return strings.Replace(text, "options:\n", "options:\n  enable: [no-such-component]\n", 1)
	}},
	{"another kind", func(string) string { return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n" }},
	{"list", func(string) string { return "- 1\n- 2\n" }},
	{"two", func(text string) string { return text + "---\n" + text }},
}

// TestDamagedConfiguration damages kwok.yaml of a stopped cluster in many ways. Nothing may be started or changed, and
// delete works all the same.
func TestDamagedConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("hurt")
	w.ok("stop", "cluster", "--name", "hurt")
	path := filepath.Join(w.cluster("hurt"), "kwok.yaml")
	whole := read(path)
	for _, tt := range damages {
		t.Run(tt.what, func(t *testing.T) {
			w, text := w.in(t), tt.damage(whole)
			if text == whole {
				t.Fatal("no damage")
			}
			write(t, path, text)
			before := tree(w.cluster("hurt"))
			for _, verb := range []string{"create", "start"} {
				w.oneLine(verb, w.run(verb, "cluster", "--name", "hurt", "--wait", "60s"), path, "delete cluster --name hurt")
			}
			for _, args := range [][]string{{"get", "components"}, {"kubectl", "get", "nodes"}, {"stop", "cluster"}} {
				w.oneLine(strings.Join(args, " "), w.run(append([]string{"--name", "hurt"}, args...)...), path)
			}
			if got := w.status("hurt"); got != "Damaged" {
				t.Errorf("status: %q", got)
			}
			if got := differ(before, tree(w.cluster("hurt"))); len(got) > 0 {
				t.Errorf("changed: %q", got)
			}
		})
	}
	write(t, path, whole)
	w.ok("start", "cluster", "--name", "hurt", "--wait", "60s")
	w.ready("hurt")
	for _, tt := range damages[:4] { // and while it runs
		write(t, path, tt.damage(whole))
		w.fails(1, []string{path}, "create", "cluster", "--name", "hurt")
	}
	w.ok("delete", "cluster", "--name", "hurt")
	w.gone("hurt")
}

// TestMissingConfiguration takes kwok.yaml away from a cluster that has data: that is damage too, and not a cluster
// that has yet to be made.
func TestMissingConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("bare")
	w.ok("stop", "cluster", "--name", "bare")
	if err := os.Remove(filepath.Join(w.cluster("bare"), "kwok.yaml")); err != nil {
		t.Fatal(err)
	}
	before := tree(w.cluster("bare"))
	for _, verb := range []string{"create", "start"} {
		w.oneLine(verb, w.run(verb, "cluster", "--name", "bare"), "delete cluster --name bare")
	}
	if got := differ(before, tree(w.cluster("bare"))); len(got) > 0 {
		t.Errorf("changed: %q", got)
	}
	w.ok("delete", "cluster", "--name", "bare")
	w.gone("bare")
}

// TestDamagedState damages the supervisor's state file, on which nothing may depend.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("state")
	path := filepath.Join(w.cluster("state"), "state.json")
	for _, text := range []string{"", "{", "\x00\x01", `{"supervisor": 1}`, `[]`, `{"components": {"etcd": {"process": {"pid": -1}}}}`} {
		write(t, path, text)
		w.ready("state")
		w.ok("stop", "cluster", "--name", "state")
		write(t, path, text)
		if got := w.status("state"); got != "Stopped" {
			t.Errorf("state file %q: status of a stopped cluster: %q", text, got)
		}
		w.ok("start", "cluster", "--name", "state", "--wait", "60s")
		w.ready("state")
	}
	write(t, path, "{")
	w.ok("delete", "cluster", "--name", "state")
	w.gone("state")
}

// TestDamagedParts damages other files of a stopped cluster. Start works, or fails and says why; delete works.
func TestDamagedParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("parts")
	w.ok("stop", "cluster", "--name", "parts")
	for _, name := range []string{"pki/ca.crt", "pki/ca.key", "pki/kube-scheduler.key", "kubeconfig.yaml", "config/kube-scheduler.kubeconfig", "supervisor.lock"} {
		path := filepath.Join(w.cluster("parts"), name)
		whole := read(path)
		write(t, path, "garbage")
		r := w.run("start", "cluster", "--name", "parts", "--wait", "10s")
		if r.code == 0 {
			w.ready("parts")
			w.ok("stop", "cluster", "--name", "parts")
		} else if strings.Contains(r.stderr, "panic") || (r.code != 1 && r.code != 124) || w.status("parts") != "Stopped" {
			t.Errorf("%s damaged: exit status %d, status %q: %s", name, r.code, w.status("parts"), r.stderr)
		}
		t.Logf("%s damaged: exit status %d: %s", name, r.code, r.stderr)
		write(t, path, whole)
	}
	write(t, filepath.Join(w.cluster("parts"), "pki", "ca.crt"), "garbage")
	w.ok("delete", "cluster", "--name", "parts")
	w.gone("parts")
}

// TestForeignDirectory has a directory among the clusters that we did not make.
func TestForeignDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := os.MkdirAll(w.cluster("theirs"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.cluster("theirs"), "thesis.txt"), "ten years of work")
	before := tree(w.cluster("theirs"))
	w.oneLine("create", w.run("create", "cluster", "--name", "theirs"), w.cluster("theirs"))
	w.oneLine("delete", w.run("delete", "cluster", "--name", "theirs"), w.cluster("theirs"))
	w.ok("delete", "cluster", "--all")
	if got := differ(before, tree(w.cluster("theirs"))); len(got) > 0 {
		t.Errorf("changed: %q", got)
	}
	// One that another kwokctl has made looks more like ours.
	write(t, filepath.Join(w.cluster("theirs"), "kwok.yaml"), configHead+"status: {version: 0.7.0}\n")
	before = tree(w.cluster("theirs"))
	for _, args := range [][]string{{"create", "cluster"}, {"start", "cluster"}, {"stop", "cluster"}, {"get", "components"}, {"delete", "cluster"}} {
		w.oneLine(args[0], w.run(append(args, "--name", "theirs")...), w.cluster("theirs"))
	}
	if got := differ(before, tree(w.cluster("theirs"))); len(got) > 0 {
		t.Errorf("changed: %q", got)
	}
	if err := os.RemoveAll(w.cluster("theirs")); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
