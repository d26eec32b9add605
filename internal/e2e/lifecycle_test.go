package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  completions: 3
  parallelism: 3
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: busybox}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 20
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: nginx}]}
---
apiVersion: v1
kind: Pod
metadata: {name: kept, finalizers: [example.com/keep]}
spec: {containers: [{name: c, image: nginx}]}
`

// TestLife is the main job: a cluster comes up, gets nodes, runs pods, stops, comes back as it was, and goes.
func TestLife(t *testing.T) { everywhere(t, testLife) }

func testLife(t *testing.T, w *world) {
	w.create("life")
	if got := w.kubectl("life", "version"); !strings.Contains(got, "Server Version: v1.36.3") {
		t.Errorf("kubectl version: %s", got)
	}
	if got := w.ok("get", "clusters"); got != "life\n" {
		t.Errorf("get clusters: %q", got)
	}
	if got := w.kubectl("life", "config", "current-context"); got != "kwok-life\n" {
		t.Errorf("current context: %q", got)
	}
	w.ok("scale", "node", "--replicas", "5", "--name", "life")
	w.kubectl("life", "wait", "--for=condition=Ready", "node", "--all", "--timeout=30s")
	w.apply("life", job)
	w.kubectl("life", "rollout", "status", "deployment/web", "--timeout=60s")
	w.kubectl("life", "wait", "--for=condition=Complete", "job/once", "--timeout=60s")
	w.kubectl("life", "wait", "--for=condition=Ready", "pod/kept", "--timeout=60s")
	if ips := w.kubectl("life", "get", "pods", "-l", "app=web", "-o", "jsonpath={range .items[*]}{.status.podIP}{\"\\n\"}{end}"); len(unique(ips)) != 20 {
		t.Errorf("20 pods have these addresses: %q", ips)
	}
	w.kubectl("life", "delete", "pod", "kept", "--timeout=30s") // its finalizer goes with it

	before, config := w.settled("life"), read(filepath.Join(w.cluster("life"), "kwok.yaml"))
	certificate := read(filepath.Join(w.cluster("life"), "pki", "admin.crt"))
	held, err := w.client("life").CoreV1().ConfigMaps("").Watch(t.Context(), metav1.ListOptions{}) // as tools do all the time
	if err != nil {
		t.Fatal(err)
	}
	defer held.Stop()
	r := w.run("stop", "cluster", "--name", "life")
	if r.code != 0 || strings.Contains(r.stderr, "killed") {
		t.Errorf("stop: exit status %d: %s", r.code, r.stderr)
	}
	if got := w.status("life"); got != "Stopped" {
		t.Errorf("status of a stopped cluster: %s", got)
	}
	if left := w.processes(); len(left) > 0 {
		t.Errorf("processes of a stopped cluster: %v", left)
	}
	w.ok("start", "cluster", "--name", "life", "--wait", "60s")
	if got := w.objects("life"); got != before {
		t.Errorf("objects differ after stop and start:\n%s\n---\n%s", before, got)
	}
	if read(filepath.Join(w.cluster("life"), "kwok.yaml")) != config || read(filepath.Join(w.cluster("life"), "pki", "admin.crt")) != certificate {
		t.Error("stop and start changed ports or certificates")
	}
	w.kubectl("life", "wait", "--for=condition=Ready", "node", "--all", "--timeout=30s")
	// The API server itself looks at the pods of a namespace, which it has from its own cache since its start.
	r = w.run("--name", "life", "kubectl", "label", "--dry-run=server", "namespace", "default", "pod-security.kubernetes.io/enforce=restricted")
	if r.code != 0 || !strings.Contains(r.stderr, "existing pods in namespace \"default\"") {
		t.Errorf("restrict a namespace: exit status %d: %s", r.code, r.stderr)
	}

	if r := w.run("create", "cluster", "--name", "life"); r.code != 0 || !strings.Contains(r.stderr, "nothing was changed") {
		t.Errorf("create of a ready cluster: exit status %d: %s", r.code, r.stderr)
	}
	w.ok("delete", "cluster", "--name", "life")
	if got := w.ok("get", "clusters"); got != "" {
		t.Errorf("get clusters after delete: %q", got)
	}
	if got := read(w.kubeconfig()); strings.Contains(got, "kwok-life") {
		t.Errorf("kubeconfig after delete:\n%s", got)
	}
	w.ok("delete", "cluster", "--name", "life") // once more is no error
}

// settled is like objects, once they do not change any more: the controller-manager goes on after a cluster is ready.
func (w *world) settled(name string) string {
	w.t.Helper()
	last, now := "", w.objects(name)
	w.eventually(30*time.Second, "the objects of "+name+" settle", func() bool {
		last, now = now, w.objects(name)
		return last == now && strings.Contains(now, "ServiceAccount kube-node-lease/default ")
	})
	return now
}

// objects lists what a user cares to find again, by kind, name and uid.
func (w *world) objects(name string) string {
	w.t.Helper()
	return w.kubectl(name, "get", "nodes,pods,deployments,replicasets,jobs,serviceaccounts,namespaces,clusterroles", "-A",
		"-o", "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid}{\"\\n\"}{end}")
}

func unique(lines string) map[string]bool {
	set := map[string]bool{}
	for _, l := range strings.Fields(lines) {
		set[l] = true
	}
	return set
}

// TestSideBySide runs two clusters under different names, and the forms that lists are printed in.
func TestSideBySide(t *testing.T) { everywhere(t, testSideBySide) }

func testSideBySide(t *testing.T, w *world) {
	w.create("a")
	w.create("b")
	if got := w.ok("get", "clusters"); got != "a\nb\n" {
		t.Errorf("get clusters: %q", got)
	}
	for _, line := range strings.Split(strings.TrimSpace(w.ok("get", "clusters", "-o", "wide")), "\n")[1:] {
		if f := strings.Fields(line); len(f) < 3 || f[2] != "Ready" {
			t.Errorf("get clusters -o wide: %q", line)
		}
	}
	if got := w.ok("get", "components", "--name", "a"); got != "etcd\nkube-apiserver\nkube-controller-manager\nkube-scheduler\nkwok-controller\n" {
		t.Errorf("get components: %q", got)
	}
	for _, c := range w.components("b") {
		if c.State != "Ready" || c.PID == 0 || c.Restarts != 0 {
			t.Errorf("component: %+v", c)
		}
	}
	if got := w.ok("get", "clusters", "-o", "yaml"); !strings.Contains(got, "- context: kwok-a\n") {
		t.Errorf("get clusters -o yaml: %s", got)
	}
	if got := w.ok("--name", "a", "etcdctl", "get", "/registry/namespaces/default", "--keys-only"); !strings.Contains(got, "/registry/namespaces/default") {
		t.Errorf("etcdctl get: %q", got)
	}
	if got := w.ok("logs", "kube-scheduler", "--name", "a"); !strings.Contains(got, "Serving securely on ") {
		t.Errorf("logs kube-scheduler: %.200q", got)
	}
	path := filepath.Join(t.TempDir(), "user.yaml")
	config := w.ok("get", "kubeconfig", "--name", "a", "--user", "jane", "--group", "nobody")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := w.ok("--name", "a", "kubectl", "--kubeconfig", path, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"); got != "jane" {
		t.Errorf("user of the signed kubeconfig: %q", got)
	}
	w.ok("delete", "cluster", "--all")
	if got := w.ok("get", "clusters"); got != "" {
		t.Errorf("get clusters: %q", got)
	}
}

// TestScale makes, and takes away.
func TestScale(t *testing.T) { everywhere(t, testScale) }

func testScale(t *testing.T, w *world) {
	w.create("scale")
	w.ok("scale", "node", "--replicas", "100", "--name", "scale")
	w.ok("scale", "pod", "web", "--replicas", "200", "--name", "scale")
	count := func(kind string) (all, ready int) {
		list := w.kubectl("scale", "get", kind, "-o", `jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
		return strings.Count(list, "\n"), strings.Count(list, "True\n")
	}
	for kind, want := range map[string]int{"nodes": 100, "pods": 200} { // kubectl wait takes a tenth of a second for each
		w.eventually(time.Minute, kind+" are ready", func() bool { all, ready := count(kind); return all == want && ready == want })
	}
	w.ok("scale", "pod", "web", "--replicas", "10", "--name", "scale")
	w.eventually(30*time.Second, "10 pods are left", func() bool { all, _ := count("pods"); return all == 10 })
	w.ok("scale", "pod", "web", "--replicas", "10", "--name", "scale") // and nothing happens
	if got := w.kubectl("scale", "get", "pod", "web-000000", "-o", "jsonpath={.status.phase}"); got != "Running" {
		t.Errorf("phase of the first pod: %q", got)
	}
}

// TestStagesFromFile plays stages that the user gave with -c, and the built-in ones of the other kind.
func TestStagesFromFile(t *testing.T) { everywhere(t, testStagesFromFile) }

func testStagesFromFile(t *testing.T, w *world) {
	path := filepath.Join(t.TempDir(), "stage.yaml")
	if err := os.WriteFile(path, []byte(`
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: pod-fails}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions: [{key: .status.phase, operator: In, values: [Pending]}]
  next:
    statusTemplate: |
      phase: Failed
      reason: {{ Quote .metadata.name }}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	w.create("stages", "-c", path)
	w.ok("scale", "node", "--replicas", "1", "--name", "stages")
	w.kubectl("stages", "wait", "--for=condition=Ready", "node", "--all", "--timeout=30s")
	w.ok("scale", "pod", "--replicas", "1", "--name", "stages")
	w.kubectl("stages", "wait", "--for=jsonpath={.status.phase}=Failed", "pod/pod-000000", "--timeout=30s")
	if got := w.kubectl("stages", "get", "pod", "pod-000000", "-o", "jsonpath={.status.reason}"); got != "pod-000000" {
		t.Errorf("reason: %q", got)
	}
}
