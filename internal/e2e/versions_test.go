package e2e

import (
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// releases is a server that publishes programs under the names of Kubernetes', good ones below /1.26.1/ and every other
// version, which they say they are, and others below /bad/. The world trusts its certificate. There is no other version
// of Kubernetes here: they become this very program, called by the path that official returns.
func (w *world) releases() (url string, asked *atomic.Int32, closed func()) {
	w.t.Helper()
	good := func(at string) string {
		version, name := path.Split(at)
		official := w.official(name)
		if _, err := os.Lstat(official); err != nil {
			if err := errors.Join(os.MkdirAll(filepath.Dir(official), 0o700), os.Symlink(self(w.t), official)); err != nil {
				w.t.Error(err)
			}
		}
		return fmt.Sprintf("#!/bin/sh\nif [ \"$*\" = --version ]; then echo Kubernetes v%s; exit; fi\nexec %s \"$@\"\n", strings.Trim(version, "/"), official)
	}
	asked = &atomic.Int32{}
	s := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch name, ofSum := strings.CutSuffix(r.URL.Path, ".sha256"); {
		case !strings.HasPrefix(path.Base(name), "kube-"):
			http.NotFound(rw, r)
		case ofSum:
			fmt.Fprintf(rw, "%x\n", sha256.Sum256([]byte(good(name))))
		case strings.HasPrefix(name, "/bad/"):
			fmt.Fprint(rw, "#!/bin/sh\ntouch /tmp/must-not-run\n")
		default:
			fmt.Fprint(rw, good(name))
		}
	}))
	w.t.Cleanup(s.Close)
	trust := filepath.Join(w.home, "trust.pem")
	if err := os.WriteFile(trust, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.env = append(w.env, "SSL_CERT_FILE="+trust)
	return s.URL, asked, s.Close
}

// official is how a program that was fetched calls this one.
func (w *world) official(name string) string { return filepath.Join(w.home, "official", name) }

func TestOtherKubernetes(t *testing.T) {
	w := newWorld(t)
	url, asked, closed := w.releases()
	w.env = append(w.env, "KWOK_KUBE_BINARY_PREFIX="+url+"/1.26.1", "KWOK_KUBE_VERSION=1.26.1") // as in upstream's CI, without v
	r := w.run("create", "cluster", "--name", "a", "--wait", "120s")
	if r.code != 0 || !strings.Contains(r.stderr, "fetch kube-apiserver") {
		t.Fatalf("create: %+v", r)
	}
	for name, c := range w.components("a") {
		program, _, _ := strings.Cut(read(fmt.Sprintf("/proc/%d/cmdline", c.PID)), "\x00")
		fetched := program == w.official(name)
		official := name == "kube-apiserver" || name == "kube-controller-manager" || name == "kube-scheduler"
		if fetched != official {
			t.Errorf("%s runs %s", name, program)
		}
	}
	w.ok("scale", "node", "--name", "a", "--replicas", "3")
	w.ok("scale", "pod", "--name", "a", "--replicas", "3")
	w.kubectl("a", "wait", "node", "--all", "--for", "condition=Ready", "--timeout", "60s")
	w.eventually(60*time.Second, "pods run", func() bool {
		return strings.Count(w.kubectl("a", "get", "pods", "-n", "default", "--no-headers"), "Running") == 3
	})

	// From now on nobody is asked.
	closed()
	before := asked.Load()
	w.ok("stop", "cluster", "--name", "a")
	w.ok("start", "cluster", "--name", "a", "--wait", "120s")
	w.create("b")
	w.ok("delete", "cluster", "--name", "b")
	if n := asked.Load() - before; n != 0 {
		t.Errorf("%d requests although all is there", n)
	}
	w.ok("stop", "cluster", "--name", "a")
	if err := os.RemoveAll(filepath.Join(w.dir, "cache")); err != nil {
		t.Fatal(err)
	}
	w.fails(1, []string{"program of kube-apiserver", "1.36 is embedded", "--kube-apiserver-binary"}, "start", "cluster", "--name", "a")
}

