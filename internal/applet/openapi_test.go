package applet

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestFront asks for OpenAPI documents of the core server and of others, and for other things.
func TestFront(t *testing.T) {
	t.Parallel()
	built := 0
	document := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		built++
		_, _ = io.WriteString(w, "document "+r.URL.RawQuery)
	})
	others := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == openAPIv3 {
			if r.Method != http.MethodGet || len(r.Header) > 0 {
				t.Errorf("the index of others is asked for with %s, %v", r.Method, r.Header)
			}
			_, _ = io.WriteString(w, `{"paths":{"other":{"serverRelativeURL":"x"}}}`)
			return
		}
		_, _ = io.WriteString(w, "other")
	})
	l := &lateOpenAPI{v3: map[string]http.Handler{"api/v1": document}, hash: "now"}
	h := l.front(others)
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	for _, step := range []struct{ path, want string }{
		{"/livez", "other"},
		{openAPIv3, `{"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=now"},"other":{"serverRelativeURL":"x"}}}` + "\n"},
		{openAPIv3 + "/apis/example.com/v1", "other"},
		{"/api/v1", "other"},
	} {
		if got := get(step.path).Body.String(); got != step.want {
			t.Errorf("%s: %q, want %q", step.path, got, step.want)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		r := httptest.NewRequest(method, openAPIv3, nil)
		r.Header.Set("Range", "bytes=0-3")
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Errorf("%s of a part of the index: status %d: %s", method, w.Code, w.Body)
		}
	}
	if built > 0 {
		t.Error("the index needs the documents")
	}
	if w := get(openAPIv3 + "/api/v1"); w.Body.String() != "document " || w.Header().Get("Cache-Control") != "" {
		t.Errorf("without hash: %q, %v", w.Body, w.Header())
	}
	if w := get(openAPIv3 + "/api/v1?hash=now"); w.Body.String() != "document " || w.Header().Get("Cache-Control") != "public, immutable" {
		t.Errorf("with its hash: %q, %v", w.Body, w.Header())
	}
	if w := get(openAPIv3 + "/api/v1?hash=old"); w.Code != http.StatusMovedPermanently || w.Header().Get("Location") != "/openapi/v3/api/v1?hash=now" {
		t.Errorf("with another hash: %d, %v", w.Code, w.Header())
	}
}
