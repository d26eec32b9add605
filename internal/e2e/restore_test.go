package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRestoreStopped restores into a cluster that is stopped, and stays so.
func TestRestoreStopped(t *testing.T) { inProcessesAndContainers(t, testRestoreStopped) }

func testRestoreStopped(t *testing.T, w *world) {
	w.create("idle")
	w.kubectl("idle", "create", "configmap", "kept")
	db, yaml := filepath.Join(w.home, "s.db"), filepath.Join(w.home, "s.yaml")
	w.ok("snapshot", "save", "--name", "idle", "--path", db)
	w.ok("snapshot", "save", "--name", "idle", "--path", yaml, "--format", "k8s", "--filter", "cm", "-n", "default")
	for _, path := range []string{db, yaml} {
		w.kubectl("idle", "delete", "configmap", "kept")
		w.kubectl("idle", "create", "configmap", "late")
		w.ok("stop", "cluster", "--name", "idle")
		w.ok("snapshot", "restore", "--name", "idle", "--path", path)
		if got := w.status("idle"); got != "Stopped" {
			t.Errorf("after a restore into a stopped cluster it is %s", got)
		}
		w.fails(1, []string{"start cluster --name idle"}, "snapshot", "save", "--name", "idle", "--path", path+"2")
		w.ok("start", "cluster", "--name", "idle", "--wait", "60s")
		left := w.kubectl("idle", "get", "configmaps", "-o", "name")
		if late := strings.Contains(left, "late"); !strings.Contains(left, "kept") || late != (path == yaml) {
			t.Errorf("restored from %s: %s", path, left)
		}
		w.kubectl("idle", "delete", "configmap", "late", "--ignore-not-found")
		if extra, _ := filepath.Glob(filepath.Join(w.cluster("idle"), "*.prev")); len(extra) > 0 {
			t.Errorf("left: %q", extra)
		}
	}
	if w.runtime != "" {
		return // there the data are in a volume, see TestRestoreIntoFreshVolume
	}
	// Data that were lost come back from a snapshot.
	w.ok("stop", "cluster", "--name", "idle")
	write(t, filepath.Join(w.cluster("idle"), "etcd", "member", "snap", "db"), "garbage")
	w.fails(1, []string{"snapshot restore --name idle"}, "start", "cluster", "--name", "idle")
	for _, part := range []string{"", "member/wal", "member/snap/db"} {
		if err := os.RemoveAll(filepath.Join(w.cluster("idle"), "etcd", part)); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"start", "cluster"}, {"create", "cluster"}, {"snapshot", "restore", "--path", yaml}} {
			w.fails(1, []string{"lost its data", "snapshot restore --name idle"}, append(args, "--name", "idle")...)
		}
		w.ok("snapshot", "restore", "--name", "idle", "--path", db)
		w.ok("start", "cluster", "--name", "idle", "--wait", "60s")
		w.kubectl("idle", "get", "configmap", "kept")
		w.ok("stop", "cluster", "--name", "idle")
	}
}

// TestRestoreWhileWatched restores while clients hold resource versions: those are refused, and newer ones are newer.
func TestRestoreWhileWatched(t *testing.T) { inProcessesAndContainers(t, testRestoreWhileWatched) }