func TestFetchedProgramsAreChecked(t *testing.T) {
	w := newWorld(t)
	url, asked, _ := w.releases()
	plain := w.env
	for _, tt := range []struct {
		env, flags string
		words      []string
	}{
		{"KWOK_KUBE_BINARY_PREFIX=" + url + "/bad", "--kube-version 1.35.2", []string{"damaged: its sha256 is", "1.36 is embedded"}},
		{"KWOK_KUBE_BINARY_PREFIX=" + url + "/1.34.0", "--kube-version 1.35.2", []string{`/1.34.0/kube-apiserver is "Kubernetes v1.34.0", not Kubernetes v1.35.2`, "1.36 is embedded"}},
		{"KWOK_KUBE_BINARY_PREFIX=http://127.0.0.1:1", "--kube-version 1.35.2", []string{"https"}},
		{"KWOK_KUBE_BINARY_PREFIX=https://127.0.0.1:1", "--kube-version 1.35.2", []string{"refused", "KWOK_KUBE_BINARY_PREFIX"}},
		{"", "--kube-version 1.35", []string{"all three numbers", "1.36 is embedded"}},
		{"", "--kube-version new", []string{`"new"`, "1.36.0"}},
		{"", "--kube-version 1.2.3", []string{"1.22"}},
		{"", "--kube-scheduler-binary " + url + "/bad/kube-scheduler", []string{"damaged"}},
		{"", "--kube-scheduler-binary " + url + "/mine/kube-scheduler#kube-scheduler", []string{"not a .tar.gz"}},
		{"", "--kube-scheduler-binary /nowhere.tar.gz#kube-scheduler", []string{"nowhere.tar.gz"}},
	} {
		w.env = plain
		if tt.env != "" {
			w.env = append(plain, tt.env)
		}
		r := w.fails(1, tt.words, append([]string{"create", "cluster", "--name", "a"}, strings.Fields(tt.flags)...)...)
		if strings.Count(r.stderr, "kwokctl: ") != 1 || w.ok("get", "clusters") != "" {
			t.Errorf("%v: %s", tt, r.stderr)
		}
	}
	// A patch of the embedded minor, and a program for one component alone.
	w.env = plain
	before := asked.Load()
	w.create("a", "--kube-version", "v1.36.0")
	if asked.Load() != before {
		t.Error("the embedded version was fetched")
	}
	w.create("b", "--kube-scheduler-binary", url+"/mine/kube-scheduler")
	if got := w.status("b"); got != "Ready" {
		t.Error(got)
	}
	if out := w.ok("create", "cluster", "--name", "c", "--dry-run", "--kube-version", "1.35.2"); !strings.Contains(out, "# Download https://dl.k8s.io/release/v1.35.2/bin/linux/") {
		t.Error(out)
	}
}

func TestArtifacts(t *testing.T) {
	w := newWorld(t)
	if r := w.run("get", "artifacts"); r.code != 0 || r.stdout != "" || !strings.Contains(r.stderr, "Nothing has to be fetched") {
		t.Errorf("%+v", r)
	}
	w.env = append(w.env, "KWOK_KUBE_VERSION=1.35.2", "KWOK_KUBE_BINARY_PREFIX=https://mirror/k")
	const want = "https://mirror/k/kube-apiserver\nhttps://mirror/k/kube-controller-manager\nhttps://mirror/k/kube-scheduler\n"
	for _, args := range [][]string{nil, {"--runtime", "binary"}, {"--filter", "binary"}} {
		if got := w.ok(append([]string{"get", "artifacts"}, args...)...); got != want {
			t.Errorf("%v: %q", args, got)
		}
	}
	if got := w.ok("get", "artifacts", "--filter", "image"); got != "" {
		t.Errorf("images: %q", got)
	}
	if got := w.ok("get", "artifacts", "-o", "json"); !strings.Contains(got, `"location": "https://mirror/k/kube-apiserver"`) {
		t.Error(got)
	}
	w.fails(1, []string{"binary, image, manifest"}, "get", "artifacts", "--filter", "x")
	w.fails(1, []string{"runtime"}, "get", "artifacts", "--runtime", "x")
	const images = "registry.k8s.io/kube-apiserver:v1.35.2\nregistry.k8s.io/kube-controller-manager:v1.35.2\nregistry.k8s.io/kube-scheduler:v1.35.2\n"
	if got := w.ok("get", "artifacts", "--runtime", "docker"); got != images {
		t.Errorf("docker: %q", got)
	}
}
