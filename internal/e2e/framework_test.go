package e2e

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestEndToEndFramework runs the test of package provider: how Go projects use kwokctl.
func TestEndToEndFramework(t *testing.T) { inProcessesAndContainers(t, testEndToEndFramework) }

func testEndToEndFramework(t *testing.T, w *world) {
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", ".")
	cmd.Dir = "provider"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "KWOK_WORKDIR="+w.dir, "KUBECONFIG="+w.kubeconfig(), "KWOKCTL="+filepath.Join(w.home, "kwokctl"), "KWOK_RUNTIME="+cmp.Or(w.runtime, "binary"),
		"TMPDIR="+t.TempDir()) // where the framework leaves a kubeconfig
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if w.ok("get", "clusters") != "" {
		t.Error("a cluster is left")
	}
}
