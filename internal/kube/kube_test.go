package kube

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
)

// fake serves a few kinds and notes what is applied; each(n, r) may answer the n-th request itself.
type fake struct {
	*httptest.Server
	mu               sync.Mutex
	applied          []string
	crd, established atomic.Bool
}

func serve(t *testing.T, each func(n int, w http.ResponseWriter, r *http.Request) bool) *fake {
	t.Helper()
	f := &fake{}
	var n atomic.Int32
	discovery := map[string]string{
		"/api/v1": `{"resources":[{"name":"nodes","kind":"Node"},{"name":"pods","kind":"Pod","namespaced":true},
			{"name":"pods/status","kind":"Pod","namespaced":true},{"name":"namespaces","kind":"Namespace"}]}`,
		"/apis/apiextensions.k8s.io/v1": `{"resources":[{"name":"customresourcedefinitions","kind":"CustomResourceDefinition"}]}`,
	}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if each != nil && each(int(n.Add(1)), w, r) {
			return
		}
		if r.Method == http.MethodPatch {
			body, _ := io.ReadAll(r.Body)
			if !json.Valid(body) || r.Header.Get("Content-Type") != "application/apply-patch+yaml" ||
				r.URL.Query().Get("fieldManager") != "kwokctl" {
				t.Errorf("patch %s: %s", r.URL, body)
			}
			f.mu.Lock()
			f.applied = append(f.applied, r.URL.Path)
			f.mu.Unlock()
			return
		}
		if r.URL.Path == "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.example.com" {
			status := "False"
			if f.established.Swap(true) { // likewise
				status = "True"
			}
			_, _ = io.WriteString(w, `{"status":{"conditions":[{"type":"NamesAccepted","status":"True"},{"type":"Established","status":"`+status+`"}]}}`)
			return
		}
		if r.URL.Path == "/apis/example.com/v1" && f.crd.Swap(true) { // the second time it is there
			_, _ = io.WriteString(w, `{"resources":[{"name":"things","kind":"Thing","namespaced":true}]}`)
			return
		}
		if text, ok := discovery[r.URL.Path]; ok {
			_, _ = io.WriteString(w, text)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func TestApply(t *testing.T) {
	t.Parallel()
	f := serve(t, nil)
	err := Apply(t.Context(), &rest.Config{Host: f.URL}, []byte(`# comment
---
apiVersion: v1
kind: Pod
metadata: {name: p}
---
apiVersion: example.com/v1
kind: Thing
metadata: {name: t, namespace: ns}
---
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: a}}
- {apiVersion: v1, kind: Namespace, metadata: {name: ns}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
`))
	if err != nil {
		t.Fatal(err)
	}
	first, rest := f.applied[:2], f.applied[2:]
	slices.Sort(first)
	slices.Sort(rest)
	want := []string{"/api/v1/namespaces/ns", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.example.com",
		"/api/v1/namespaces/default/pods/p", "/api/v1/nodes/a", "/apis/example.com/v1/namespaces/ns/things/t"}
	if !slices.Equal(f.applied, want) {
		t.Errorf("applied %q", f.applied)
	}
}

func TestApplyErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"syntax":  {"a: [", "document 1"},
		"no kind": {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\nmetadata: {name: a}\n", "document 2"},
		"unknown": {"apiVersion: v1\nkind: Wrong\nmetadata: {name: a}\n", "apply wrong a: find kind Wrong of v1"},
		"refused": {"apiVersion: v1\nkind: Node\nmetadata: {name: bad}\n", "apply node bad: spec is wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) bool {
				bad := strings.HasSuffix(r.URL.Path, "/bad")
				if bad {
					w.WriteHeader(http.StatusUnprocessableEntity)
					_, _ = io.WriteString(w, `{"kind":"Status","message":"spec is wrong","reason":"Invalid"}`)
				}
				return bad
			})
			err := Apply(t.Context(), &rest.Config{Host: f.URL}, []byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestDoTriesAgain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fail int // times
		code int
		want int // requests
		ok   bool
	}{
		"429":             {1, 429, 2, true},
		"503":             {3, 503, 4, true},
		"500 for ever":    {99, 500, 3, false},
		"503 for ever":    {99, 503, 8, false},
		"connection lost": {1, 0, 2, true},
		"404":             {9, 404, 1, false},
		"409":             {9, 409, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var count atomic.Int32
			f := serve(t, func(n int, w http.ResponseWriter, _ *http.Request) bool {
				count.Store(int32(n))
				if n > tt.fail {
					return false
				}
				if tt.code == 0 {
					panic(http.ErrAbortHandler)
				}
				if tt.code == 429 {
					w.Header().Set("Retry-After", "1")
				}
				w.WriteHeader(tt.code)
				return true
			})
			c, err := New(&rest.Config{Host: f.URL})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Do(t.Context(), Request{Method: http.MethodGet, Path: "/api/v1"})
			if (err == nil) != tt.ok || int(count.Load()) != tt.want {
				t.Errorf("%d requests, %v", count.Load(), err)
			}
			if tt.code == 404 && !apierrors.IsNotFound(err) {
				t.Errorf("%v is not NotFound", err)
			}
		})
	}
}

func TestConnect(t *testing.T) {
	// Not parallel: it must not see the environment of a pod.
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	path := filepath.Join(t.TempDir(), "config")
	text := "apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: 'http://192.0.2.1:80'}}]\n" +
		"contexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\nusers: [{name: a, user: {token: x}}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	empty, wrong := filepath.Join(t.TempDir(), "empty"), filepath.Join(t.TempDir(), "wrong")
	for name, text := range map[string]string{empty: "apiVersion: v1\nkind: Config\n", wrong: strings.Replace(text, "current-context: a", "current-context: b", 1)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		path + "x": "no such file", empty: "it has no current context", wrong: "context: b", t.TempDir(): "is a directory",
	} {
		_, err := Connect(path, "")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), path) > 2 || strings.Contains(err.Error(), "MASTER") {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	for _, tt := range []struct{ name, path, master, want string }{
		{"file", path, "", "http://192.0.2.1:80"},
		{"file and master", path, "http://192.0.2.2:80", "http://192.0.2.2:80"},
		{"master", "", "http://192.0.2.2:80", "http://192.0.2.2:80"},
		{"nothing", "", "", ""},
		{"missing", path + "x", "", ""},
	} {
		cfg, err := Connect(tt.path, tt.master)
		if err != nil {
			if tt.want != "" {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if cfg.Host != tt.want || cfg.QPS != -1 {
			t.Errorf("%s: %s, QPS %v", tt.name, cfg.Host, cfg.QPS)
		}
	}
}
