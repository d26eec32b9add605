package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kwokctl/internal/kube"
	"kwokctl/runtimes/docker"
)

// viewerDouble stands in for a component that looks at the cluster. It tells whoever asks which of some requests it may
// not make.
func viewerDouble(name string) int {
	at, config, asks := ":8080", os.Getenv("KUBECONFIG"), []string{"/api/v1/nodes"}
	switch name {
	case "dashboard":
		at, config = net.JoinHostPort(flagOf("insecure-bind-address"), flagOf("insecure-port")), flagOf("kubeconfig")
		own := "/api/v1/namespaces/" + flagOf("namespace") + "/secrets/kubernetes-dashboard-"
		asks = append(asks, "/api/v1/pods", "/apis/apps/v1/deployments", own+"csrf", own+"key-holder", "/api/v1/secrets")
	case "node-readiness-controller":
		at, config, asks = flagOf("health-probe-bind-address"), flagOf("kubeconfig"), append(asks, "/api/v1/pods")
	case "kueueviz-frontend":
		config, asks = "", []string{os.Getenv("REACT_APP_WEBSOCKET_URL")}
	}
	fmt.Fprintln(os.Stderr, http.ListenAndServe(at, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if config == "" {
			fmt.Fprintln(w, asks[0])
			return
		}
		for _, path := range asks {
			if err := ask(r.Context(), config, path); err != nil {
				fmt.Fprintln(w, err)
			}
		}
	})))
	return 1
}

// ask reads something from the API server as whoever a kubeconfig says.
func ask(ctx context.Context, kubeconfig, path string) error {
	config, err := kube.Connect(kubeconfig, "")
	if err != nil {
		return err
	}
	client, err := kube.New(config)
	if err != nil {
		return err
	}
	_, err = client.Do(ctx, kube.Request{Method: http.MethodGet, Path: path})
	return err
}

const readinessManifests = `apiVersion: v1
kind: Namespace
metadata: {name: nrr-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: nrr-controller-manager, namespace: nrr-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: nrr}
rules: [{apiGroups: [""], resources: [nodes], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: nrr}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: nrr}
subjects: [{kind: ServiceAccount, name: nrr-controller-manager, namespace: nrr-system}]
`

// TestViewers runs the dashboard, kueueviz and node-readiness-controller, each as whoever it is to be.
func TestViewers(t *testing.T) { inProcessesAndContainers(t, testViewers) }

func testViewers(t *testing.T, w *world) {
	board, viz, health := freePort(t), freePort(t), freePort(t)
	manifests, config := filepath.Join(w.home, "nrr.yaml"), filepath.Join(w.home, "config.yaml")
	write(t, manifests, readinessManifests)
	write(t, config, configHead+"options: {nodeReadinessControllerHealthPort: "+health+"}\n")
	args := []string{"--dashboard-port", board, "--dashboard-binary", self(t), "-c", config, "--enable", "node-readiness-controller",
		"--node-readiness-controller-binary", self(t), "--node-readiness-controller-manifests", manifests}
	if w.runtime == docker.Docker {
		image := w.importImage(otherLayer(t))
		w.env = append(w.env, "KWOK_KUEUEVIZ_BACKEND_IMAGE="+image, "KWOK_KUEUEVIZ_FRONTEND_IMAGE="+image)
		args = []string{"--dashboard-port", board, "--dashboard-image", image, "--enable", "kueueviz", "--kueueviz-port", viz, "--disable", "kueue"}
	}
	w.create("view", args...)
	for name, c := range w.components("view") {
		if c.State != "Ready" || c.Restarts > 0 {
			t.Errorf("%s is %s, %d restarts", name, c.State, c.Restarts)
		}
	}
	w.eventually(30*time.Second, "the dashboard may look at all but secrets", func() bool { // the role is put together by the controller-manager
		_, got := fetch(t, "http://127.0.0.1:"+board+"/")
		return strings.Count(got, "\n") == 1 && strings.Contains(got, "secrets is forbidden")
	})
	if w.runtime == docker.Docker {
		_, address := fetch(t, "http://127.0.0.1:"+viz+"/")
		back := strings.Replace(strings.TrimSpace(address), "ws://localhost:", "http://127.0.0.1:", 1)
		if code, got := fetch(t, back); code != http.StatusOK || got != "" {
			t.Errorf("kueueviz asks %q, which may not: %s", address, got)
		}
		return
	}
	w.eventually(10*time.Second, "node-readiness-controller is its service account", func() bool {
		_, got := fetch(t, "http://127.0.0.1:"+health+"/")
		return strings.Count(got, "\n") == 1 && strings.Contains(got, `"system:serviceaccount:nrr-system:nrr-controller-manager" cannot list resource "pods"`)
	})
}
