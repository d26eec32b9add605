package kubelet

import (
	"bytes"
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
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/utils/exec"

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
		w := &answer{header: http.Header{}}
		mux.ServeHTTP(w, r)
		if w.code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", path, w.code)
		}
	}
}

type answer struct {
	bytes.Buffer
	header http.Header
	code   int
}

func (a *answer) Header() http.Header  { return a.header }
func (a *answer) WriteHeader(code int) { a.code = code }

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

const execRules = `
kind: ClusterExec
metadata: {name: e}
spec:
  execs:
  - local: {workDir: DIR, envs: [{name: PATH, value: /bin:/usr/bin}, {name: MARK, value: here}]}
  - {containers: [none]}
`

// stream runs a command, or attaches, by SPDY or by websocket as kubectl does.
func (n *nodes) stream(ctx context.Context, t *testing.T, websocket bool, path string, query url.Values, o remotecommand.StreamOptions) error {
	t.Helper()
	for name, on := range map[string]bool{"input": o.Stdin != nil, "output": o.Stdout != nil, "error": o.Stderr != nil, "tty": o.Tty} {
		if on {
			query.Set(name, "1")
		}
	}
	u := &url.URL{Scheme: "https", Host: n.addr, Path: path, RawQuery: query.Encode()}
	var run remotecommand.Executor
	var err error
	if websocket {
		run, err = remotecommand.NewWebSocketExecutorForProtocols(n.as(apiServer), http.MethodGet, u.String(), "v4.channel.k8s.io")
	} else {
		run, err = remotecommand.NewSPDYExecutor(n.as(apiServer), http.MethodPost, u)
	}
	if err != nil {
		t.Fatal(err)
	}
	return run.StreamWithContext(ctx, o)
}

func TestExec(t *testing.T) {
	t.Setenv("SECRET", "of ours")
	n := serve(t, execRules)
	for _, websocket := range []bool{false, true} {
		for _, c := range []struct {
			command   string
			in        string
			tty       bool
			code      int
			out, errs string
		}{
			{command: "env | sort", out: "MARK=here\nPATH=/bin:/usr/bin\nPWD=" + n.dir + "\n"},
			{command: "echo to stderr >&2; exit 7", code: 7, errs: "to stderr\n"},
			{command: "cat; echo end", in: "input\n", out: "input\nend\n"},
			{command: "kill -9 $$", code: 137},
			{command: "test -t 0 && echo terminal", tty: true, out: "terminal\r\n"},
		} {
			if websocket && c.in != "" {
				continue // version 4 of that protocol cannot say that the input has ended
			}
			var out, errs bytes.Buffer
			o := remotecommand.StreamOptions{Stdout: &out, Tty: c.tty}
			if !c.tty {
				o.Stderr = &errs
			}
			if c.in != "" {
				o.Stdin = strings.NewReader(c.in)
			}
			err := n.stream(t.Context(), t, websocket, "/exec/default/p/c", url.Values{"command": {"sh", "-c", c.command}}, o)
			code := 0
			var ended utilexec.ExitError
			if errors.As(err, &ended) {
				code, err = ended.ExitStatus(), nil
			}
			if got := strings.ReplaceAll(out.String(), "_=/usr/bin/env\n", ""); err != nil || code != c.code || got != c.out || errs.String() != c.errs {
				t.Errorf("%q (websocket %v): %v, code %d, %q, %q", c.command, websocket, err, code, got, errs.String())
			}
		}
	}
	err := n.stream(t.Context(), t, false, "/exec/default/p/c", url.Values{"command": {"no-such-program"}}, remotecommand.StreamOptions{Stdout: io.Discard})
	if err == nil || !strings.Contains(err.Error(), `"no-such-program": executable file not found`) {
		t.Errorf("no such program: %v", err)
	}
	err = n.stream(t.Context(), t, false, "/exec/default/p/none", url.Values{"command": {"env"}}, remotecommand.StreamOptions{Stdout: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "no Exec or ClusterExec is for container none of pod default/p") {
		t.Errorf("no rule: %v", err)
	}
}

// TestExecResize changes the size of a terminal.
func TestExecResize(t *testing.T) {
	t.Parallel()
	n := serve(t, execRules)
	size := make(sizes, 1)
	size <- remotecommand.TerminalSize{Width: 123, Height: 45}
	defer close(size)
	var out bytes.Buffer
	err := n.stream(t.Context(), t, false, "/exec/default/p/c", url.Values{"command": {"sh", "-c", `until stty size | grep 123; do sleep 0.01; done`}},
		remotecommand.StreamOptions{Stdin: strings.NewReader(""), Stdout: &out, Tty: true, TerminalSizeQueue: size})
	if err != nil || !strings.Contains(out.String(), "45 123") {
		t.Errorf("%v: %q", err, out.String())
	}
}

type sizes chan remotecommand.TerminalSize

func (s sizes) Next() *remotecommand.TerminalSize {
	size, ok := <-s
	if !ok {
		return nil
	}
	return &size
}

// TestExecKilled ends the client: the command goes, and what it has started in the background too.
func TestExecKilled(t *testing.T) {
	t.Parallel()
	n := serve(t, execRules)
	for _, tty := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		read, out := io.Pipe()
		done := make(chan error, 1)
		go func() {
			done <- n.stream(ctx, t, false, "/exec/default/p/c", url.Values{"command": {"sh", "-c", "sleep 100 & echo $!; echo $$; wait"}},
				remotecommand.StreamOptions{Stdout: out, Tty: tty})
		}()
		var child, parent int
		if _, err := fmt.Fscan(read, &child, &parent); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, read) }()
		cancel()
		<-done
		for _, pid := range []int{child, parent} {
			if !gone(pid) {
				t.Errorf("tty %v: process %d is alive", tty, pid)
			}
		}
	}
}

