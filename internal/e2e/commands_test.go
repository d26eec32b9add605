package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKectl reads and writes etcd behind the API server's back.
func TestKectl(t *testing.T) { inProcessesAndContainers(t, testKectl) }

func testKectl(t *testing.T, w *world) {
	w.create("a")
	w.ok("scale", "node", "--name", "a", "--replicas", "3")
	kectl := func(args ...string) string {
		t.Helper()
		return w.ok(append([]string{"--name", "a", "kectl"}, args...)...)
	}

	if w.runtime == "" { // etcd is all that has to answer
		supervisor := w.pids("a")["supervise"]
		w.signal(supervisor, syscall.SIGSTOP)
		kectl("get", "ns", "default")
		w.signal(supervisor, syscall.SIGCONT)
	}
	for _, busy := range []string{"kwok-controller", "kube-controller-manager", "kube-scheduler"} { // nobody else is to write
		w.ok("stop", "component", busy, "--name", "a")
	}

	// There and back again is the same to the byte.
	saved := kectl("get", "no", "node-000001", "-o", "yaml")
	if got := kectl("delete", "no", "node-000001"); got != "/registry/minions/node-000001\n" {
		t.Errorf("delete printed %q", got)
	}
	w.eventually(10*time.Second, "the API server notices the deletion", func() bool {
		return w.run("--name", "a", "kubectl", "get", "node", "node-000001").code == 1
	})
	put := w.command(context.Background(), "--name", "a", "kectl", "put", "no", "node-000001", "--path", "-")
	put.Stdin = strings.NewReader(saved)
	if r := w.finish(put); r.code != 0 || r.stdout != "/registry/minions/node-000001\n" {
		t.Errorf("put: %+v", r)
	}
	if got := kectl("get", "no", "node-000001", "-o", "yaml"); got != saved || saved == "" {
		t.Errorf("the node is not as it was:\n%s", got)
	}
	w.eventually(10*time.Second, "the API server notices the node", func() bool {
		return w.run("--name", "a", "kubectl", "get", "node", "node-000001").code == 0
	})

	// So is everything else that a cluster stores: under another prefix, each key and each byte is the same.
	w.apply("a", customResource)
	w.eventually(20*time.Second, "the kind is served", func() bool {
		return w.run("--name", "a", "kubectl", "get", "rats").code == 0
	})
	w.apply("a", "apiVersion: lab.k8s.io/v1\nkind: Rat\nmetadata: {name: remy, namespace: default}\nspec: {size: 3}\n")
	var docs []string
	for _, doc := range strings.Split(kectl("get", "-o", "yaml"), "---\n# ") {
		// Not objects of the API: counters, and leases of API servers.
		if doc != "" && !strings.HasPrefix(doc, "/registry/ranges/") && !strings.HasPrefix(doc, "/registry/peerserverleases/") && !strings.HasPrefix(doc, "/registry/masterleases/") {
			docs = append(docs, "# "+doc)
		}
	}
	all := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(all, []byte(strings.Join(docs, "---\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	// The definition must be known below the other prefix, too, before what it defines.
	definition := filepath.Join(t.TempDir(), "crd.yaml")
	if err := os.WriteFile(definition, []byte(kectl("get", "crd", "-o", "yaml")), 0o600); err != nil {
		t.Fatal(err)
	}
	kectl("put", "--prefix", "/copy", "--path", definition)
	kectl("put", "--prefix", "/copy", "--path", all)
	values := func(prefix string) map[string]string {
		var dump struct{ Kvs []struct{ Key, Value string } }
		if err := json.Unmarshal([]byte(w.ok("--name", "a", "etcdctl", "get", "--prefix", prefix, "-w", "json")), &dump); err != nil {
			t.Fatal(err)
		}
		m := map[string]string{}
		for _, kv := range dump.Kvs {
			m[kv.Key] = kv.Value
		}
		return m
	}
	was, is := values("/registry/"), values("/copy/")
	same := 0
	for _, doc := range docs {
		key := strings.Fields(doc)[1]
		if sameValue(was[b64(key)], is[b64(strings.Replace(key, "/registry/", "/copy/", 1))]) {
			same++
		} else if !strings.HasPrefix(key, "/registry/leases/kube-system/apiserver-") { // which was renewed meanwhile
			t.Errorf("the copy of %s differs", key)
		}
	}
	if same < 150 || len(is) != len(docs) {
		t.Errorf("%d of %d values are the same, and there are %d", same, len(docs), len(is))
	}

	if got := kectl("get", "rats", "remy", "-o", "json"); !strings.Contains(got, `"size": 3`) {
		t.Error(got)
	}
	if got := w.ok("--name", "a", "hack", "get", "rats", "remy"); !strings.Contains(got, "size: 3") {
		t.Errorf("the old name showed %s", got)
	}
	if got := w.ok("hack", "get", "rats", "remy", "--name", "a"); !strings.Contains(got, "size: 3") {
		t.Errorf("the old name with --name behind it showed %s", got)
	}
	w.fails(1, []string{`no resource "cats"`}, "--name", "a", "kectl", "get", "cats")
	w.fails(1, []string{"not in etcd"}, "--name", "a", "kectl", "get", "no", "nobody")
	w.fails(1, []string{"name a resource"}, "--name", "a", "kectl", "delete")
}

const customResource = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rats.lab.k8s.io, annotations: {api-approved.kubernetes.io: unapproved}}
spec:
  group: lab.k8s.io
  scope: Namespaced
  names: {plural: rats, singular: rat, kind: Rat, shortNames: [rt]}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// TestKectlPutMany writes nodes faster than the API server hears of them: none may be overlooked.
func TestKectlPutMany(t *testing.T) { inProcessesAndContainers(t, testKectlPutMany) }

func testKectlPutMany(t *testing.T, w *world) {
	w.create("a")
	const count = 500
	var nodes strings.Builder
	for i := range count {
		fmt.Fprintf(&nodes, "---\napiVersion: v1\nkind: Node\nmetadata: {name: fast-%d, annotations: {kwok.x-k8s.io/node: fake}}\nstatus: {allocatable: {cpu: 1, memory: 1Gi, pods: 9}}\n", i)
	}
	path := filepath.Join(w.home, "nodes.yaml")
	if err := os.WriteFile(path, []byte(nodes.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	w.ok("--name", "a", "kectl", "put", "--path", path)
	w.eventually(90*time.Second, "all nodes are ready", func() bool {
		return strings.Count(w.kubectl("a", "get", "nodes", "--no-headers"), " Ready ") == count
	})
	w.ok("--name", "a", "kectl", "delete", "no", "-o", "none")
	w.eventually(30*time.Second, "no node is left", func() bool { return w.kubectl("a", "get", "nodes", "-o", "name") == "" })
}

func TestKectlKnowsThePrefix(t *testing.T) { inProcessesAndContainers(t, testKectlKnowsThePrefix) }

func testKectlKnowsThePrefix(t *testing.T, w *world) {
	w.create("a", "--extra-args", "kube-apiserver=etcd-prefix=/elsewhere")
	if got := w.ok("--name", "a", "kectl", "get", "ns", "default"); got != "/elsewhere/namespaces/default\n" {
		t.Errorf("%q", got)
	}
}

func TestPools(t *testing.T) { inProcessesAndContainers(t, testPools) }

func testPools(t *testing.T, w *world) {
	w.create("a")
	const flags = "name=data,replicas=3,zone=boston/chicago/seattle,label=disk=ssd|name=gpu,replicas=5,zone=london,capacity=nvidia.com/gpu:8,taint=gpu=yes:NoSchedule"
	args := []string{"scale", "node", "--name", "a"}
	for _, pool := range strings.Split(flags, "|") {
		args = append(args, "--pool", pool)
	}
	w.ok(args...)
	w.ok(args...) // the second time nothing is left to do
	nodes := func(selector, path string) string {
		return w.kubectl("a", "get", "nodes", "-l", selector, "-o", "jsonpath={range .items[*]}"+path+" {end}")
	}
	const zone = `{.metadata.labels.topology\.kubernetes\.io/zone}`
	if got := nodes("disk=ssd", zone); got != "boston chicago seattle " {
		t.Errorf("zones of the first pool: %q", got)
	}
	if got := nodes("kwok.x-k8s.io/kwokctl-scale=gpu", zone+`{.status.allocatable.nvidia\.com/gpu}{.spec.taints[0].key}`); got != strings.Repeat("london8gpu ", 5) {
		t.Errorf("second pool: %q", got)
	}
	w.kubectl("a", "wait", "node", "--all", "--for", "condition=Ready", "--timeout", "60s")
	// The scheduler believes what the pool says: only the GPU nodes have GPUs, and only for who tolerates it.
	w.apply("a", `apiVersion: v1
kind: Pod
metadata: {name: trainer, namespace: default}
spec:
  tolerations: [{key: gpu, operator: Exists}]
  containers: [{name: c, image: i, resources: {limits: {nvidia.com/gpu: 8}}}]
`)
	w.kubectl("a", "wait", "pod", "trainer", "--for", "condition=Ready", "--timeout", "60s")
	if got := w.kubectl("a", "get", "pod", "trainer", "-o", "jsonpath={.spec.nodeName}"); !strings.HasPrefix(got, "gpu-") {
		t.Errorf("the pod is on %q", got)
	}

	file := filepath.Join(w.home, "pools.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: NodePool\nmetadata: {name: data}\nreplicas: 1\n---\n"+
		"apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: NodePool\nmetadata: {name: gpu}\nreplicas: 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.ok("scale", "node", "--name", "a", "-c", file)
	if got := w.kubectl("a", "get", "nodes", "-o", "name"); got != "node/data-000000\n" {
		t.Errorf("after scaling down: %q", got)
	}
	w.fails(1, []string{"pools are of nodes"}, "scale", "pod", "--name", "a", "--pool", "name=x")
	w.fails(1, []string{"neither NAME nor --replicas"}, "scale", "node", "x", "--name", "a", "--pool", "name=x")
	w.fails(1, []string{`pool x: taint "y"`}, "scale", "node", "--name", "a", "--pool", "name=x,taint=y")
}

func TestScaleTemplateOfDefaultFile(t *testing.T) {
	inProcessesAndContainers(t, testScaleTemplateOfDefaultFile)
}

func testScaleTemplateOfDefaultFile(t *testing.T, w *world) {
	w.create("a")
	template := func(value string) string {
		return "apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: KwokctlResource\nmetadata: {name: note}\nparameters: {who: " + value + "}\n" +
			"template: |\n  apiVersion: v1\n  kind: ConfigMap\n  data: {text: {{ Quote .who }}, name: {{ Quote Name }}, index: {{ Quote Index }}, space: {{ Quote Namespace }}}\n"
	}
	named := filepath.Join(w.home, "named.yaml")
	for path, value := range map[string]string{filepath.Join(w.dir, "kwok.yaml"): "default-file", named: "named-file"} {
		if err := os.WriteFile(path, []byte(template(value)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := func(name string) string {
		return w.kubectl("a", "get", "configmap", "-n", "default", name, "-o", "jsonpath={.data.text} {.data.name} {.data.index}")
	}
	w.ok("scale", "note", "one", "--name", "a", "--serial-length", "0")
	if got := text("one"); got != "default-file one 0" {
		t.Errorf("%q", got)
	}
	w.ok("scale", "note", "two", "--name", "a", "-c", named, "--replicas", "2", "--serial-length", "2")
	if got := text("two-01"); got != "named-file two-01 1" {
		t.Errorf("%q", got)
	}
	w.ok("scale", "note", "three", "--name", "a", "--param", `.who="me"`, "--param", `.who+="!"`)
	if got := text("three-000000"); got != "me! three-000000 0" {
		t.Errorf("%q", got)
	}
	w.fails(1, []string{"2 outputs, not 1"}, "scale", "note", "--name", "a", "--param", ".,.")
	w.fails(1, []string{"cat", "node, pod"}, "scale", "cat", "--name", "a")
}

func TestKubeconfigForOthers(t *testing.T) { inProcessesAndContainers(t, testKubeconfigForOthers) }

func testKubeconfigForOthers(t *testing.T, w *world) {
	const before = "apiVersion: v1\nkind: Config\ncontexts:\n- name: mine\n  context: {cluster: mine}\ncurrent-context: mine\n"
	if err := os.WriteFile(w.kubeconfig(), []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	w.create("a", "--keep-context")
	if got := read(w.kubeconfig()); !strings.Contains(got, "current-context: mine") || !strings.Contains(got, "kwok-a") {
		t.Errorf("with --keep-context:\n%s", got)
	}
	// What a container would use resolves here to the same machine: the certificate is checked by another name.
	for _, args := range []string{"--host|localhost", "--host|", "--host|127.0.0.2", "--insecure-skip-tls-verify", "--user|jane|--group|system:masters"} {
		config := w.ok(append([]string{"get", "kubeconfig", "--name", "a"}, strings.Split(args, "|")...)...)
		if strings.Contains(args, "127.0.0.2") {
			if !strings.Contains(config, "tls-server-name: localhost") {
				t.Errorf("%s:\n%s", args, config)
			}
			continue // nobody listens there
		}
		path := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := w.ok("--name", "a", "kubectl", "--kubeconfig", path, "get", "ns", "default", "-o", "name"); got != "namespace/default\n" {
			t.Errorf("%s: %q", args, got)
		}
	}
	w.fails(1, []string{"--user"}, "get", "kubeconfig", "--name", "a", "--user", "")
	w.ok("delete", "cluster", "--name", "a")
	after := read(w.kubeconfig())
	if !strings.Contains(after, "current-context: mine") || strings.Contains(after, "kwok-a") {
		t.Errorf("after delete:\n%s", after)
	}
	w.create("b", "--kubeconfig", "")
	if got := read(w.kubeconfig()); got != after {
		t.Errorf("with --kubeconfig \"\":\n%s", got)
	}
	w.create("c") // becomes current, until it is deleted
	if got := read(w.kubeconfig()); !strings.Contains(got, "current-context: kwok-c") {
		t.Errorf("after create:\n%s", got)
	}
	w.ok("delete", "cluster", "--name", "c")
	if got := read(w.kubeconfig()); got != after {
		t.Errorf("after delete of the current one:\n%s", got)
	}
}

func TestCompletion(t *testing.T) { inProcessesAndContainers(t, testCompletion) }

func testCompletion(t *testing.T, w *world) {
	w.create("a")
	w.ok("scale", "node", "--name", "a", "--replicas", "2")
	for _, tt := range []struct{ args, want string }{
		{"get|components|--name|", "a"},
		{"logs|--name|a|kube-s", "kube-scheduler"},
		{"logs|--name|a|au", "audit"},
		{"stop|component|kwok", "kwok-controller"},
		{"stop|cluster|", ":4"}, // no arguments: no files
		{"create|cluster|--enable|kueuev", "kueueviz"},
		{"port-forward|etc", "etcd"},
		{"scale|no", "node"},
		{"create|cluster|--disable|kube-s", "kube-scheduler"},
		{"get|clusters|-o|js", "json"},
		{"--name|a|kubectl|get|no", "nodes"},
		{"--name|a|kubectl|get|nodes|node-000001", "node-000001"},
		{"--name|a|etcdctl|snap", "snapshot"},
		{"--name|a|kectl|ge", "get"},
		{"snapshot|save|--name|a|--filter|po", "pods"},
		{"snapshot|restore|--name|a|--filter|pods,depl", "pods,deployments.apps"},
		{"snapshot|export|--filter|node", "nodes"},
		{"snapshot|record|--name|a|state", "statefulsets.apps"},
	} {
		out := w.ok(append([]string{"__complete"}, strings.Split(tt.args, "|")...)...)
		words := map[string]bool{}
		for line := range strings.Lines(out) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			words[word] = true
		}
		if !words[tt.want] || strings.Count(out, "\n:")+strings.Count(out[:1], ":") != 1 {
			t.Errorf("%s: no %s in\n%s", tt.args, tt.want, out)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := w.ok("completion", shell); !strings.Contains(got, "__complete") || !strings.Contains(got, "kwokctl") {
			t.Errorf("completion %s: %d bytes", shell, len(got))
		}
	}
}

// sameValue compares values of etcd as etcdctl shows them: those in protobuf by their bytes, JSON by what it says.
func sameValue(a, b string) bool {
	var x, y any
	textA, _ := base64.StdEncoding.DecodeString(a)
	textB, _ := base64.StdEncoding.DecodeString(b)
	if json.Unmarshal(textA, &x) == nil && json.Unmarshal(textB, &y) == nil {
		return reflect.DeepEqual(x, y)
	}
	return a == b && a != ""
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
