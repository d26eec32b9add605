package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSnapshotRoundTrip saves a cluster with something of everything, deletes it, and makes it anew from either file.
func TestSnapshotRoundTrip(t *testing.T) { everywhere(t, testSnapshotRoundTrip) }

func testSnapshotRoundTrip(t *testing.T, w *world) {
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

// TestExport exports a cluster as a user who may read some of it, and simulates it in another.
func TestExport(t *testing.T) { inProcessesAndContainers(t, testExport) }

func testExport(t *testing.T, w *world) {
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
