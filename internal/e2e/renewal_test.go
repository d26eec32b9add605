package e2e

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kwokctl/internal/pki"
)

// TestRenewal starts a cluster that was stopped for long: what runs out soon is made anew, and the user's kubeconfig
// has the new credentials.
func TestRenewal(t *testing.T) { inProcessesAndContainers(t, testRenewal) }

func testRenewal(t *testing.T, w *world) {
	w.create("old")
	w.ok("stop", "cluster", "--name", "old")
	for _, args := range []string{"scale node", "etcdctl get x", "kectl get nodes", "snapshot save --path x.db", "port-forward etcd :client", "port-forward kwok-controller :http"} {
		r := w.run(append([]string{"--name", "old"}, strings.Fields(args)...)...)
		w.oneLine(args, r, "is Stopped", "kwokctl start cluster")
		if r.took > 2*time.Second {
			t.Errorf("%s: took %s", args, r.took)
		}
	}
	for _, args := range []string{"etcdctl --help", "kectl help get"} { // which need no etcd
		w.ok(append([]string{"--name", "old"}, strings.Fields(args)...)...)
	}
	dir := filepath.Join(w.cluster("old"), "pki")
	cert, key, err := pki.Sign([]byte(read(filepath.Join(dir, "ca.crt"))), []byte(read(filepath.Join(dir, "ca.key"))), "kwok-admin", []string{"system:masters"}, time.Now().AddDate(0, 0, -330))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "admin.crt"), string(cert))
	write(t, filepath.Join(dir, "admin.key"), string(key))
	if err := os.Remove(filepath.Join(dir, "kube-scheduler.crt")); err != nil {
		t.Fatal(err)
	}
	before := read(w.kubeconfig())

	w.ok("start", "cluster", "--name", "old", "--wait", "60s")
	block, _ := pem.Decode([]byte(read(filepath.Join(dir, "admin.crt"))))
	if c, err := x509.ParseCertificate(block.Bytes); err != nil || time.Until(c.NotAfter) < 300*24*time.Hour {
		t.Errorf("the administrator's certificate: %v, until %s", err, c.NotAfter)
	}
	if after := read(w.kubeconfig()); after == before || !strings.Contains(after, "current-context: kwok-old") {
		t.Errorf("the kubeconfig has the old credentials:\n%s", after)
	}
	w.ok("scale", "node", "--name", "old", "--replicas", "1")
	w.ok("delete", "cluster", "--name", "old")
	w.gone("old")
}
