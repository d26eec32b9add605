package kube

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/rest"
)

// TestProxy sends requests as programs, browsers and rebound names do.
func TestProxy(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	handler, err := NewProxy(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(handler)
	defer proxy.Close()
	for _, tt := range []struct {
		host, header, value string
		status              int
	}{
		{"", "", "", 200},
		{"localhost:1", "", "", 200},
		{"LOCALHOST", "", "", 200},
		{"[::1]:8001", "", "", 200},
		{"127.0.0.1", "Authorization", "Bearer x", 200},
		{"evil.example", "", "", 403},
		{"evil.example:8001", "", "", 403},
		{"127.0.0.1.evil.example", "", "", 403},
		{"localhost.", "", "", 403},
		{"", "Origin", "http://evil.example", 403},
		{"", "Origin", "http://localhost:8001", 403},
		{"", "Origin", "null", 403},
		{"", "Origin", "", 403},
	} {
		req, err := http.NewRequest(http.MethodGet, proxy.URL+"/api/v1/nodes?limit=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		if tt.header != "" {
			req.Header.Set(tt.header, tt.value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%+v: status %d: %s", tt, resp.StatusCode, body)
		}
		if want := `GET /api/v1/nodes?limit=1 ""`; tt.status == 200 && string(body) != want {
			t.Errorf("%+v: the server saw %s, want %s", tt, body, want)
		}
	}
}
