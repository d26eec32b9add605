package kubelet

import (
	"crypto/rand"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"kwokctl/internal/api"
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
	for _, c := range []struct{ cert, key, ca, want string }{
		{"", "", "", ""},
		{at("admin.crt"), at("admin.key"), at("ca.crt"), ""},
		{at("admin.crt"), "", "", "want both or none"},
		{"", at("admin.key"), "", "want both or none"},
		{at("none"), at("admin.key"), "", "no such file"},
		{at("ca.crt"), at("admin.key"), "", "does not match"},
		{at("admin.key"), at("admin.key"), "", `tlsCertFile "` + at("admin.key")},
		{"", "", at("none"), "no such file"},
		{"", "", at("admin.key"), "has no PEM certificate"},
	} {
		o := api.KwokOptions{TLSCertFile: c.cert, TLSPrivateKeyFile: c.key, ClientCAFile: c.ca}
		cert, cas, err := Credentials(&o)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c, err, c.want)
		}
		if err == nil && ((cert != nil) != (c.cert != "") || (cas != nil) != (c.ca != "")) {
			t.Errorf("%+v: got %v, %v", c, cert, cas)
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
