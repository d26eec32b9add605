package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shops is a kind of our own.
const shops = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: shops.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: shops, singular: shop, kind: Shop, listKind: ShopList}
  versions:
  - {name: v1, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

// estate is something of everything: custom kinds, owners, status, texts that YAML has trouble with.
const estate = `
apiVersion: v1
kind: Namespace
metadata: {name: town, labels: {size: small}}
---
apiVersion: example.com/v1
kind: Shop
metadata: {name: corner, namespace: town, finalizers: [example.com/keep]}
spec: {open: "yes", text: "a\n b\n", number: 1.5, none: null, list: [[1], {}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: odd, namespace: town}
data: {a: "---\n# kwokctl snapshot ends, objects: 1\n", b: "\u0085\u2028 x", c: "no", d: "  lead\n\n"}
binaryData: {z: AAEC/w==}
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: town}
stringData: {password: hunter2}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: town, labels: {app: web}}
spec: {replicas: 5, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: nginx:1, ports: [{containerPort: 80}]}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: town}
spec: {serviceName: db, replicas: 2, selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: db}]}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: town}
spec: {selector: {matchLabels: {app: agent}}, template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: c, image: agent}]}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: town}
spec: {schedule: "0 3 1 1 *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: job}]}}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: town}
spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: c, image: job}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: town}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: town}
spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: town}
spec: {podSelector: {}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: town}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: town}
spec: {maxReplicas: 5, minReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /tmp}, claimRef: {namespace: town, name: disk}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk, namespace: town}
spec: {volumeName: disk, storageClassName: "", accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: old, namespace: town}
spec: {replicas: 1, selector: {app: old}, template: {metadata: {labels: {app: old}}, spec: {containers: [{name: c, image: old}]}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: town}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: vip}
value: 1000
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast}
provisioner: example.com/none
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: quota, namespace: town}
spec: {hard: {pods: "100"}}
`

// furnish makes the estate in a cluster and waits until nothing of it changes any more.
func (w *world) furnish(name string) map[string]string {
	w.t.Helper()
	w.ok("scale", "node", "--replicas", "3", "--name", name)
	w.apply(name, shops)
	w.kubectl(name, "wait", "--for=condition=Established", "crd/shops.example.com", "--timeout=30s")
	w.apply(name, estate)
	uid := w.kubectl(name, "get", "shop", "corner", "-n", "town", "-o", "jsonpath={.metadata.uid}")
	w.apply(name, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: owned, namespace: town, ownerReferences: [{apiVersion: example.com/v1, kind: Shop, name: corner, uid: %s}]}}`, uid))
	for _, what := range []string{"deployment/web", "statefulset/db", "daemonset/agent"} {
		w.kubectl(name, "rollout", "status", what, "-n", "town", "--timeout=60s")
	}
	w.kubectl(name, "wait", "--for=jsonpath={.status.phase}=Bound", "pvc/disk", "-n", "town", "--timeout=60s")
	last := w.state(name)
	w.eventually(60*time.Second, "the objects are at rest", func() bool {
		time.Sleep(2 * time.Second)
		before := last
		last = w.state(name)
		return len(differ(before, last)) == 0
	})
	return last
}

// state is every object of a cluster as text, but for events and leases.
func (w *world) state(name string) map[string]string {
	w.t.Helper()
	var kinds []string
	for _, kind := range strings.Fields(w.kubectl(name, "api-resources", "--verbs=list,create", "-o", "name")) {
		if !strings.HasPrefix(kind, "events") && !strings.HasPrefix(kind, "leases") {
			kinds = append(kinds, kind)
		}
	}
	var list struct{ Items []map[string]any }
	if err := json.Unmarshal([]byte(w.kubectl(name, "get", strings.Join(kinds, ","), "-A", "-o", "json")), &list); err != nil {
		w.t.Fatal(err)
	}
	all := map[string]string{}
	for _, o := range list.Items {
		meta := o["metadata"].(map[string]any)
		id := fmt.Sprint(o["kind"], " ", meta["namespace"], "/", meta["name"])
		if meta["name"] == "kube-root-ca.crt" || meta["name"] == "extension-apiserver-authentication" {
			delete(o, "data") // certificates are each cluster's own
			delete(meta, "resourceVersion")
		}
		text, _ := json.MarshalIndent(o, "", " ")
		all[id] = string(text)
	}
	return all
}

// unversioned takes the resource versions out of what state returned.
func unversioned(all map[string]string) map[string]string {
	without := map[string]string{}
	for id, text := range all {
		var lines []string
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, `  "resourceVersion":`) {
				lines = append(lines, line)
			}
		}
		without[id] = strings.Join(lines, "")
	}
	return without
}

func (w *world) same(what string, want, got map[string]string) {
	w.t.Helper()
	for _, id := range differ(want, got) {
		w.t.Errorf("%s: %s differs:\n%s", what, id, firstDifference(want[id], got[id]))
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return "- " + x[i] + "\n+ " + y[i]
		}
	}
	return fmt.Sprintf("- %.200s\n+ %.200s", a, b)
}

// TestSnapshotRoundTrip saves a cluster with something of everything, deletes it, and makes it anew from either file.
func TestSnapshotRoundTrip(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("first")
	want := w.furnish("first")
	db, yaml, zipped := filepath.Join(w.home, "s.db"), filepath.Join(w.home, "s.yaml"), filepath.Join(w.home, "s.yaml.gz")
	w.ok("snapshot", "save", "--name", "first", "--path", db)
	w.ok("snapshot", "save", "--name", "first", "--format", "k8s", "--path", yaml)
	w.ok("snapshot", "save", "--name", "first", "--format", "k8s", "--path", zipped)
	w.fails(1, []string{db, "exists"}, "snapshot", "save", "--name", "first", "--path", db)
	w.ok("delete", "cluster", "--name", "first")

	w.ok("create", "cluster", "--name", "exact", "--from", db, "--wait", "60s")
	w.same("etcd", want, w.state("exact"))
	w.ready("exact")
	w.fails(1, []string{"exists"}, "create", "cluster", "--name", "exact", "--from", db)
	w.ok("delete", "cluster", "--name", "exact")

	cmd := w.command(t.Context(), "create", "cluster", "--name", "moved", "--from", "-", "--wait", "60s")
	in, err := os.Open(zipped)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd.Stdin = in
	if r := w.finish(cmd); r.code != 0 {
		t.Fatalf("create from standard input: %s", r.stderr)
	}
	w.same("k8s", unversioned(want), unversioned(w.state("moved")))
	w.ready("moved")
	// It goes on living: controllers and nodes act on what was restored.
	w.kubectl("moved", "scale", "deployment/web", "-n", "town", "--replicas=8")
	w.kubectl("moved", "rollout", "status", "deployment/web", "-n", "town", "--timeout=60s")
	w.kubectl("moved", "delete", "deployment/web", "-n", "town", "--cascade=foreground", "--timeout=60s")

	w.ok("snapshot", "restore", "--name", "moved", "--path", yaml, "--filter", "deployment,rs.apps", "-n", "town")
	w.kubectl("moved", "rollout", "status", "deployment/web", "-n", "town", "--timeout=60s")
	w.kubectl("moved", "delete", "pods", "--all", "-n", "town", "--wait=false")
	w.ok("snapshot", "restore", "--name", "moved", "--path", yaml, "--filter", "pod", "-l", "app=web")
}

// TestRestoreStopped restores into a cluster that is stopped, and stays so.
func TestRestoreStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
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
func TestRestoreWhileWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
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

// TestRestoreKilled kills restores at random moments. Whenever that is, the state is the old or the new one whole.
func TestRestoreKilled(t *testing.T) {
	t.Parallel()
	const objects = 200
	kills := 8
	if *soak > 0 {
		kills = 50
	}
	w := newWorld(t)
	w.create("torn")
	fill := func(text string) {
		var b strings.Builder
		for i := range objects {
			fmt.Fprintf(&b, "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: c%d}, data: {state: %q}}\n", i, text)
		}
		w.apply("torn", b.String())
	}
	db, yaml := filepath.Join(w.home, "s.db"), filepath.Join(w.home, "s.yaml")
	fill("new")
	w.ok("snapshot", "save", "--name", "torn", "--path", db)
	w.ok("snapshot", "save", "--name", "torn", "--path", yaml, "--format", "k8s")
	takes := map[string]time.Duration{}
	for _, path := range []string{db, yaml} {
		r := w.run("snapshot", "restore", "--name", "torn", "--path", path)
		if r.code != 0 {
			t.Fatalf("restore from %s: %s", path, r.stderr)
		}
		takes[path] = r.took
	}
	fill("old")
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	seen := map[string]int{}
	for i := range kills {
		path := []string{db, yaml}[i%2]
		r := w.begin(w.command(t.Context(), "snapshot", "restore", "--name", "torn", "--path", path))
		delay := time.Duration(random.Int64N(int64(takes[path])))
		time.Sleep(delay)
		_ = r.cmd.Process.Signal(syscall.SIGKILL)
		code := r.wait().code
		w.ok("start", "cluster", "--name", "torn", "--wait", "60s")
		w.ready("torn")
		got := strings.Fields(w.kubectl("torn", "get", "configmaps", "-o", `jsonpath={range .items[*]}{.data.state}{" "}{end}`))
		count := map[string]int{}
		for _, text := range got {
			count[text]++
		}
		t.Logf("%s killed after %s (exit status %d): %v", filepath.Base(path), delay, code, count)
		if count["old"]+count["new"] != objects || count["old"] != 0 && count["new"] != 0 {
			t.Errorf("%s killed after %s: neither old nor new: %v", filepath.Base(path), delay, count)
		}
		if code == 0 && count["new"] != objects {
			t.Errorf("%s: a restore that ended well did not restore: %v", filepath.Base(path), count)
		}
		for _, left := range []string{"restore", "etcd.prev"} {
			if _, err := os.Lstat(filepath.Join(w.cluster("torn"), left)); err == nil {
				t.Errorf("%s killed after %s: %s is left", filepath.Base(path), delay, left)
			}
		}
		seen[got[0]]++
		if count["old"] == 0 {
			fill("old")
		}
	}
	t.Logf("states: %v", seen)
}

// TestRestoreInterrupted ends restores by a signal and by a time limit: all is as before, and running.
func TestRestoreInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("calm")
	w.kubectl("calm", "create", "configmap", "kept")
	db, yaml := filepath.Join(w.home, "s.db"), filepath.Join(w.home, "s.yaml")
	w.ok("snapshot", "save", "--name", "calm", "--path", db)
	w.ok("snapshot", "save", "--name", "calm", "--path", yaml, "--format", "k8s")
	w.kubectl("calm", "create", "configmap", "late")
	for i, path := range []string{db, yaml, db, yaml} {
		r := w.begin(w.command(t.Context(), "snapshot", "restore", "--name", "calm", "--path", path))
		time.Sleep(time.Duration(100+200*i) * time.Millisecond)
		_ = r.cmd.Process.Signal(os.Interrupt)
		res := r.wait()
		if res.code == -1 { // it had not yet begun to listen for signals
			res.code = 130
		}
		if res.code != 130 && res.code != 0 {
			t.Errorf("interrupted: exit status %d: %s", res.code, res.stderr)
		}
		t.Logf("%s after %d ms: exit status %d: %s", filepath.Base(path), 100+200*i, res.code, res.stderr)
		w.ready("calm")
		late := w.kubectl("calm", "get", "configmap", "late", "--ignore-not-found") != ""
		if res.code == 130 && !late {
			t.Errorf("a restore from %s that was interrupted has changed the state: %s", path, res.stderr)
		}
		if !late {
			w.kubectl("calm", "create", "configmap", "late")
		}
	}
	w.fails(124, []string{"restore cluster: not done within 300ms"}, "snapshot", "restore", "--name", "calm", "--path", db, "--timeout", "300ms")
	w.ready("calm")
	w.kubectl("calm", "get", "configmap", "late")
}

// TestRestoreRefuses gives restore files that are no good. Nothing is stopped, and nothing changes.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("firm")
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
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'l'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.Repeat("*"+string(c-1)+",", 9))
	}
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
		{"bomb.yaml", bomb, "excessive aliasing"},
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
	w.fails(2, []string{"--format k8s"}, "snapshot", "restore", "--name", "firm", "--path", db, "--filter", "pod")
	w.fails(2, []string{"--path is missing"}, "snapshot", "restore", "--name", "firm")
	w.fails(2, []string{"allowed are etcd, k8s"}, "snapshot", "save", "--name", "firm", "--path", "x", "--format", "tar")
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
	pids, before := w.pids("firm"), w.kubectl("firm", "get", "configmaps,nodes", "-A", "-o", "yaml")
	r := w.run("snapshot", "restore", "--name", "firm", "--path", path)
	if r.code != 1 || !strings.HasPrefix(r.stderr, "kwokctl: ") || !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, "panic") {
		w.t.Errorf("%s: exit status %d, want %q: %.500s", filepath.Base(path), r.code, want, r.stderr)
	}
	if r.took > 10*time.Second {
		w.t.Errorf("%s: refused after %s", filepath.Base(path), r.took)
	}
	if after := w.pids("firm"); fmt.Sprint(after) != fmt.Sprint(pids) {
		w.t.Errorf("%s: components were restarted: %v %v", filepath.Base(path), pids, after)
	}
	if w.kubectl("firm", "get", "configmaps,nodes", "-A", "-o", "yaml") != before {
		w.t.Errorf("%s: objects were changed", filepath.Base(path))
	}
	if _, err := os.Lstat(filepath.Join(w.cluster("firm"), "restore")); err == nil {
		w.t.Errorf("%s: files are left", filepath.Base(path))
	}
}

// TestExport exports a cluster as a user who may read some of it, and simulates it in another.
func TestExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("real")
	w.furnish("real")
	w.kubectl("real", "taint", "node", "node-000000", "dedicated=db:NoSchedule")
	w.kubectl("real", "annotate", "node", "--all", "kwok.x-k8s.io/node-")
	w.apply("real", `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: some}
