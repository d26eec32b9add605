package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mutation labels config maps and a custom kind by server-side apply, for which the API server needs their OpenAPI
// documents: those of its own it builds only when it is asked.
const mutation = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: touch}
spec:
  reinvocationPolicy: Never
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}
    - {apiGroups: [example.com], apiVersions: [v1], operations: [CREATE], resources: [shops]}
  matchConditions: [{name: mine, expression: "object.metadata.name == 'touched'"}]
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: "Object{metadata: Object.metadata{labels: {'touched': 'yes'}}}"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: touch}
spec: {policyName: touch}
`

func TestMutatingAdmissionPolicy(t *testing.T) {
	inProcessesAndContainers(t, testMutatingAdmissionPolicy)
}

func testMutatingAdmissionPolicy(t *testing.T, w *world) {
	w.create("policy")
	// Without validation, for which kubectl asks for documents.
	send := func(manifest string, args ...string) result {
		path := filepath.Join(t.TempDir(), "manifest.yaml")
		if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		return w.run(append([]string{"--name", "policy", "kubectl", "create", "--validate=false", "-f", path}, args...)...)
	}
	if r := send(mutation); r.code != 0 {
		t.Fatal(r.stderr)
	}
	mutated := func(manifest string) bool {
		r := send(manifest, "--dry-run=server", "-o", "jsonpath={.metadata.labels.touched}")
		return strings.TrimSpace(r.stdout) == "yes"
	}
	w.eventually(30*time.Second, "mutation of a config map", func() bool {
		return mutated("{apiVersion: v1, kind: ConfigMap, metadata: {name: touched, namespace: default}}")
	})
	w.define("policy", "shops.example.com", "Shop")
	w.eventually(30*time.Second, "mutation of a custom kind", func() bool {
		return mutated("{apiVersion: example.com/v1, kind: Shop, metadata: {name: touched, namespace: default}}")
	})
}
