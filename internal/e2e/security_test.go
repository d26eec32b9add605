package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestListeners looks at every socket that the processes of a cluster listen on.
func TestListeners(t *testing.T) { inProcessesAndContainers(t, testListeners) }

func testListeners(t *testing.T, w *world) {
	var flags []string
	if w.runtime != "" { // where only what is asked for is published
		flags = []string{"--kube-scheduler-port", freePort(t), "--kube-controller-manager-port", freePort(t), "--controller-port", freePort(t)}
	}
	w.create("closed", flags...)
	want := map[string][]string{"etcd": nil, "supervise": nil}
	for component, port := range w.ports("closed") {
		want[component] = []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	}
	for name, pid := range w.pids("closed") {
		if got := listeners(t, pid); !slices.Equal(got, want[name]) {
			t.Errorf("%s listens on %q, want %q", name, got, want[name])
		}
	}
	for _, thing := range w.thingsOf("closed") {
		for _, port := range thing.Ports {
			if port.PublicPort != 0 && port.IP != "127.0.0.1" {
				t.Errorf("%s is published on %s", thing.Names, port.IP)
			}
		}
	}
	if got := w.ports("closed"); len(got) != 4 {
		t.Errorf("ports: %v", got)
	}
	for component, port := range w.ports("closed") {
		old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		if conn, err := tls.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), old); err == nil {
			conn.Close()
			t.Errorf("%s speaks TLS 1.1", component)
		}
	}
	anybody := w.visitor("closed", "ca", "")
	for component, paths := range map[string]map[string][]int{
		"kube-scheduler":          {"/healthz": {200}, "/metrics": {200}, "/configz": {401, 403}, "/debug/pprof/": {401, 403}},
		"kube-controller-manager": {"/healthz": {200}, "/metrics": {200}, "/configz": {401, 403}, "/debug/pprof/": {401, 403}},
		"kwok-controller":         {"/containerLogs/default/p/c": {401}, "/exec/default/p/c?command=id&output=1": {401}, "/portForward/default/p": {401}, "/metrics": {401}},
		"kube-apiserver":          {"/livez": {200}, "/version": {200}, "/metrics": {401, 403}, "/api/v1/nodes": {401, 403}},
	} {
		for path, codes := range paths {
			url := fmt.Sprintf("https://127.0.0.1:%d%s", w.ports("closed")[component], path)
			if code, body, err := call(anybody, http.MethodGet, url, ""); err != nil || !slices.Contains(codes, code) {
				t.Errorf("%s without credentials: status %d, want %v: %v %.200s", url, code, codes, err, body)
			}
		}
	}
}

// TestEtcdPort opens etcd to TCP: only with a certificate of its own authority.
func TestEtcdPort(t *testing.T) { inProcessesAndContainers(t, testEtcdPort) }

func testEtcdPort(t *testing.T, w *world) {
	l, port := occupy(t, 0)
	l.Close()
	w.create("tcp", "--etcd-port", strconv.Itoa(port))
	if got, want := listeners(t, w.pids("tcp")["etcd"]), []string{fmt.Sprintf("127.0.0.1:%d", port)}; w.runtime == "" && !slices.Equal(got, want) {
		t.Errorf("etcd listens on %q, want %q", got, want)
	}
	if code, body, err := call(http.DefaultClient, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/version", port), ""); err == nil && code < 400 {
		t.Errorf("plain HTTP: status %d: %s", code, body)
	}
	url := fmt.Sprintf("https://127.0.0.1:%d/version", port)
	for _, cert := range []string{"", "admin", "kube-scheduler", "kube-apiserver", "apiserver-kubelet-client", "front-proxy-client"} {
		if code, body, err := call(w.visitor("tcp", "etcd-ca", cert), http.MethodGet, url, ""); err == nil {
			t.Errorf("with certificate %q: status %d: %s", cert, code, body)
		}
	}
	code, body, err := call(w.visitor("tcp", "etcd-ca", "apiserver-etcd-client"), http.MethodGet, url, "")
	if err != nil || code != http.StatusOK || !strings.Contains(body, "etcdserver") {
		t.Errorf("with the API server's certificate: status %d: %s, %v", code, body, err)
	}
	pki := filepath.Join(w.cluster("tcp"), "pki")
	if err := os.Symlink(self(t), filepath.Join(w.home, "etcdctl")); err != nil {
		t.Fatal(err)
	}
	r := w.shell(fmt.Sprintf("./etcdctl --endpoints https://127.0.0.1:%d --cacert %[2]s/etcd-ca.crt --cert %[2]s/apiserver-etcd-client.crt --key %[2]s/apiserver-etcd-client.key endpoint health", port, pki))
	if !strings.Contains(r.stdout+r.stderr, "is healthy") {
		t.Errorf("etcdctl endpoint health: %+v", r)
	}
	w.ok("stop", "cluster", "--name", "tcp")
	w.ok("start", "cluster", "--name", "tcp", "--wait", "60s")
	w.ready("tcp")
}

