package applet

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestFront asks for OpenAPI documents before the aggregator knows of them, and for other things in between.
func TestFront(t *testing.T) {
	t.Parallel()
	answer := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == openAPIv3 {
				_, _ = io.WriteString(w, `{"paths":{"`+text+`":{"serverRelativeURL":"x"}}}`)
				return
			}
			_, _ = io.WriteString(w, text)
		})
	}
	l := &lateOpenAPI{v3: answer("api/v1")}
	h := l.front(answer("other"))
	for _, step := range []struct{ path, want string }{
		{"/livez", "other"},
		{openAPIv3, `{"paths":{"api/v1":{"serverRelativeURL":"x"},"other":{"serverRelativeURL":"x"}}}`},
		{openAPIv3 + "/api/v1", "api/v1"},
		{"/livez", "other"},
		{openAPIv3 + "/apis/example.com/v1", "other"},
		{openAPIv3 + "/api/v1", "api/v1"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, step.path, nil))
		if got := w.Body.String(); got != step.want {
			t.Errorf("%s: %q, want %q", step.path, got, step.want)
		}
	}
	l.indexed.Store(true)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, openAPIv3+"/api/v1", nil))
	if got := w.Body.String(); got != "other" {
		t.Errorf("the aggregator knows, and is not asked: %q", got)
	}
}
