package e2e

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kwokctl/internal/pki"
	"kwokctl/runtimes/docker"
)

// far is an address that counts as that of another machine: of the loopback addresses, only 127.0.0.1 is this one.
const far = "127.0.0.2"

// gate lets whoever has a certificate of the right authority in to an engine, over TCP, until the tests end: what a
// failed one leaves is deleted by this way. It makes a directory for DOCKER_CERT_PATH.
func (w *world) gate() (host, certs string) {
	t := w.t
	t.Helper()
	made, err := pki.Make(pki.Spec{Hosts: map[string][]string{"kube-apiserver": {far}}}, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if certs, err = os.MkdirTemp(w.home, "certs-"); err != nil {
		t.Fatal(err)
	}
	for name, of := range map[string]string{"ca.pem": "ca.crt", "cert.pem": "admin.crt", "key.pem": "admin.key"} {
		if err := os.WriteFile(filepath.Join(certs, name), made[of], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(made["kube-apiserver.crt"], made["kube-apiserver.key"])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(made["ca.crt"])
	l, err := tls.Listen("tcp", net.JoinHostPort(far, "0"), &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})
	if err != nil {
		t.Skipf("%v: this system has no second loopback address", err)
	}
	go w.serve(l)
	return "tcp://" + l.Addr().String(), certs
}

// serve joins each connection to a listener with one to the socket of the engine.
func (w *world) serve(l net.Listener) {
	socket := strings.TrimPrefix(engineSocket(w.runtime), "unix://")
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		go letIn(from, socket)
	}
}

// letIn joins a connection with one to a socket. One side of what an exec says ends before the other.
func letIn(from net.Conn, socket string) {
	defer from.Close()
	if secure, ok := from.(*tls.Conn); ok && secure.HandshakeContext(context.Background()) != nil {
		return // the caller has been told
	}
	to, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer to.Close()
	back := make(chan struct{})
	go func() {
		halfPass(from, to)
		close(back)
	}()
	halfPass(to, from)
	<-back
}

// halfPass copies one way, and hands on that there is no more.
func halfPass(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// onAllAddresses writes a configuration by which ports are published on all addresses of the engine's machine.
func (w *world) onAllAddresses() (path string) {
	w.t.Helper()
	path = filepath.Join(w.home, "all.yaml")
	if err := os.WriteFile(path, []byte(configHead+"options:\n  bindAddress: 0.0.0.0\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// context writes a context of the docker command; certs may be "".
func (w *world) context(name, host, certs string) {
	w.t.Helper()
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	all := map[string]string{filepath.Join("meta", id, "meta.json"): fmt.Sprintf(`{"Name":%q,"Endpoints":{"docker":{"Host":%q}}}`, name, host)}
	for _, file := range []string{"ca.pem", "cert.pem", "key.pem"} {
		if certs == "" {
			break
		}
		all[filepath.Join("tls", id, "docker", file)] = read(filepath.Join(certs, file))
	}
	for path, text := range all {
		path = filepath.Join(w.home, ".docker", "contexts", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestRemoteEngine uses an engine that listens on TCP with TLS, on what counts as another machine: by the environment
// and by a context.
func TestRemoteEngine(t *testing.T) { on(t, testRemoteEngine, docker.Docker) }

func testRemoteEngine(t *testing.T, w *world) {
	host, certs := w.gate()
	config := w.onAllAddresses()
	own := w.env
	w.env = append(own, "DOCKER_HOST="+host, "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH="+certs)
	w.create("remote", "--config", config)
	w.env = append(own, "DOCKER_HOST=unix:///none") // the cluster remembers
	w.ready("remote")
	for _, text := range []string{w.ok("get", "kubeconfig", "--name", "remote"), read(w.kubeconfig()), w.ok("get", "clusters", "-o", "wide")} {
		if !strings.Contains(text, "https://"+far+":") || strings.Contains(text, "tls-server-name") {
			t.Errorf("the API server is not at %s, or its certificate is not for that:\n%s", far, text)
		}
	}
	w.ok("scale", "node", "--replicas", "3", "--name", "remote")
	saved := filepath.Join(w.home, "remote.snap")
	w.ok("snapshot", "save", "--name", "remote", "--path", saved)
	w.kubectl("remote", "delete", "node", "--all")
	w.ok("snapshot", "restore", "--name", "remote", "--path", saved)
	if got := w.kubectl("remote", "get", "nodes", "-o", "name"); len(strings.Fields(got)) != 3 {
		t.Errorf("nodes: %q", got)
	}
	if got := w.ok("--name", "remote", "etcdctl", "get", "/registry/namespaces/default", "--keys-only"); !strings.Contains(got, "default") {
		t.Errorf("etcdctl: %q", got)
	}
	if got := w.ok("logs", "kube-apiserver", "--name", "remote"); got == "" {
		t.Error("no logs")
	}
	w.ok("delete", "cluster", "--name", "remote")
	w.gone("remote")

	w.context("far", host, certs)
	w.env = append(own, "DOCKER_HOST=", "DOCKER_CONTEXT=far")
	w.create("context", "--config", config)
	w.ready("context")
	w.ok("delete", "cluster", "--name", "context")
	w.gone("context")
}

// TestRemotePodman is that for podman, which has no TLS. Its ports on all addresses lead to components too.
func TestRemotePodman(t *testing.T) { on(t, testRemotePodman, docker.Podman) }

func testRemotePodman(t *testing.T, w *world) {
	l, err := net.Listen("tcp", net.JoinHostPort(far, "0"))
	if err != nil {
		t.Skipf("%v: this system has no second loopback address", err)
	}
	go w.serve(l)
	w.env = append(w.env, "CONTAINER_HOST=tcp://"+l.Addr().String())
	w.create("remote", "--config", w.onAllAddresses())
	w.ready("remote")
	if got := w.ok("get", "clusters", "-o", "wide"); !strings.Contains(got, "https://"+far+":") {
		t.Errorf("the API server is not at %s:\n%s", far, got)
	}
	w.ok("scale", "node", "--replicas", "3", "--name", "remote")
	w.ok("delete", "cluster", "--name", "remote")
	w.gone("remote")
}

// TestEngineOutOfReach creates where it cannot work. Each time one line says why, and nothing is left.
func TestEngineOutOfReach(t *testing.T) { on(t, testEngineOutOfReach, docker.Docker) }

func testEngineOutOfReach(t *testing.T, w *world) {
	host, certs := w.gate()
	_, others := w.gate()
	own := w.env
	for words, env := range map[string][]string{
		"signed by no authority in " + others + "/ca.pem": {"DOCKER_HOST=" + host, "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH=" + others},
		"does not take the certificate " + others:         {"DOCKER_HOST=" + host, "DOCKER_CERT_PATH=" + others},
		`context "none": there is no such context`:        {"DOCKER_HOST=", "DOCKER_CONTEXT=none"},
		`address "udp://me@far": allowed are unix://`:     {"DOCKER_HOST=udp://me@far"},
	} {
		w.env = append(own, env...)
		w.oneLine(words, w.run("create", "cluster", "--name", "out"), words)
		w.gone("out")
	}
	// Its ports are published, but where nobody can come.
	w.env = append(own, "DOCKER_HOST="+host, "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH="+certs)
	r := w.run("create", "cluster", "--name", "out")
	if r.code != 1 || !strings.Contains(r.stderr, "no way to it from here: https://"+far) || r.took > time.Minute {
		t.Errorf("exit status %d after %s: %s", r.code, r.took, r.stderr)
	}
	w.gone("out")
}