// private fails the test for each file that others could read, and each directory that they could enter.
func private(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // etcd replaces its files
		}
		info, err := d.Info()
		if err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return nil
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode()&fs.ModeSocket != 0 && info.Mode().Perm()&0o077 == 0 {
			return nil
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s: mode %s, want %s", path, info.Mode(), want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestModes creates clusters under open umasks, and opens files up by hand.
func TestModes(t *testing.T) {
	t.Parallel()
	for _, umask := range []string{"000", "022"} {
		t.Run(umask, func(t *testing.T) {
			w := newWorld(t)
			if r := w.shell("umask " + umask + "; exec ./kwokctl create cluster --name modes --wait 120s"); r.code != 0 {
				t.Fatalf("create: exit status %d: %s", r.code, r.stderr)
			}
			w.ok("scale", "node", "--replicas", "3", "--name", "modes")
			private(t, w.dir)
			if info, err := os.Stat(w.kubeconfig()); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the kubeconfig file: %v, %v", info, err)
			}
			w.ok("stop", "cluster", "--name", "modes")
			private(t, w.dir)
			opened := []string{"pki/ca.key", "kubeconfig.yaml", "logs", "logs/etcd.log"}
			for _, name := range opened {
				if err := os.Chmod(filepath.Join(w.cluster("modes"), name), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			r := w.shell("umask " + umask + "; exec ./kwokctl start cluster --name modes")
			if r.code != 0 {
				t.Errorf("start: exit status %d: %s", r.code, r.stderr)
			}
			for _, name := range opened {
				if !strings.Contains(r.stderr, filepath.Join(w.cluster("modes"), name)) {
					t.Errorf("start says nothing about %s: %s", name, r.stderr)
				}
				if info, err := os.Stat(filepath.Join(w.cluster("modes"), name)); err != nil || info.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s after start: %v, %v", name, info.Mode(), err)
				}
			}
		})
	}
}

// TestIdentities shows each certificate to the API server. None is let in further than it must be.
func TestIdentities(t *testing.T) { inProcessesAndContainers(t, testIdentities) }

func testIdentities(t *testing.T, w *world) {
	w.create("who")
	server := w.server("who")
	const binding = `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding","metadata":{"name":"mine"},
		"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"cluster-admin"},"subjects":[]}`
	const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"mine"},"spec":{"containers":[{"name":"c","image":"i"}]}}`
	const bindings = "POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
	for _, tt := range []struct {
		cert, request, body string
		want                []int
	}{
		{"admin", "GET /api/v1/namespaces/kube-system/secrets", "", []int{200}},
		{"kube-scheduler", "GET /api/v1/nodes", "", []int{200}},
		{"kube-scheduler", "GET /api/v1/namespaces/kube-system/secrets", "", []int{403}},
		{"kube-scheduler", "GET /api/v1/secrets", "", []int{403}},
		{"kube-scheduler", bindings, binding, []int{403}},
		{"kube-scheduler", "POST /api/v1/namespaces/default/pods", pod, []int{403}},
		{"kube-controller-manager", bindings, binding, []int{403}},
		{"kube-controller-manager", "POST /api/v1/namespaces/default/pods", pod, []int{403}},
		{"kwok-controller", "GET /api/v1/pods", "", []int{200}},
		{"kwok-controller", "GET /api/v1/secrets", "", []int{403}},
		{"kwok-controller", "GET /api/v1/namespaces/kube-system/configmaps", "", []int{403}},
		{"kwok-controller", "POST /api/v1/namespaces/default/pods", pod, []int{403}},
		{"kwok-controller", bindings, binding, []int{403}},
		{"apiserver-kubelet-client", "GET /api/v1/secrets", "", []int{403}},
		// Certificates of servers and of other authorities are nobody's.
		{"kube-scheduler-serving", "GET /api/v1/nodes", "", []int{401}},
		{"kube-apiserver", "GET /api/v1/nodes", "", []int{401}},
		{"apiserver-etcd-client", "GET /api/v1/nodes", "", []int{401}},
		{"etcd-server", "GET /api/v1/nodes", "", []int{401}},
		{"front-proxy-client", "GET /api/v1/nodes", "", []int{401, 403}},
		{"", "GET /api/v1/nodes", "", []int{401, 403}},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		code, body, err := call(w.visitor("who", "ca", tt.cert), method, server+path, tt.body)
		if err != nil || !slices.Contains(tt.want, code) {
			t.Errorf("%s with certificate %q: status %d, want %v: %v %.300s", tt.request, tt.cert, code, tt.want, err, body)
		}
	}
	root := []string{"X-Remote-User", "root", "X-Remote-Group", "system:masters"}
	if code, _, err := call(w.visitor("who", "ca", "kube-scheduler"), http.MethodGet, server+"/api/v1/secrets", "", root...); err != nil || code != 403 {
		t.Errorf("the scheduler, saying that it speaks for root: status %d, want 403: %v", code, err)
	}
	for cert, want := range map[string]string{
		"admin": "kwok-admin", "kube-scheduler": "system:kube-scheduler", "kube-controller-manager": "system:kube-controller-manager", "kwok-controller": "kwok-controller",
	} {
		const review = `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`
		_, body, err := call(w.visitor("who", "ca", cert), http.MethodPost, server+"/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
		var who struct {
			Status struct{ UserInfo struct{ Username string } }
		}
		if err != nil || json.Unmarshal([]byte(body), &who) != nil || who.Status.UserInfo.Username != want {
			t.Errorf("user of certificate %s: %q, want %q: %v", cert, who.Status.UserInfo.Username, want, err)
		}
	}
}

// TestKeys finds no key that has two uses.
func TestKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("keys", "--components", "etcd,kube-apiserver")
	dir := filepath.Join(w.cluster("keys"), "pki")
	owner := map[string]string{}
	names, _ := filepath.Glob(filepath.Join(dir, "*.crt"))
	for _, path := range append(names, filepath.Join(dir, "sa.pub")) {
		block, _ := pem.Decode([]byte(read(path)))
		if block == nil {
			t.Fatalf("%s holds no PEM", path)
		}
		key := block.Bytes
		if filepath.Ext(path) == ".crt" {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			key = cert.RawSubjectPublicKeyInfo
		}
		if name := filepath.Base(path); owner[string(key)] != "" {
			t.Errorf("%s and %s have the same key", owner[string(key)], name)
		} else {
			owner[string(key)] = name
		}
	}
	if len(owner) < 15 {
		t.Errorf("only %d keys", len(owner))
	}
}

// TestSecrets looks for secrets on command lines, in environments, and in files where none belong.
func TestSecrets(t *testing.T) { inProcessesAndContainers(t, testSecrets) }

func testSecrets(t *testing.T, w *world) {
	const marker = "hunter2-never-to-be-seen"
	w.env = append(w.env, "SECRET_TOKEN="+marker)
	w.create("secret", "-v", "DEBUG")
	token := strings.TrimSpace(w.kubectl("secret", "create", "token", "default"))
	pids := slices.Collect(maps.Keys(w.processes()))
	for _, c := range w.components("secret") {
		pids = append(pids, c.PID) // those in containers have a working directory of their own
	}
	for _, pid := range pids {
		environ, args := read(fmt.Sprintf("/proc/%d/environ", pid)), read(fmt.Sprintf("/proc/%d/cmdline", pid))
		if args == "" {
			t.Errorf("process %d cannot be looked at", pid)
		}
		if strings.Contains(environ, marker) || strings.Contains(environ, "SECRET_TOKEN") {
			t.Errorf("the environment of %.60s has the user's token", args)
		}
		for _, word := range []string{marker, "PRIVATE", "password", "token=", "eyJhbGciOi"} {
			if strings.Contains(args, word) {
				t.Errorf("command line with %q: %s", word, args)
			}
		}
	}
	texts := map[string]string{} // by path; logs may be elsewhere than in files
	for name := range w.components("secret") {
		texts[filepath.Join("logs", name)] = w.ok("logs", name, "--name", "secret")
	}
	w.ok("stop", "cluster", "--name", "secret")
	key := strings.Split(read(filepath.Join(w.cluster("secret"), "pki", "admin.key")), "\n")[1]
	inBase64 := base64.StdEncoding.EncodeToString([]byte("-----BEGIN EC PRIVATE KEY"))[:20]
	for name, what := range tree(w.dir) {
		if strings.HasPrefix(what, "-") { // a regular file, not a link to the binary or a socket
			texts[name] = read(filepath.Join(w.dir, name))
		}
	}
	for name, text := range texts {
		if strings.Contains(text, "PRIVATE KEY") && filepath.Base(filepath.Dir(name)) != "pki" {
			t.Errorf("%s holds a private key", name)
		}
		if strings.Contains(text, marker) {
			t.Errorf("%s holds the user's token", name)
		}
		if filepath.Base(filepath.Dir(name)) != "logs" {
			continue
		}
		for what, word := range map[string]string{"the administrator's key": key, "a key": inBase64, "a token": token, "some token": "eyJhbGciOi"} {
			if strings.Contains(text, word) {
				t.Errorf("%s holds %s", name, what)
			}
		}
	}
}