func testRestoreWhileWatched(t *testing.T, w *world) {
	w.create("seen")
	db := filepath.Join(w.home, "s.db")
	w.ok("snapshot", "save", "--name", "seen", "--path", db)
	w.kubectl("seen", "create", "configmap", "late")
	version := func() (v uint64) {
		var list struct {
			Metadata struct {
				ResourceVersion uint64 `json:",string"`
			}
		}
		if err := json.Unmarshal([]byte(w.kubectl("seen", "get", "--raw", "/api/v1/namespaces/default/configmaps")), &list); err != nil {
			t.Fatal(err)
		}
		return list.Metadata.ResourceVersion
	}
	before := version()
	for range 2 {
		w.ok("snapshot", "restore", "--name", "seen", "--path", db)
		after := version()
		if after <= before {
			t.Errorf("resource version %d after a restore, %d before", after, before)
		}
		client := w.visitor("seen", "ca", "admin")
		_, body, err := call(client, http.MethodGet, fmt.Sprintf("%s/api/v1/configmaps?watch=1&timeoutSeconds=1&resourceVersion=%d", w.server("seen"), before), "")
		if err != nil || !strings.Contains(body, `"code":410`) {
			t.Errorf("a watch from before the restore goes on: %.300s %v", body, err)
		}
		before = after
	}
	if got := w.kubectl("seen", "get", "configmap", "late", "--ignore-not-found"); got != "" {
		t.Errorf("an object of after the snapshot is there: %s", got)
	}
}

// TestRestoreRefuses gives restore files that are no good. Nothing is stopped, and nothing changes.
func TestRestoreRefuses(t *testing.T) { inProcessesAndContainers(t, testRestoreRefuses) }

func testRestoreRefuses(t *testing.T, w *world) {
	w.create("firm")
	w.eventually(time.Minute, "the controllers have made their ConfigMaps", func() bool {
		return strings.Count(w.kubectl("firm", "get", "configmaps", "-A"), "kube-root-ca.crt") == 4 // one for each namespace
	})
	dir := t.TempDir()
	db, yaml := filepath.Join(dir, "s.db"), filepath.Join(dir, "s.yaml")
	w.ok("snapshot", "save", "--name", "firm", "--path", db)
	w.ok("snapshot", "save", "--name", "firm", "--path", yaml, "--format", "k8s")
	good, text := read(db), read(yaml)
	flipped := []byte(good)
	flipped[len(good)/2] ^= 4
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	object := func(kind, name, rest string) string {
		return fmt.Sprintf("---\n{apiVersion: v1, kind: %s, metadata: {name: %q, namespace: default, uid: u-%s%s}}\n", kind, name, name, rest)
	}
	owned := func(by string) string {
		return ", ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: x, uid: u-" + by + "}]"
	}
	middle := strings.Index(text[len(text)/2:], "\n---\n") + len(text)/2
	for _, tt := range []struct{ name, content, want string }{
		{"empty.db", "", "it is empty"},
		{"cut.db", good[:len(good)*2/3], "its hash does not fit"},
		{"head.db", good[:4096], "its hash does not fit"},
		{"flip.db", string(flipped), "its hash does not fit"},
		{"bare.db", good[:len(good)-32], "--skip-hash-check"},
		{"cut.yaml", text[:len(text)/2], "a part of the file is missing"},
		{"hole.yaml", text[:len(text)/3] + text[middle+1:], ""},
		{"middle.yaml", text[:middle] + "\n---\na: [}\nb: c\n" + text[middle:], fmt.Sprintf("line %d: ", strings.Count(text[:middle], "\n")+3)},
		{"cut.yaml.gz", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "cut.yaml.gz"},
		{"zip.db", "\x1f\x8b\x00", "decompress"},
		{"binary", "\x7fELF\x02\x01\x01\x00\x00", "line 1: "},
		{"words.txt", "ten years of work\n", "line 1: not an object"},
		{"bomb.yaml", inputs["bomb.yaml"], "excessive aliasing"},
		{"long.yaml", "a: " + strings.Repeat("x", 17<<20), "larger than 16 MiB"},
		{"unknown.yaml", "apiVersion: example.com/v1\nkind: Nothing\nmetadata: {name: a}\n", "Nothing of example.com/v1, which the API server does not have, from line 1"},
		{"cycle.yaml", object("ConfigMap", "a", owned("b")) + object("ConfigMap", "b", owned("c")) + object("ConfigMap", "c", owned("a")), "owns itself"},
		{"self.yaml", object("ConfigMap", "a", owned("a")), "owns itself"},
		{"twice.yaml", object("ConfigMap", "a", "") + object("ConfigMap", "a", ""), "in line 1 already"},
		{"type.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, uid: u}\ndata: [1]\n", "line 1: configmap default/a: "},
		{"path.yaml", object("ConfigMap", "../../x", ""), "may not contain '/'"},
		{"cluster.yaml", object("Node", "n", ""), "has no namespace"},
		{"none.yaml", "# nothing\n", "no objects"},
	} {
		write(t, filepath.Join(dir, tt.name), tt.content)
		w.refused(filepath.Join(dir, tt.name), tt.want)
	}
	for path, want := range map[string]string{dir: "it is a directory", fifo: "it is a pipe", "/dev/zero": "it is a device", filepath.Join(dir, "none"): "no such file"} {
		w.refused(path, want)
	}
	w.fails(1, []string{"not of the k8s format"}, "snapshot", "restore", "--name", "firm", "--path", db, "--format", "k8s")
	w.fails(1, []string{"--format k8s"}, "snapshot", "restore", "--name", "firm", "--path", db, "--filter", "pod")
	w.fails(1, []string{"--path is missing"}, "snapshot", "restore", "--name", "firm")
	w.fails(1, []string{"allowed are etcd, k8s"}, "snapshot", "save", "--name", "firm", "--path", "x", "--format", "tar")
	w.fails(1, []string{`filter "nonsense"`}, "snapshot", "save", "--name", "firm", "--path", filepath.Join(dir, "x"), "--format", "k8s", "--filter", "nonsense")
	w.fails(1, []string{"its hash does not fit"}, "create", "cluster", "--name", "fresh", "--from", filepath.Join(dir, "flip.db"))
	w.fails(1, []string{"Nothing"}, "create", "cluster", "--name", "fresh", "--from", filepath.Join(dir, "unknown.yaml"))
	w.gone("fresh")
	// What may be left out is, when it is asked for.
	write(t, filepath.Join(dir, "both.yaml"), "apiVersion: example.com/v1\nkind: Nothing\nmetadata: {name: a}\n---\na: [\n"+object("ConfigMap", "good", ""))
	w.ok("snapshot", "restore", "--name", "firm", "--path", filepath.Join(dir, "both.yaml"), "--ignore-unknown", "--ignore-errors")
	w.kubectl("firm", "get", "configmap", "good")
	w.ok("snapshot", "restore", "--name", "firm", "--path", filepath.Join(dir, "bare.db"), "--skip-hash-check")
}

