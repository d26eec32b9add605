package cluster

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"kwokctl/internal/api"
	"kwokctl/internal/components"
	"kwokctl/runtimes"
)

// TestElsewhere: which engines of other machines a cluster can be used on, and what is said of the others.
func TestElsewhere(t *testing.T) {
	h := testHome(t)
	for _, tt := range []struct {
		at, bind string
		insecure bool
		host     string
		words    string
	}{
		{at: "unix:///x"},
		{at: "tcp://127.0.0.1:2375"},
		{at: "tcp://192.0.2.1:2376", words: "docker runs on 192.0.2.1, where ports are published on 127.0.0.1 alone; with bindAddress: 0.0.0.0"},
		{at: "tcp://192.0.2.1:2376", bind: "127.0.0.1", words: "with bindAddress: 0.0.0.0"},
		{at: "tcp://192.0.2.1:2376", bind: "0.0.0.0", host: "192.0.2.1"},
		{at: "tcp://192.0.2.1:2376", bind: "0.0.0.0", insecure: true, words: "insecureKubeconfig: "},
		{at: "tcp://[2001:db8::1]:2376", bind: "::", host: "2001:db8::1"},
		{at: "tcp://127.0.0.2:2375", host: "127.0.0.2"},
	} {
		t.Setenv("DOCKER_HOST", tt.at)
		o := &components.Options{Runtime: "docker", BindAddress: tt.bind, InsecureKubeconfig: tt.insecure}
		host, err := elsewhere(t.Context(), h.runtime("x", o), o)
		if host != tt.host || (err == nil) != (tt.words == "") || err != nil && (!strings.Contains(err.Error(), tt.words) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%+v: %q, %v", tt, host, err)
		}
	}
	if host, err := elsewhere(t.Context(), h.runtime("x", &components.Options{}), &components.Options{}); host != "" || err != nil {
		t.Errorf("processes: %q, %v", host, err)
	}
}

// TestEngineHost: everything that leads to a cluster on another machine leads there.
func TestEngineHost(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	busy := l.Addr().(*net.TCPAddr).Port
	c := &Cluster{Name: "x", Config: &api.KwokctlConfiguration{Options: components.Options{Runtime: "docker", KubeApiserverPort: busy}}}
	if got := c.Server(); !strings.HasPrefix(got, "https://127.0.0.1:") {
		t.Error(got)
	}
	if err := checkPort(busy, "x", nil, tryPort(c.Config)); err == nil {
		t.Error("a port of this machine that is taken can be had")
	}
	for host, want := range map[string]string{"far": "https://far:", "2001:db8::1": "https://[2001:db8::1]:"} {
		c.Config.Status.EngineHost = host
		if got := c.Server(); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
		if got := c.certificates().Hosts["kube-apiserver"]; !slices.Contains(got, host) {
			t.Errorf("hosts in the certificate: %q", got)
		}
		if err := checkPort(busy, "x", nil, tryPort(c.Config)); err != nil {
			t.Errorf("a port of another machine: %v", err)
		}
	}
}

// TestReach: an API server counts as reached when it answers, not when somebody accepts connections to it.
func TestReach(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	port := s.Listener.Addr().(*net.TCPAddr).Port
	c := &Cluster{Config: &api.KwokctlConfiguration{Options: components.Options{Runtime: "docker", KubeApiserverPort: port}}}
	client := s.Client()
	if err := c.reachBy(t.Context(), client, time.Minute); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.reachBy(ended, client, time.Minute); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.Close()
	if err := c.reachBy(t.Context(), client, time.Millisecond); err == nil || !strings.Contains(err.Error(), "no way to it from here: "+c.Server()+": connect: connection refused; if docker runs on another machine") {
		t.Error(err)
	}
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	c.Config.Options.KubeApiserverPort, c.Config.Status.EngineHost = deaf.Addr().(*net.TCPAddr).Port, "127.0.0.1"
	if err := c.reachBy(t.Context(), client, 50*time.Millisecond); err == nil || !strings.HasSuffix(err.Error(), ": no answer; let that port pass on the way to 127.0.0.1") {
		t.Error(err)
	}
	c.Config.Options.Runtime = "binary"
	if err := c.reach(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestTakenThere: a port that the user chose is not tried again on another machine.
func TestTakenThere(t *testing.T) {
	exit := &runtimes.ExitError{Component: "kube-apiserver", Reason: "its port is taken"}
	r := &Create{Name: "x", Config: api.NewKwokctlConfiguration(), engineHost: "far"}
	if err := r.takenThere(exit); err != nil {
		t.Errorf("one that was chosen for the user: %v", err)
	}
	r.Config.Options.KubeApiserverPort = 7443
	if err := r.takenThere(exit); err == nil || err.Error() != `create cluster "x": port 7443 for kube-apiserver is busy on far` {
		t.Error(err)
	}
	if err := r.takenThere(errors.New("other")); err != nil {
		t.Error(err)
	}
	r.engineHost = ""
	if err := r.takenThere(exit); err != nil {
		t.Errorf("on this machine: %v", err)
	}
}
