package applet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// stockName is what the test binary is called by to be the API server as Kubernetes ships it.
const stockName = "stock-kube-apiserver"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == stockName {
		os.Exit(cli.Run(app.NewAPIServerCommand()))
	}
	if run, ok := Called(os.Args[0]); ok {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

// TestBootstrapIsStock compares every object that our faster start makes with what a stock API server makes, and
// the OpenAPI documents that ours builds late with the stock ones.
func TestBootstrapIsStock(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two API servers")
	}
	stock, ours := startServer(t, stockName), startServer(t, "kube-apiserver")
	for _, kind := range []string{"clusterroles", "clusterrolebindings", "roles", "rolebindings", "priorityclasses", "namespaces", "flowschemas", "prioritylevelconfigurations"} {
		want, got := objects(t, stock, kind), objects(t, ours, kind)
		if len(want) == 0 {
			t.Errorf("%s: the stock server made none", kind)
		}
		for name := range want {
			if got[name] != want[name] {
				t.Errorf("%s %s:\n got %s\nwant %s", kind, name, got[name], want[name])
			}
		}
		for name := range got {
			if want[name] == "" {
				t.Errorf("%s %s: the stock server makes none", kind, name)
			}
		}
		t.Logf("%d %s are equal", len(want), kind)
	}
	compareDocuments(t, stock, ours)
}

// compareDocuments compares all OpenAPI documents.
func compareDocuments(t *testing.T, stock, ours *server) {
	t.Helper()
	index := func(s *server) (paths map[string]struct{ ServerRelativeURL string }) {
		var index struct {
			Paths map[string]struct{ ServerRelativeURL string }
		}
		if err := json.Unmarshal(get(t, s, openAPIv3), &index); err != nil {
			t.Fatal(err)
		}
		index.Paths["v2"] = struct{ ServerRelativeURL string }{openAPIv2}
		return index.Paths
	}
	want, got := index(stock), index(ours)
	if len(want) < 20 || len(got) != len(want) {
		t.Errorf("there are %d OpenAPI documents, the stock server has %d", len(got), len(want))
	}
	for name := range want {
		want, got := get(t, stock, want[name].ServerRelativeURL), get(t, ours, got[name].ServerRelativeURL)
		if len(want) < 100 || !bytes.Equal(got, want) {
			t.Errorf("OpenAPI document %s has %d bytes, the stock server's has %d; they differ", name, len(got), len(want))
		}
	}
}

// TestBootstrapRepairs restarts the API server on a cluster whose policy somebody has damaged.
func TestBootstrapRepairs(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an API server")
	}
	s := startServer(t, "kube-apiserver")
	before := objects(t, s, "clusterroles")
	ctx := t.Context()
	role, err := s.client.RbacV1().ClusterRoles().Get(ctx, "system:kube-scheduler", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	role.Rules = role.Rules[1:]
	if _, err := s.client.RbacV1().ClusterRoles().Update(ctx, role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.client.RbacV1().ClusterRoles().Delete(ctx, "system:node", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.start(t, "kube-apiserver")
	after := objects(t, s, "clusterroles")
	if len(after) != len(before) {
		t.Errorf("%d cluster roles after the restart, %d before", len(after), len(before))
	}
	var rules struct{ Rules []any }
	if err := json.Unmarshal([]byte(after["/system:kube-scheduler"]), &rules); err != nil {
		t.Fatal(err)
	}
	if want := len(role.Rules) + 1; len(rules.Rules) < want {
		t.Errorf("system:kube-scheduler has %d rules after the restart, want %d", len(rules.Rules), want)
	}
}

// server is an API server with an etcd of its own.
type server struct {
	dir    string
	port   string
	client *kubernetes.Clientset
	stop   func()
}

func startServer(t *testing.T, name string) *server {
	t.Helper()
	s := &server{dir: t.TempDir()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, s.port, _ = net.SplitHostPort(l.Addr().String())
	l.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"sa.key":     pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}),
		"tokens.csv": []byte("secret,admin,1,system:masters\n"),
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.run(t, "etcd", "--data-dir=etcd", "--heartbeat-interval=10", "--election-timeout=100",
		"--listen-client-urls=unix://etcd:0", "--advertise-client-urls=unix://etcd:0",
		"--listen-peer-urls=unix://etcd:1", "--initial-advertise-peer-urls=unix://etcd:1", "--initial-cluster=default=unix://etcd:1")
	s.start(t, name)
	return s
}

// run starts an applet of this test binary, which ends with the test at the latest.
func (s *server) run(t *testing.T, name string, args ...string) (stop func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(s.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := &exec.Cmd{Path: self, Args: append([]string{name}, args...), Dir: s.dir, Stdout: log, Stderr: log}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	stop = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	return stop
}

func (s *server) start(t *testing.T, name string) {
	t.Helper()
	s.stop = s.run(t, name, "--etcd-servers=unix://etcd:0", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		"--secure-port="+s.port, "--cert-dir=certs", "--authorization-mode=Node,RBAC", "--endpoint-reconciler-type=none",
		"--service-account-key-file=sa.key", "--service-account-signing-key-file=sa.key", "--token-auth-file=tokens.csv",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local")
	config := &rest.Config{Host: "https://127.0.0.1:" + s.port, BearerToken: "secret", QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	s.client = client
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for {
		if _, err := client.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err == nil {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(s.dir, name+".log"))
			t.Fatalf("%s is not ready: %s", name, log[max(0, len(log)-2000):])
		}
	}
}

func get(t *testing.T, s *server, path string) []byte {
	t.Helper()
	data, err := s.client.RESTClient().Get().RequestURI(path).DoRaw(t.Context())
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return data
}

// objects returns the objects of a kind as JSON without what differs between any two servers, by namespace/name.
func objects(t *testing.T, s *server, kind string) map[string]string {
	t.Helper()
	group := map[string]string{
		"priorityclasses": "/apis/scheduling.k8s.io/v1/", "namespaces": "/api/v1/",
		"flowschemas": "/apis/flowcontrol.apiserver.k8s.io/v1/", "prioritylevelconfigurations": "/apis/flowcontrol.apiserver.k8s.io/v1/",
	}[kind]
	if group == "" {
		group = "/apis/rbac.authorization.k8s.io/v1/"
	}
	var list struct{ Items []map[string]any }
	if err := json.Unmarshal(get(t, s, group+kind), &list); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, o := range list.Items {
		meta := o["metadata"].(map[string]any)
		for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation"} {
			delete(meta, field)
		}
		for _, f := range asList(meta["managedFields"]) {
			entry := f.(map[string]any)
			delete(entry, "time")
			entry["manager"] = "server" // it is named after the binary
		}
		delete(o, "status") // times of transitions
		text, err := json.Marshal(runtime.DeepCopyJSON(o))
		if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprint(meta["namespace"], "/", meta["name"])[len(prefix(meta)):]] = string(text)
	}
	return all
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}

// prefix is what Sprint prints for a namespace that is not there.
func prefix(meta map[string]any) string {
	if meta["namespace"] == nil {
		return "<nil>"
	}
	return ""
}
