package download

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func sumText(data string) string {
	sum := sha256.Sum256([]byte(data))
	return hex.EncodeToString(sum[:])
}

// mirror serves files by path and counts requests.
func mirror(t *testing.T, content map[string]string) (*Cache, string, *atomic.Int32) {
	t.Helper()
	var asked atomic.Int32
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		data, ok := content[r.URL.Path]
		switch {
		case strings.HasPrefix(data, "-> "):
			http.Redirect(w, r, strings.TrimPrefix(data, "-> "), http.StatusFound)
		case data == "cut":
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "half")
		case data == "500":
			http.Error(w, "broken", http.StatusInternalServerError)
		case ok:
			fmt.Fprint(w, data)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	client := NewClient()
	client.Transport = s.Client().Transport
	return &Cache{Dir: filepath.Join(t.TempDir(), "cache"), Client: client}, s.URL, &asked
}

func TestGet(t *testing.T) {
	t.Parallel()
	for name, sums := range map[string]map[string]string{
		"of its own":       {"/v1/prog.sha256": sumText("binary")},
		"with a line end":  {"/v1/prog.sha256": strings.ToUpper(sumText("binary")) + "\n"},
		"of a release":     {"/v1/SHA256SUMS": sumText("x") + "  other\n" + sumText("binary") + " *prog\n"},
		"as prometheus":    {"/v1/sha256sums.txt": sumText("binary") + "  prog\n"},
		"as jaeger":        {"/v1/prog.sha256sum.txt": sumText("binary") + "  ./prog\n"},
		"another has none": {"/v1/prog.sha256": "<html>", "/v1/SHA256SUMS": sumText("binary") + "  prog\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sums["/v1/prog"] = "binary"
			c, url, asked := mirror(t, sums)
			var last string
			c.Progress = func(name string, done, total int64) { last = fmt.Sprint(name, " ", done, "/", total) }
			path, err := c.Get(t.Context(), url+"/v1/prog")
			if err != nil {
				t.Fatal(err)
			}
			data, _ := os.ReadFile(path)
			info, _ := os.Stat(path)
			if string(data) != "binary" || info.Mode() != 0o700 || filepath.Base(path) != sumText("binary") || last != "prog 6/6" {
				t.Errorf("%s: %q %v %s", path, data, info.Mode(), last)
			}
			if have, ok := c.Have(url + "/v1/prog"); have != path || !ok {
				t.Error(have, ok)
			}
			if have, ok := c.Have(url + "/v2/prog"); ok {
				t.Error(have)
			}
			// The second time nobody is asked.
			before := asked.Load()
			if again, err := c.Get(t.Context(), url+"/v1/prog"); err != nil || again != path || asked.Load() != before {
				t.Error(again, err, asked.Load()-before)
			}
			// What was damaged on the disk is fetched anew.
			if err := os.WriteFile(path, []byte("virus"), 0o700); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Get(t.Context(), url+"/v1/prog"); err != nil {
				t.Fatal(err)
			}
			if data, _ := os.ReadFile(path); string(data) != "binary" {
				t.Errorf("%q", data)
			}
		})
	}
}