// gone waits until a process is no more, or nothing but waited for.
func gone(pid int) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return true
		}
	}
	return false
}

func TestAttach(t *testing.T) {
	t.Parallel()
	n := serve(t, "{kind: Attach, metadata: {name: p}, spec: {attaches: [{logsFile: DIR/log}]}}")
	log := filepath.Join(n.dir, "log")
	write(t, log, "2026-01-01T00:00:00Z stdout F before\n")
	read, out := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- n.stream(ctx, t, true, "/attach/default/p/c", url.Values{}, remotecommand.StreamOptions{Stdout: out, Stderr: io.Discard})
	}()
	stop := make(chan struct{})
	go func() { // when the client listens cannot be seen from here
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				write(t, log, fmt.Sprintf("2026-01-01T00:00:00Z stderr F not this\n2026-01-01T00:00:01Z stdout F after %d\n", i))
			}
		}
	}()
	line := make([]byte, 6)
	if _, err := io.ReadFull(read, line); err != nil || string(line) != "after " {
		t.Errorf("%q, %v", line, err)
	}
	close(stop)
	go func() { _, _ = io.Copy(io.Discard, read) }()
	cancel()
	<-done
}

func TestPortForward(t *testing.T) {
	t.Parallel()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "from the target: ")
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	port := echo.Addr().(*net.TCPAddr).Port
	n := serve(t, fmt.Sprintf(`
kind: ClusterPortForward
metadata: {name: f}
spec:
  forwards:
  - {ports: [80], target: {address: 127.0.0.1, port: %d}}
  - {ports: [81], command: [tr, a-z, A-Z]}
`, port))
	round, upgrader, err := spdy.RoundTripperFor(n.as(apiServer))
	if err != nil {
		t.Fatal(err)
	}
	dial := spdy.NewDialer(upgrader, &http.Client{Transport: round}, http.MethodPost, &url.URL{Scheme: "https", Host: n.addr, Path: "/portForward/default/p"})
	stop, ready := make(chan struct{}), make(chan struct{})
	f, err := portforward.NewOnAddresses(dial, []string{"127.0.0.1"}, []string{"0:80", "0:81"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	ports, err := f.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"from the target: hello", "HELLO"} {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[i].Local))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "hello")
		_ = conn.(*net.TCPConn).CloseWrite()
		got, _ := io.ReadAll(conn)
		if string(got) != want {
			t.Errorf("port %d: %q, want %q", ports[i].Remote, got, want)
		}
		_ = conn.Close()
	}
	close(stop)
	<-done
	err = (&forwarder{target{namespace: "default", pod: "p"}, n.rules}).PortForward(t.Context(), "", "", 82, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "port 82: no PortForward or ClusterPortForward is for pod default/p") {
		t.Errorf("a port without a rule: %v", err)
	}
}

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