rules: [{apiGroups: ["", apps], resources: [nodes, pods, namespaces, deployments, replicasets], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: some}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: some}
subjects: [{kind: User, name: ann}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: far}
webhooks: [{name: far.example.com, sideEffects: None, admissionReviewVersions: [v1], failurePolicy: Fail, clientConfig: {url: "https://127.0.0.1:1/"}, rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [endpoints]}]}]
`)
	some, full := filepath.Join(w.home, "some.yaml"), filepath.Join(w.home, "full.yaml")
	config := filepath.Join(w.cluster("real"), "kubeconfig.yaml")
	r := w.run("snapshot", "export", "--kubeconfig", config, "--as", "ann", "--path", some)
	if r.code != 0 || !strings.Contains(r.stderr, "secrets: forbidden") {
		t.Errorf("export of some: exit status %d: %s", r.code, r.stderr)
	}
	if text := read(some); strings.Contains(text, "kind: Secret") || !strings.Contains(text, "kind: Pod\n") {
		t.Error("an export of some has too much or too little")
	}
	w.ok("snapshot", "export", "--kubeconfig", config, "--path", full, "--page-size", "2")
	if text := read(full); strings.Contains(text, "aHVudGVyMg==") || strings.Contains(text, "hunter2") || !strings.Contains(text, "password: cmVwbGFjZWQ=") {
		t.Error("the data of a Secret are in the export")
	}
	pods := strings.Fields(w.kubectl("real", "get", "pods", "-A", "-o", "name"))
	w.ok("delete", "cluster", "--name", "real")
	for i, path := range []string{some, full} {
		name := fmt.Sprintf("copy%d", i)
		w.ok("create", "cluster", "--name", name, "--from", path, "--wait", "60s", "--components", strings.Join(slices.DeleteFunc(slices.Clone(all), func(c string) bool { return i == 0 && c == "kube-controller-manager" }), ","))
		if got := strings.Fields(w.kubectl(name, "get", "pods", "-A", "-o", "name")); !slices.Equal(got, pods) {
			t.Errorf("%s: pods %q, want %q", filepath.Base(path), got, pods)
		}
		if got := w.kubectl(name, "get", "nodes", "-o", `jsonpath={range .items[*]}{.metadata.annotations.kwok\.x-k8s\.io/node} {.spec.taints[*].key},{end}`); got != "fake dedicated,fake ,fake ," {
			t.Errorf("%s: nodes are not simulated, or have lost their taints: %q", filepath.Base(path), got)
		}
		w.ok("delete", "cluster", "--name", name)
	}
}