// TestText fetches what has no published sum: once, and never to be run.
func TestText(t *testing.T) {
	t.Parallel()
	c, url, asked := mirror(t, map[string]string{"/m.yaml": "kind: A", "/cut": "cut", "/500": "500", "/m.yaml.sha256": sumText("another")})
	for range 2 {
		if text, err := c.Text(t.Context(), url+"/m.yaml"); err != nil || string(text) != "kind: A" {
			t.Errorf("%q, %v", text, err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("%d requests", asked.Load())
	}
	if path, err := c.Get(t.Context(), url+"/m.yaml"); err == nil {
		t.Errorf("%s is a program now", path)
	}
	for address, want := range map[string]string{
		url + "/none": "404", url + "/cut": "unexpected EOF", url + "/500": "500",
		"http://127.0.0.1/x": "only https", "https:///x": "not a URL",
	} {
		if _, err := c.Text(t.Context(), address); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), address) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		location string
		content  map[string]string
		want     string
	}{
		"damaged":       {"/prog", map[string]string{"/prog": "bad", "/prog.sha256": sumText("good")}, "damaged: its sha256 is " + sumText("bad")},
		"cut off":       {"/prog", map[string]string{"/prog": "cut", "/prog.sha256": sumText("good")}, "unexpected EOF"},
		"no sum":        {"/prog", map[string]string{"/prog": "good"}, "no sha256 is published"},
		"other's sum":   {"/prog", map[string]string{"/prog": "good", "/SHA256SUMS": sumText("good") + "  other"}, "no sha256 is published"},
		"not there":     {"/prog", map[string]string{"/prog.sha256": sumText("good")}, "404"},
		"nothing there": {"/prog", nil, "it is not there"},
		"server broken": {"/prog", map[string]string{"/prog.sha256": "500"}, "500"},
		"sent to http":  {"/prog", map[string]string{"/prog": "-> http://127.0.0.1:1/x", "/prog.sha256": sumText("good")}, "not https"},
		"in circles":    {"/prog", map[string]string{"/prog": "-> /prog", "/prog.sha256": sumText("good")}, "too often"},
		"http":          {"http://127.0.0.1:1/prog", nil, "only https"},
		"file":          {"file:///etc/passwd", nil, "not a URL"},
		"ftp":           {"ftp://host/prog", nil, "only https"},
		"no host":       {"https:///prog", nil, "not a URL"},
		"member":        {"/prog#../x", map[string]string{"/prog": "good", "/prog.sha256": sumText("good")}, "not the name of a file"},
		"no archive":    {"/prog#x", map[string]string{"/prog": "good", "/prog.sha256": sumText("good")}, "not a .tar.gz"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, url, _ := mirror(t, tt.content)
			if strings.HasPrefix(tt.location, "/") {
				tt.location = url + tt.location
			}
			path, err := c.Get(t.Context(), tt.location)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q, %v; want %q", path, err, tt.want)
			}
			// Nothing of it can be taken for a program.
			if left, _ := filepath.Glob(filepath.Join(c.Dir, "sha256", "*")); len(left) > 0 && !strings.Contains(tt.location, "#") {
				t.Errorf("left behind: %v", left)
			}
			if left, _ := filepath.Glob(filepath.Join(c.Dir, "*", ".*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestArchive(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	out := tar.NewWriter(zipped)
	for _, h := range []*tar.Header{{Name: "etcd-v3/", Typeflag: tar.TypeDir}, {Name: "etcd-v3/../../etcd", Typeflag: tar.TypeSymlink, Linkname: "/bin/sh"},
		{Name: "etcd-v3/etcd", Typeflag: tar.TypeReg, Size: 6, Mode: 0o755}} {
		if err := out.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = out.Write([]byte("binary"))
	out.Close()
	zipped.Close()
	c, url, _ := mirror(t, map[string]string{"/e.tar.gz": packed.String(), "/SHA256SUMS": sumText(packed.String()) + "  e.tar.gz"})
	local := filepath.Join(t.TempDir(), "e.tar.gz")
	if err := os.WriteFile(local, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, location := range []string{url + "/e.tar.gz#etcd", local + "#etcd", local + "#etcd"} {
		path, err := c.Get(t.Context(), location)
		if err != nil {
			t.Fatal(err)
		}
		if data, _ := os.ReadFile(path); string(data) != "binary" {
			t.Errorf("%s: %q", location, data)
		}
		if have, ok := c.Have(location); have != path || !ok {
			t.Error(have, ok)
		}
	}
	if _, err := os.Stat(local); err != nil {
		t.Error("the archive is gone:", err)
	}
	if _, err := c.Get(t.Context(), local+"#etcdctl"); err == nil || !strings.Contains(err.Error(), "not in there") {
		t.Error(err)
	}
	if path, err := c.Get(t.Context(), local); path != local || err != nil {
		t.Error(path, err)
	}
}
