package docker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAddress(t *testing.T) {
	for host, want := range map[string]string{
		"unix:///x":                    "unix:///x",
		"tcp://far:1":                  "tcp://far:1",
		"tcp://far":                    "tcp://far:2375",
		"tcp://[fd00::1]":              "tcp://[fd00::1]:2375",
		"tcp://:2375":                  "tcp://:2375",
		"tcp://far:1/base":             "tcp://far:1/base",
		"https://far":                  "https://far",
		"npipe:////./pipe/engine":      "npipe:////./pipe/engine",
		"ssh://far":                    "ssh://far",
		"ssh://me@far:22/run/e.sock":   "ssh://me@far:22/run/e.sock",
		"ssh://[fd00::1]":              "ssh://[fd00::1]",
		"ssh://me:secret@far":          "ssh://me:xxxxx@far",
		"ssh://me:se%cret@far":         "ssh://me:xxxxx@far",
		"ssh://":                       "",
		"ssh://-oProxyCommand=x":       "",
		"ssh://-oX@far":                "",
		"ssh://far/a:b":                "",
		"ssh://far/%25h":               "",
		"ssh://far/$HOME/e.sock":       "",
		"ssh://me@far;x":               "",
		"ssh://far?x":                  "",
		"far:2375":                     "",
		"tcp://":                       "",
		"unix://":                      "",
		"unix:/var/run/docker.sock":    "",
		"tcp://far:99999":              "",
		"tcp://far:x":                  "",
		"tcp://me@far:1":               "",
		"tcp://a\nb:1":                 "",
		"foo://far:1":                  "",
		" ":                            "",
		"/var/run/docker.sock":         "",
		"unix:///var/run/docker.sock ": "unix:///var/run/docker.sock ", // there may be one
	} {
		got, err := address(host)
		if strings.Contains(want, "://") && !strings.Contains(want, "xxxxx") {
			if err != nil || got != want {
				t.Errorf("%q: %q, %v; want %q", host, got, err, want)
			}
			continue
		}
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "allowed are unix:///PATH") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want one line that says what is allowed, and %q", host, got, err, want)
		}
	}
}

func TestElsewhere(t *testing.T) {
	for host, want := range map[string]string{
		"unix:///x": "", "tcp://127.0.0.1:1": "", "tcp://[::1]:1": "", "tcp://localhost:1": "", "tcp://:1": "", "tcp://0.0.0.0:1": "",
		"tcp://127.0.0.2:1": "127.0.0.2", "tcp://192.0.2.1:1": "192.0.2.1", "tcp://[2001:db8::1]:1": "2001:db8::1",
	} {
		got, err := New(Options{Engine: Docker, Getenv: env("DOCKER_HOST=" + host)}).Elsewhere(t.Context())
		if err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", host, got, err, want)
		}
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		if got := elsewhere("here", []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParsePrefix(a.String()).Addr()}); got != "" {
			t.Errorf("%s is of this machine, and counts as %s", a, got)
		}
	}
}

// authority signs certificates in a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// sign makes dir/NAME.pem and the key to it; one that has no authority signs itself.
func (a *authority) sign(t *testing.T, dir, name, key string, ends time.Time) *authority {
	t.Helper()
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: dir + name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: ends, IsCA: a == nil, BasicConstraintsValid: true,
	}
	if a == nil {
		a = &authority{tmpl, made}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &made.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	text, err := x509.MarshalPKCS8PrivateKey(made)
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, key+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, made}
}

// secured starts what answers like an engine, and asks whoever calls for a certificate by this authority.
func secured(t *testing.T, dir string, a *authority) (port string) {
	a.sign(t, dir, "server", "server-key", time.Now().Add(time.Hour))
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	s := httptest.NewUnstartedServer(http.HandlerFunc(answerLikeEngine))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return port
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func answerLikeEngine(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Api-Version", "1.41")
	w.Header().Set("Ostype", "linux")
	_, _ = io.WriteString(w, "OK")
}

// TestSecure meets an engine that listens with TLS, with all that can be wrong about certificates.
func TestSecure(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	later := time.Now().Add(time.Hour)
	var none *authority
	good := none.sign(t, in("good"), "ca", "ca-key", later)
	good.sign(t, in("good"), "cert", "key", later)
	none.sign(t, in("other"), "ca", "ca-key", later).sign(t, in("other"), "cert", "key", later)
	old := read(t, in("good/ca.pem"))
	for _, name := range []string{"bare", "old", "stranger", "half"} {
		put(t, in(name), "ca.pem", old)
	}
	good.sign(t, in("old"), "cert", "key", time.Now().Add(-time.Hour))
	put(t, in("stranger"), "cert.pem", read(t, in("other/cert.pem")))
	put(t, in("stranger"), "key.pem", read(t, in("other/key.pem")))
	put(t, in("half"), "cert.pem", read(t, in("good/cert.pem")))
	put(t, in("torn"), "ca.pem", "no certificate")
	port := secured(t, in("good"), good)
	plain := httptest.NewServer(http.HandlerFunc(answerLikeEngine))
	t.Cleanup(plain.Close)
	for _, tt := range []struct{ host, certs, want string }{
		{"tcp://127.0.0.1:" + port, "good", ""},
		{"tcp://127.0.0.1:" + port, "other", "signed by no authority in " + in("other/ca.pem")},
		{"tcp://127.0.0.1:" + port, "stranger", "it does not take the certificate " + in("stranger/cert.pem")},
		{"tcp://127.0.0.1:" + port, "old", "cert.pem, which expired on "},
		{"tcp://127.0.0.1:" + port, "bare", "it asks for a certificate"},
		{"tcp://127.0.0.1:" + port, "half", "half/key.pem: no such file or directory; ca.pem, cert.pem and key.pem"},
		{"tcp://127.0.0.1:" + port, "torn", "holds no certificate"},
		{"tcp://127.0.0.1:" + port, "nowhere", "nowhere/ca.pem: no such file or directory; ca.pem"},
		{"tcp://127.0.0.1:" + port, "", "it speaks TLS alone; set DOCKER_TLS_VERIFY=1"},
		{"tcp://localhost:" + port, "good", "its certificate does not serve: "},
		{"tcp://" + plain.Listener.Addr().String(), "good", "it speaks no TLS; unset"},
		{"unix://" + in("none"), "good", "there is no such socket"},
	} {
		vars := []string{"DOCKER_HOST=" + tt.host}
		if tt.certs != "" {
			vars = append(vars, "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH="+in(tt.certs))
		}
		err := New(Options{Engine: Docker, Getenv: env(vars...)}).Available(t.Context())
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s with %q: %v", tt.host, tt.certs, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s with %q: %v; want one line with %q", tt.host, tt.certs, err, tt.want)
		}
	}
}

func TestContexts(t *testing.T) {
	home := t.TempDir()
	for name, meta := range map[string]string{"far": `{"Name":"far","Endpoints":{"docker":{"Host":"udp://me@far"}}}`, "empty": `{"Name":"empty"}`, "torn": "{"} {
		put(t, home, "contexts/meta/"+contextID(name)+"/meta.json", meta)
	}
	for name, want := range map[string]string{
		"none":  `docker context "none": there is no such context; there are default, empty, far`,
		"far":   `docker context "far": engine address "udp://me@far": allowed are`,
		"empty": `docker context "empty": it names no engine`,
		"torn":  `docker context "torn": read `,
	} {
		_, err := find(Docker, env("DOCKER_CONFIG="+home, "DOCKER_CONTEXT="+name))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}
