package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"kwokctl/internal/kube"
)

// managerDouble stands in for jobset: it marks pods by a webhook, with the certificate and at the port that its
// configuration names. It ends unless its kind is served when it starts, and says in a ConfigMap what it may not do.
func managerDouble() int {
	text, err := os.ReadFile(flagOf("config"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var config struct {
		Webhook struct {
			Host, CertDir string
			Port          int
		}
		Health         struct{ HealthProbeBindAddress string }
		LeaderElection struct{ LeaderElect bool }
		Kept           string
	}
	if err := yaml.Unmarshal(text, &config); err != nil || config.LeaderElection.LeaderElect || config.Kept != "as it is" {
		fmt.Fprintf(os.Stderr, "%+v: %v\n", config, err)
		return 1
	}
	if err := managerChecks(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		fmt.Fprintln(os.Stderr, http.ListenAndServe(config.Health.HealthProbeBindAddress, ok))
		os.Exit(1)
	}()
	at := config.Webhook.Host + ":" + strconv.Itoa(config.Webhook.Port)
	fmt.Fprintln(os.Stderr, http.ListenAndServeTLS(at, filepath.Join(config.Webhook.CertDir, "tls.crt"), filepath.Join(config.Webhook.CertDir, "tls.key"), http.HandlerFunc(markPods)))
	return 1
}

// markPods answers an AdmissionReview with a patch.
func markPods(w http.ResponseWriter, r *http.Request) {
	var review struct {
		APIVersion string         `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Request    map[string]any `json:"request,omitempty"`
		Response   map[string]any `json:"response,omitempty"`
	}
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	patch := base64.StdEncoding.EncodeToString([]byte(`[{"op":"add","path":"/metadata/annotations","value":{"managed":"yes"}}]`))
	review.Response = map[string]any{"uid": review.Request["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch}
	review.Request = nil
	_ = json.NewEncoder(w).Encode(review)
}

// managerChecks needs the kind of the manifests, and the rights of their service account and no others.
func managerChecks() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	config, err := kube.Connect(flagOf("kubeconfig"), "")
	if err != nil {
		return err
	}
	client, err := kube.New(config)
	if err != nil {
		return err
	}
	if _, err := client.Do(ctx, kube.Request{Method: http.MethodGet, Path: "/apis/example.com/v1/toys"}); err != nil {
		return fmt.Errorf("its kind: %w", err)
	}
	if _, err := client.Do(ctx, kube.Request{Method: http.MethodGet, Path: "/api/v1/secrets"}); err == nil || !strings.Contains(err.Error(), "system:serviceaccount:jobset-system:jobset-controller-manager") {
		return fmt.Errorf("secrets: %v, want a refusal of its service account", err)
	}
	return nil
}

const managerManifests = `apiVersion: v1
kind: Namespace
metadata: {name: jobset-system}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: toys.example.com}
spec:
  group: example.com
  names: {kind: Toy, plural: toys}
  scope: Cluster
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ServiceAccount
  metadata: {name: jobset-controller-manager, namespace: jobset-system}
- apiVersion: rbac.authorization.k8s.io/v1
  kind: ClusterRole
  metadata: {name: jobset}
  rules: [{apiGroups: [example.com], resources: [toys], verbs: [list]}]
- apiVersion: rbac.authorization.k8s.io/v1
  kind: ClusterRoleBinding
  metadata: {name: jobset}
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: jobset}
  subjects: [{kind: ServiceAccount, name: jobset-controller-manager, namespace: jobset-system}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: jobset-manager-config, namespace: jobset-system}
data:
  controller_manager_config.yaml: |
    kept: as it is
    webhook: {port: 9443}
    leaderElection: {leaderElect: true}
---
apiVersion: v1
kind: Secret
metadata: {name: jobset-webhook-server-cert, namespace: jobset-system}
---
apiVersion: v1
kind: Service
metadata: {name: jobset-webhook-service, namespace: jobset-system}
spec: {ports: [{port: 443, targetPort: 9443}], selector: {app: jobset}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: jobset-controller-manager, namespace: jobset-system}
spec:
  selector: {matchLabels: {app: jobset}}
  template:
    metadata: {labels: {app: jobset}}
    spec: {containers: [{name: manager, image: jobset}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: jobset}
webhooks:
- name: pods.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  clientConfig: {service: {name: jobset-webhook-service, namespace: jobset-system, path: /mutate}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
`

// TestManager runs an operator from its manifests: what would run it in a real cluster is left out, the API server finds
// its webhooks, and it starts when its kinds are served.
func TestManager(t *testing.T) { everywhere(t, testManager) }

func testManager(t *testing.T, w *world) {
	manifests := filepath.Join(w.home, "manifests.yaml")
	write(t, manifests, managerManifests)
	program := []string{"--jobset-binary", self(t)}
	if w.runtime != "" {
		program = []string{}
		w.env = append(w.env, "KWOK_JOBSET_IMAGE="+w.importImage(otherLayer(t)))
	}
	w.create("ops", append(program, "--enable", "jobset", "--jobset-manifests", manifests)...)
	w.ok("scale", "node", "--replicas", "1", "--name", "ops")
	for _, pod := range []string{"first", "second"} {
		w.kubectl("ops", "run", pod, "--image", "i")
		if got := w.kubectl("ops", "get", "pod", pod, "-o", "jsonpath={.metadata.annotations.managed}"); got != "yes" {
			t.Errorf("%s has not been through the webhook: %q", pod, got)
		}
		if pod == "first" { // and it is all there after a restart
			w.ok("stop", "cluster", "--name", "ops")
			w.ok("start", "cluster", "--name", "ops", "--wait", "60s")
		}
	}
	if c := w.components("ops")["jobset"]; c.State != "Ready" || c.Restarts > 0 {
		t.Errorf("jobset: %+v\n%s", c, w.ok("logs", "jobset", "--name", "ops"))
	}
	if got := w.kubectl("ops", "get", "deployments", "-A", "-o", "name"); got != "" {
		t.Errorf("what would run it is in the cluster: %s", got)
	}
	w.ok("delete", "cluster", "--name", "ops")
	w.gone("ops")
}