// refused restores from a file that must be refused, while nothing is stopped or changed.
func (w *world) refused(path, want string) {
	w.t.Helper()
	pids := func() (all []string) {
		for name, c := range w.components("firm") {
			all = append(all, fmt.Sprint(name, " ", c.PID))
		}
		slices.Sort(all)
		return all
	}
	ran, before := pids(), w.kubectl("firm", "get", "configmaps,nodes", "-A", "-o", "yaml")
	r := w.run("snapshot", "restore", "--name", "firm", "--path", path)
	if r.code != 1 || !strings.HasPrefix(r.stderr, "kwokctl: ") || !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, "panic") {
		w.t.Errorf("%s: exit status %d, want %q: %.500s", filepath.Base(path), r.code, want, r.stderr)
	}
	if r.took > 10*time.Second {
		w.t.Errorf("%s: refused after %s", filepath.Base(path), r.took)
	}
	if after := pids(); !slices.Equal(after, ran) {
		w.t.Errorf("%s: components were restarted: %q %q", filepath.Base(path), ran, after)
	}
	if w.kubectl("firm", "get", "configmaps,nodes", "-A", "-o", "yaml") != before {
		w.t.Errorf("%s: objects were changed", filepath.Base(path))
	}
	if _, err := os.Lstat(filepath.Join(w.cluster("firm"), "restore")); err == nil {
		w.t.Errorf("%s: files are left", filepath.Base(path))
	}
}
