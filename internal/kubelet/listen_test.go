package kubelet

import (
	"crypto/rand"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"kwokctl/internal/pki"
)

// TestCertificates refuses files that are given and of no use.
func TestCertificates(t *testing.T) {
	t.Parallel()
	files, err := pki.Make(pki.Spec{}, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"admin.crt", "admin.key", "ca.crt"} {
		write(t, at(name), string(files[name]))
	}
	if _, err := Certificate(at("admin.crt"), at("admin.key")); err != nil {
		t.Error(err)
	}
	if _, err := Authorities(at("ca.crt")); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ cert, key, want string }{
		{at("admin.crt"), "", "want both or none"},
		{"", at("admin.key"), "want both or none"},
		{at("none"), at("admin.key"), "no such file"},
		{at("ca.crt"), at("admin.key"), "does not match"},
	} {
		if _, err := Certificate(c.cert, c.key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %q: %v, want %q", c.cert, c.key, err, c.want)
		}
	}
	for name, want := range map[string]string{"none": "no such file", "admin.key": "has no PEM certificate"} {
		if _, err := Authorities(at(name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// TestSilent holds connections open that say nothing: others are answered at once.
func TestSilent(t *testing.T) {
	t.Parallel()
	n := serve(t, "{kind: ClusterLogs, metadata: {name: l}, spec: {logs: []}}")
	var silent []net.Conn
	for range 100 {
		c, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	began := time.Now()
	if code, text := n.get(t, &rest.Config{Host: "http://" + n.addr}, "/healthz"); code != 200 || time.Since(began) > time.Second {
		t.Errorf("beside silent connections: %d %q after %v", code, text, time.Since(began))
	}
	for _, c := range silent {
		_ = c.Close()
	}
}
