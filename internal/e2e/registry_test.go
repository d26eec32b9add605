package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// otherLayer is the file system of an image that is not kwokctl's own: some of its programs, where others have them.
func otherLayer(t *testing.T) []byte {
	t.Helper()
	program, err := os.ReadFile(self(t))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	const first = "usr/local/bin/kube-scheduler"
	if err := archive.WriteHeader(&tar.Header{Name: first, Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Write(program); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"usr/local/bin/etcd", "usr/local/bin/kwok", "usr/local/bin/prometheus", "usr/local/bin/kueueviz-backend",
		"usr/local/bin/kueueviz-frontend", "manager", "dashboard"} {
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: "/" + first}); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return layer.Bytes()
}

// importImage gives the engine an image, which has no entrypoint, and returns its name. It goes with the test.
func (w *world) importImage(layer []byte) string {
	w.t.Helper()
	name := "localhost/" + strings.ToLower(w.t.Name())
	query := "?fromSrc=-&repo=" + url.QueryEscape(name+":1") + "&changes=" + url.QueryEscape("ENV PATH=/usr/local/bin")
	w.engineCall(http.MethodPost, "/images/create"+query, bytes.NewBuffer(layer), new(bytes.Buffer))
	w.dropImage(name + ":1")
	return name + ":1"
}

// dropImage removes an image when the clusters of the test are gone.
func (w *world) dropImage(name string) {
	w.t.Cleanup(func() {
		w.run("delete", "cluster", "--all")
		w.engineCall(http.MethodDelete, "/images/"+name+"?force=1", nil, nil)
	})
}

// registry serves images as registries do, one of them whole.
type registry struct {
	server *httptest.Server
	blobs  map[string][]byte // by digest
	tags   map[string][]byte // manifests
	login  string            // USER:PASSWORD, which it asks for unless this is ""
}

const manifestType = "application/vnd.docker.distribution.manifest.v2+json"

// newRegistry returns a registry with the image "good", which is layer with an entrypoint, and "cut", whose layer comes
// in half. Of "hang" it says nothing.
func newRegistry(t testing.TB, layer []byte) *registry {
	t.Helper()
	r := &registry{blobs: map[string][]byte{}, tags: map[string][]byte{}}
	cut := append([]byte("cut"), layer[:1<<20]...)
	for tag, content := range map[string][]byte{"good": layer, "cut": cut} {
		config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/usr/local/bin/kube-scheduler"]},"rootfs":{"type":"layers","diff_ids":[%q]}}`, digest(content))
		r.blobs[digest(config)], r.blobs[digest(content)] = config, content
		manifest, err := json.Marshal(map[string]any{
			"schemaVersion": 2, "mediaType": manifestType,
			"config": map[string]any{"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": digest(config)},
			"layers": []map[string]any{{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(content), "digest": digest(content)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		r.tags[tag], r.tags[digest(manifest)] = manifest, manifest
	}
	ended := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/v2/{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/v2/e2e/manifests/{tag}", func(w http.ResponseWriter, req *http.Request) {
		tag := req.PathValue("tag")
		if tag == "hang" {
			<-ended
		}
		manifest, ok := r.tags[tag]
		if !ok {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`)
			return
		}
		w.Header().Set("Content-Type", manifestType)
		w.Header().Set("Docker-Content-Digest", digest(manifest))
		_, _ = w.Write(manifest)
	})
	mux.HandleFunc("/v2/e2e/blobs/{digest}", func(w http.ResponseWriter, req *http.Request) {
		blob := r.blobs[req.PathValue("digest")]
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
		if bytes.HasPrefix(blob, []byte("cut")) {
			_, _ = w.Write(blob[:len(blob)/2])
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(blob)
	})
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if user, password, _ := req.BasicAuth(); r.login != "" && user+":"+password != r.login {
			w.Header().Set("WWW-Authenticate", `Basic realm="e2e"`)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
			return
		}
		mux.ServeHTTP(w, req)
	}))
	t.Cleanup(func() {
		close(ended)
		r.server.Close()
	})
	return r
}

// at is its address.
func (r *registry) at() string { return strings.TrimPrefix(r.server.URL, "http://") }

// image is the name of one of its images.
func (r *registry) image(tag string) string { return r.at() + "/e2e:" + tag }

// dockerConfig writes what docker login would.
func (w *world) dockerConfig(text string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Join(w.home, ".docker"), 0o700); err != nil {
		w.t.Fatal(err)
	}
	write(w.t, filepath.Join(w.home, ".docker", "config.json"), text)
}

// keeper puts a program in front of the others that keeps a login, for dockerConfig to name as kept.
func (w *world) keeper(login string) {
	w.t.Helper()
	user, password, _ := strings.Cut(login, ":")
	bin := filepath.Join(w.home, "keeper")
	if err := os.Mkdir(bin, 0o700); err != nil {
		w.t.Fatal(err)
	}
	program := filepath.Join(bin, "docker-credential-kept")
	write(w.t, program, fmt.Sprintf("#!/bin/sh\necho '{\"Username\":%q,\"Secret\":%q}'\n", user, password))
	if err := os.Chmod(program, 0o700); err != nil {
		w.t.Fatal(err)
	}
	w.env = append(w.env, "PATH="+bin+":/usr/bin:/bin")
}

// untold fails the test when a file of ours has the secret in it.
func (w *world) untold(secret string) {
	w.t.Helper()
	_ = filepath.WalkDir(w.dir, func(path string, _ fs.DirEntry, _ error) error {
		if strings.Contains(read(path), secret) {
			w.t.Errorf("%s tells a secret", path)
		}
		return nil
	})
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
