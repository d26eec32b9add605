package runtimes

import (
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
)

// TestGateOfProbes waits until what is needed answers, once.
func TestGateOfProbes(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	t.Setenv(GateEnv, `[{"ready":"`+s.URL+`/readyz"}]`)
	for range 2 {
		if err := WaitGate(); err != nil || asked.Load() != 3 {
			t.Errorf("asked %d times, %v", asked.Load(), err)
		}
	}
	if _, ok := os.LookupEnv(GateEnv); ok {
		t.Error("programs that the component runs would wait too")
	}
	t.Setenv(GateEnv, "[{")
	if err := WaitGate(); err == nil {
		t.Error("a gate that cannot be read is open")
	}
}
