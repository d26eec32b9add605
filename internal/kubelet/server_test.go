package kubelet

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"

	"kwokctl/internal/api"
	"kwokctl/internal/kube"
	"kwokctl/internal/pki"
)

// reviews stands for the API server: it knows one token, and lets in whom pki made for the API server, and the owner
// of the token for metrics alone.
type reviews struct{}

func (reviews) Do(_ context.Context, r kube.Request) ([]byte, error) {
	switch r.Path {
	case "/apis/authentication.k8s.io/v1/tokenreviews":
		var t authentication.TokenReview
		if err := json.Unmarshal(r.Body, &t); err != nil {
			return nil, err
		}
		if t.Spec.Token == "broken" {
			return nil, errors.New("the API server is away")
		}
		t.Status = authentication.TokenReviewStatus{Authenticated: t.Spec.Token == "good", User: authentication.UserInfo{Username: "scraper"}}
		return json.Marshal(t)
	case "/apis/authorization.k8s.io/v1/subjectaccessreviews":
		var s authorization.SubjectAccessReview
		if err := json.Unmarshal(r.Body, &s); err != nil {
			return nil, err
		}
		part := s.Spec.ResourceAttributes.Subresource
		s.Status.Allowed = s.Spec.User == "kube-apiserver-kubelet-client" || s.Spec.User == "scraper" && part == "metrics"
		return json.Marshal(s)
	}
	return nil, fmt.Errorf("no such path %s", r.Path)
}

// nodes is a server as the controller has it, and what its callers need.
type nodes struct {
	addr  string
	certs map[string][]byte // of the cluster
	rules *Rules
	dir   string
}

func serve(t *testing.T, objects string) *nodes {
	t.Helper()
	n := &nodes{rules: &Rules{}, dir: t.TempDir()}
	var err error
	if n.certs, err = pki.Make(pki.Spec{}, time.Now(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	objs, err := api.Load(strings.NewReader(strings.ReplaceAll(objects, "DIR", n.dir)), "objects")
	if err != nil {
		t.Fatal(err)
	}
	n.rules.SetFiles(objs)
	cert, err := tls.X509KeyPair(n.certs["kwok-controller-serving.crt"], n.certs["kwok-controller-serving.key"])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(n.certs["ca.crt"])
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.addr = ln.Addr().String()
	log := slog.New(slog.DiscardHandler)
	plain, mux := http.NewServeMux(), http.NewServeMux()
	plain.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	mux.HandleFunc("/metrics/x", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "metrics") })
	(&Server{Rules: n.rules, Log: log}).Register(mux)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, ln, plain, &cert, (&Guard{API: reviews{}, CAs: pool, Log: log}).Protect(mux), log)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return n
}

// as is how a component of the cluster calls, or a stranger for the empty name.
func (n *nodes) as(name string) *rest.Config {
	c := &rest.Config{Host: "https://" + n.addr, TLSClientConfig: rest.TLSClientConfig{CAData: n.certs["ca.crt"]}}
	if name != "" {
		c.CertData, c.KeyData = n.certs[name+".crt"], n.certs[name+".key"]
	}
	return c
}

// get asks for a path.
func (n *nodes) get(t *testing.T, c *rest.Config, path string) (int, string) {
	t.Helper()
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	resp, err := client.Get(c.Host + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

const apiServer = "apiserver-kubelet-client"

func TestGuard(t *testing.T) {
	t.Parallel()
	n := serve(t, "{kind: ClusterLogs, metadata: {name: l}, spec: {logs: [{logsFile: DIR/log}]}}")
	write(t, filepath.Join(n.dir, "log"), "2026-01-01T00:00:00Z stdout F hello\n")
	with := func(token string) *rest.Config {
		c := n.as("")
		c.BearerToken = token
		return c
	}
	other := serve(t, "{kind: ClusterLogs, metadata: {name: l}, spec: {logs: []}}")
	foreign := other.as(apiServer)
	foreign.Host, foreign.CAData = n.as("").Host, n.certs["ca.crt"]
	both := other.as(apiServer)
	both.Host, both.CAData, both.BearerToken = foreign.Host, foreign.CAData, "good"
	plain := &rest.Config{Host: "http://" + n.addr}
	const logs = "/containerLogs/default/p/c"
	for _, c := range []struct {
		name string
		as   *rest.Config
		path string
		code int
		text string
	}{
		{"API server", n.as(apiServer), logs, 200, "hello\n"},
		{"no certificate", n.as(""), logs, 401, "want a client certificate or a bearer token"},
		{"foreign certificate", foreign, logs, 401, "unknown authority"},
		{"another user", n.as("kube-scheduler"), logs, 403, `user "system:kube-scheduler" may not get nodes/proxy`},
		{"a certificate of a server", n.as("kube-apiserver"), logs, 401, "incompatible key usage"},
		{"unknown token", with("bad"), logs, 401, "does not know the token"},
		{"a token with other rights", with("good"), logs, 403, `user "scraper" may not get nodes/proxy`},
		{"a token with the right", with("good"), "/metrics/x", 200, "metrics"},
		{"a foreign certificate and a good token", both, "/metrics/x", 200, "metrics"},
		{"API server away", with("broken"), "/metrics/x", 503, "is away"},
		{"plain HTTP", plain, logs, 404, ""},
		{"health", plain, "/healthz", 200, "ok"},
		{"other paths", n.as(apiServer), "/run/default/p/c", 404, ""},
	} {
		if code, text := n.get(t, c.as, c.path); code != c.code || !strings.Contains(text, c.text) {
			t.Errorf("%s: %d %q, want %d %q", c.name, code, text, c.code, c.text)
		}
	}
}

func TestOff(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	(&Server{Rules: &Rules{}, Off: true}).Register(mux)
	for _, path := range []string{"/containerLogs/n/p/c", "/exec/n/p/c", "/attach/n/p/c", "/portForward/n/p"} {
		r, err := http.NewRequest(http.MethodGet, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, pattern := mux.Handler(r); pattern == "" {
			t.Errorf("%s: no handler", path)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
