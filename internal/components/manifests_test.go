package components

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"kwokctl/internal/api"
)

const manifests = `# of a release
apiVersion: v1
kind: Namespace
metadata: {name: jobset-system}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: jobsets.jobset.x-k8s.io}
spec:
  conversion: {webhook: {clientConfig: {service: {name: jobset-webhook-service, namespace: jobset-system, path: /convert}}}}
---
apiVersion: v1
kind: List
items:
- {apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}
- {apiVersion: v1, kind: Service, metadata: {name: jobset-webhook-service}}
- {apiVersion: v1, kind: Secret, metadata: {name: jobset-webhook-server-cert}}
- {apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: c}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: other}, data: {a: b}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: jobset-manager-config}
data:
  controller_manager_config.yaml: |
    kind: Configuration
    leaderElection: {leaderElect: true, resourceName: x}
    clientConnection: {qps: 7}
`

// TestAdapt holds what is left of a manager's manifests, and what its configuration becomes.
func TestAdapt(t *testing.T) {
	given, err := Adapt("jobset", []byte(manifests))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"webhooks/jobset/ca.crt": []byte("authority")}
	for _, f := range given {
		files[f.Path] = f.Data
	}
	o := options(func(o *Options) {
		o.Enable, o.JobsetBinary, o.JobsetPort, o.JobsetHealthPort, o.JobsetMetricsPort = []string{"jobset"}, "/opt/jobset", 9443, 8081, 8443
	})
	near := around(o)
	near.Read = func(path string) []byte { return files[path] }
	plan, err := Make(&api.KwokctlConfiguration{Options: *o}, near)
	if err != nil {
		t.Fatal(err)
	}
	text := string(plan.Manifests)
	for _, want := range []string{
		`"kind":"Namespace"`, `"kind":"CustomResourceDefinition"`, `"port":9443`, `"caBundle":"YXV0aG9yaXR5"`,
		`"metadata":{"name":"r","namespace":"jobset-system"}`, `"data":{"a":"b"}`, "externalName: localhost", "stringData:",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
	for _, bad := range []string{"Deployment", "cert-manager.io", "controller_manager_config", "${"} {
		if strings.Contains(text, bad) {
			t.Errorf("%s is in\n%s", bad, text)
		}
	}
	for _, f := range plan.Files {
		if f.Path != "config/jobset.yaml" {
			continue
		}
		want := `{"kind":"Configuration","leaderElection":{"leaderElect":false,"resourceName":"x"},"clientConnection":{"qps":7},
			"webhook":{"host":"127.0.0.1","port":9443,"certDir":"webhooks/jobset"},"health":{"healthProbeBindAddress":"127.0.0.1:8081"},
			"metrics":{"bindAddress":"127.0.0.1:8443","certDir":"webhooks/jobset"},"internalCertManagement":{"enable":false}}`
		if !sameYAML(t, f.Data, []byte(want)) {
			t.Errorf("%s:\n%s", f.Path, f.Data)
		}
	}
	if len(plan.Last) != 1 || plan.Last[0] != "jobset" {
		t.Errorf("last %q", plan.Last)
	}
}

func sameYAML(t *testing.T, a, b []byte) bool {
	t.Helper()
	x, err := yaml.YAMLToJSON(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.YAMLToJSON(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(x) == string(y)
}

func TestAdaptRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "no objects",
		"# nothing\n---\n":                       "no objects",
		"a: [":                                   "document 1",
		"apiVersion: v1\nkind: A\n---\n- 1":      "document 2: it is no object",
		"apiVersion: v1\nkind: List\nitems: [1]": "document 1: it has no kind",
		"kind: Pod":                              "it has no kind or no apiVersion",
		"apiVersion: v1\nkind: Pod":              "no ConfigMap with controller_manager_config.yaml",
		"apiVersion: v1\nkind: ConfigMap\ndata: {controller_manager_config.yaml: ''}":     "controller_manager_config.yaml in a ConfigMap: it is empty",
		"apiVersion: v1\nkind: ConfigMap\ndata: {controller_manager_config.yaml: 'a: ['}": "controller_manager_config.yaml in a ConfigMap",
	} {
		if _, err := Adapt("jobset", []byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// TestManagers holds where managers come from when nobody says otherwise.
func TestManagers(t *testing.T) {
	o := options(func(o *Options) {
		o.Enable, o.KueueVersion = []string{"kueue", "descheduler", "scheduler-plugins"}, "v0.17.0"
		o.DeschedulerManifests = []string{"mine.yaml"}
		o.Runtime, o.SchedulerPluginsImagePrefix = "docker", "mirror/x"
	})
	by := map[string]Manager{}
	for _, m := range Managers(o) {
		by[m.Name] = m
	}
	if m := by["kueue"]; len(by) != 3 || m.Manifests[0] != "https://github.com/kubernetes-sigs/kueue/releases/download/v0.17.0/manifests.yaml" ||
		m.User != "system:serviceaccount:kueue-system:kueue-controller-manager" || m.Service != "kueue-webhook-service.kueue-system.svc" {
		t.Errorf("%+v", m)
	}
	if m := by["descheduler"]; len(m.Manifests) != 1 || m.Manifests[0] != "mine.yaml" || m.Service != "" {
		t.Errorf("%+v", m)
	}
	if err := Locate(o, "linux", "amd64"); err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		o.KueueImage: "registry.k8s.io/kueue/kueue:v0.17.0", o.DeschedulerImage: "registry.k8s.io/descheduler/descheduler:v0.36.0",
		o.SchedulerPluginsControllerImage: "mirror/x/controller:v0.34.7", o.KubeSchedulerImage: "mirror/x/kube-scheduler:v0.34.7",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
