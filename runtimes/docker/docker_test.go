package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"kwokctl/runtimes"
)

func env(pairs ...string) func(string) string {
	return func(key string) string {
		for _, p := range pairs {
			if value, ok := strings.CutPrefix(p, key+"="); ok {
				return value
			}
		}
		return ""
	}
}

func put(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFind(t *testing.T) {
	home := t.TempDir()
	id := contextID("remote")
	put(t, home, ".docker/contexts/meta/"+id+"/meta.json", `{"Name":"remote","Endpoints":{"docker":{"Host":"tcp://far:2376"}}}`)
	ca := put(t, home, ".docker/contexts/tls/"+id+"/docker/ca.pem", "x")
	in := "HOME=" + home
	for _, tt := range []struct {
		engine string
		env    []string
		want   endpoint
	}{
		{Docker, nil, endpoint{Host: "unix:///var/run/docker.sock"}},
		{Docker, []string{in, "DOCKER_HOST=unix:///x"}, endpoint{Host: "unix:///x"}},
		{Docker, []string{in, "DOCKER_HOST=unix:///x", "DOCKER_CONTEXT=remote"}, endpoint{Host: "unix:///x"}},
		{Docker, []string{in, "DOCKER_CONTEXT=remote"}, endpoint{Host: "tcp://far:2376", CA: ca}},
		{Docker, []string{in, "DOCKER_CONTEXT=default"}, endpoint{Host: "unix:///var/run/docker.sock"}},
		{Docker, []string{"DOCKER_HOST=tcp://a:1", "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH=/c"},
			endpoint{Host: "tcp://a:1", CA: "/c/ca.pem", Cert: "/c/cert.pem", Key: "/c/key.pem"}},
		{Docker, []string{"DOCKER_HOST=tcp://a:1", "DOCKER_CERT_PATH=/c"},
			endpoint{Host: "tcp://a:1", CA: "/c/ca.pem", Cert: "/c/cert.pem", Key: "/c/key.pem", SkipVerify: true}},
		{Podman, []string{"CONTAINER_HOST=unix:///p", "DOCKER_HOST=unix:///x"}, endpoint{Host: "unix:///p"}},
	} {
		got, err := find(tt.engine, env(tt.env...))
		if err != nil || got != tt.want {
			t.Errorf("%s %q: %+v, %v; want %+v", tt.engine, tt.env, got, err, tt.want)
		}
	}
	put(t, home, ".docker/config.json", `{"currentContext":"remote"}`)
	if got, err := find(Docker, env(in)); err != nil || got.Host != "tcp://far:2376" {
		t.Errorf("current context: %+v, %v", got, err)
	}
	for _, bad := range []string{"DOCKER_CONTEXT=nowhere", "DOCKER_CONTEXT=../../x"} {
		if got, err := find(Docker, env(in, bad)); err == nil {
			t.Errorf("%s: %+v", bad, got)
		}
	}
	put(t, home, ".docker/config.json", `{`)
	if _, err := find(Docker, env(in)); err == nil || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("damaged config.json: %v", err)
	}
}

// TestUnavailable meets engines that are not there, not ours to use, deaf, or something else.
func TestUnavailable(t *testing.T) {
	dir, err := os.MkdirTemp("", "e") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listen := func(name string) net.Listener {
		l, err := net.Listen("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	listen("deaf")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "left"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	serve := func(name string, headers ...string) {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			_, _ = io.WriteString(w, "OK")
		}))
		s.Listener.Close()
		s.Listener = listen(name)
		s.Start()
		t.Cleanup(s.Close)
	}
	serve("other")
	serve("windows", "Api-Version", "1.41", "Ostype", "windows")
	serve("old", "Api-Version", "1.24", "Ostype", "linux")
	serve("good", "Api-Version", "1.41", "Ostype", "linux")
	for host, want := range map[string]string{
		"unix://" + dir + "/absent":  "no such socket",
		"unix://" + dir + "/left":    "nobody listens there",
		"unix://" + dir + "/deaf":    "no answer within 200ms",
		"unix://" + dir + "/other":   "does not speak the Docker Engine API",
		"unix://" + dir + "/windows": "containers of windows",
		"unix://" + dir + "/old":     "1.24",
		"tcp://127.0.0.1:1":          "nobody listens there",
		"ssh://me:secret@far":        "ssh://me:xxxxx@far\": allowed are unix://",
		"/var/run/docker.sock":       "allowed are unix://",
		"unix://" + dir + "/good":    "",
	} {
		err := New(Options{Engine: Docker, Getenv: env("DOCKER_HOST=" + host), Patience: 200 * time.Millisecond}).Available(t.Context())
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", host, err)
			}
			continue
		}
		if !errors.Is(err, runtimes.ErrUnavailable) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; want one line with %q", host, err, want)
		}
	}
	err = unavailable(state{Engine: Docker, At: endpoint{Host: "unix:///x"}}, &net.OpError{Op: "dial", Err: os.ErrPermission})
	if !strings.Contains(err.Error(), "permission denied; ask for the right") {
		t.Error(err)
	}
}

// TestMissing: only the API's own word counts.
func TestMissing(t *testing.T) {
	for _, err := range []error{nil, io.EOF, context.Canceled, fs.ErrNotExist, errdefs.ErrUnavailable, errors.New("404 page not found: No such container")} {
		if missing(err) {
			t.Errorf("%v counts as not found", err)
		}
	}
	if !missing(wrap("look", errdefs.ErrNotFound)) {
		t.Error("the API's 404 does not count as not found")
	}
}

// TestDiscard removes a container that somebody else is removing: it is gone when that has been done, not before.
func TestDiscard(t *testing.T) {
	var gone atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"message":"removal of container c is already in progress"}`)
		case strings.HasSuffix(r.URL.Path, "/containers/c/wait") && r.URL.Query().Get("condition") == "removed":
			gone.Store(true)
			_, _ = io.WriteString(w, `{"StatusCode":137}`)
		default:
			w.WriteHeader(http.StatusNotImplemented)
		}
	}))
	defer s.Close()
	c, err := client.New(client.WithHost("tcp://"+s.Listener.Addr().String()), client.WithAPIVersion("1.41"))
	if err != nil {
		t.Fatal(err)
	}
	if err := (&engine{Client: c}).discard(t.Context(), "c"); err != nil || !gone.Load() {
		t.Errorf("got %v, and it is gone: %t", err, gone.Load())
	}
}

// TestMakeNetwork asks an engine that loses sight of an interface a few times, for ever, and one with another trouble.
func TestMakeNetwork(t *testing.T) {
	for _, tt := range []struct {
		message       string
		fails, wanted int
		ok            bool
	}{
		{"route ip+net: no such network interface", 3, 4, true},
		{"route ip+net: no such network interface", 1000, looksForSubnet, false},
		{"no subnet is free", 1000, 1, false},
	} {
		asked := 0
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if asked++; asked > tt.fails {
				w.WriteHeader(http.StatusCreated)
				_, _ = io.WriteString(w, `{"Id":"n"}`)
				return
			}
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = fmt.Fprintf(w, `{"message":%q}`, tt.message)
		}))
		defer s.Close()
		c, err := client.New(client.WithHost("tcp://"+s.Listener.Addr().String()), client.WithAPIVersion("1.41"))
		if err != nil {
			t.Fatal(err)
		}
		err = (&engine{Client: c}).makeNetwork(t.Context(), "n", nil)
		if (err == nil) != tt.ok || asked != tt.wanted || err != nil && !strings.Contains(err.Error(), tt.message) {
			t.Errorf("%s, %d times: asked %d times, then %v", tt.message, tt.fails, asked, err)
		}
	}
}

// TestImage looks into the layer: the binary, links to it, the directories that volumes take owner and mode from, and
// nothing else. Twice the same.
func TestImage(t *testing.T) {
	binary := put(t, t.TempDir(), "kwokctl", "the program")
	i := image{binary: binary, programs: []string{"etcd"}, data: []string{"data"}}
	var layer bytes.Buffer
	if err := i.layer(&layer); err != nil {
		t.Fatal(err)
	}
	first, err := i.name()
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := i.name(); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	var got []string
	for r := tar.NewReader(&layer); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		got = append(got, strings.TrimSpace(strings.Join([]string{h.Name, fs.FileMode(h.Mode).String(), h.Linkname}, " ")))
		if strings.HasPrefix(h.Name, "cluster/") && h.Uid != user {
			t.Errorf("%s belongs to %d", h.Name, h.Uid)
		}
	}
	want := []string{"bin/ -rwxr-xr-x", "cluster/ -rwx------", "cluster/data/ -rwx------", "bin/kwokctl -rwxr-xr-x", "bin/etcd -rwxrwxrwx kwokctl"}
	if !slices.Equal(got, want) {
		t.Errorf("layer: %q", got)
	}
	put(t, filepath.Dir(binary), "kwokctl", "the next one")
	if next, _ := i.name(); next == first {
		t.Error("another binary has the same image")
	}
	if i.binary, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	if id := buildID(i.binary); strings.Count(id, "/") != 3 { // of action, of compilation, of both again
		t.Errorf("build ID %q of a program of Go", id)
	}
	named, _ := i.name()
	i.data = nil
	if other, _ := i.name(); other == named {
		t.Error("another layout has the same image")
	}
}

func TestPack(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"kwok.yaml", "pki/ca.crt", "pki/ca.key", "pki/etcd-ca.key", "logs/etcd.log", "engine.json", "x.lock"} {
		put(t, dir, name, name)
	}
	r := New(Options{Dir: dir, Keep: []string{"*.lock", "logs", "pki/*ca.key"}})
	for args, want := range map[string]string{
		"":                                 "kwok.yaml pki/ pki/ca.crt",
		"--cluster-signing-key=pki/ca.key": "kwok.yaml pki/ pki/ca.crt pki/ca.key",
	} {
		data, err := r.pack([]runtimes.Spec{{Args: []string{args}}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for in := tar.NewReader(bytes.NewReader(data)); ; {
			h, err := in.Next()
			if err != nil {
				break
			}
			got = append(got, h.Name)
			if h.Uid != user || h.Mode&0o077 != 0 {
				t.Errorf("%s: owner %d, mode %o", h.Name, h.Uid, h.Mode)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %s", args, got, want)
		}
	}
}

// TestDescribe: what protects the host from a component, and that a change of a spec is a change of its label.
func TestDescribe(t *testing.T) {
	etcd := runtimes.Spec{Name: "etcd", Data: "etcd", Probe: runtimes.Probe{Ready: "unix://etcd:0/readyz"}}
	server := runtimes.Spec{Name: "server", Args: []string{"--a"}, Needs: []string{"etcd"}, Ports: []runtimes.Port{{Name: "https", Number: 6443}}}
	specs := []runtimes.Spec{etcd, server}
	r := New(Options{Name: "x"})
	e := &engine{state: state{ID: "1", Engine: Docker}}
	info := system.Info{MemTotal: 8 << 30, MemoryLimit: true, PidsLimit: true}
	o := r.describe(e, server, specs, "image", nil, info)
	h := o.HostConfig
	if !h.ReadonlyRootfs || !slices.Equal(h.CapDrop, []string{"ALL"}) || !slices.Contains(h.SecurityOpt, "no-new-privileges") ||
		o.Config.User != "65532:65532" || h.Memory != 4<<30 || *h.PidsLimit != pidLimit || h.LogConfig.Config["max-size"] == "" || len(h.Binds) != 0 {
		t.Errorf("%+v %+v", o.Config, h)
	}
	for port, at := range h.PortBindings {
		if port.Num() != 6443 || len(at) != 1 || at[0].HostIP.String() != "127.0.0.1" {
			t.Errorf("port %v at %v", port, at)
		}
	}
	if !slices.Contains(o.Config.Env, `KWOK_GATE=[{"ready":"unix://etcd:0/readyz"}]`) {
		t.Errorf("environment: %q", o.Config.Env)
	}
	same, other := r.describe(e, server, specs, "image", nil, info), server
	other.Args = []string{"--b"}
	label := func(o *container.Config) string { return o.Labels[specLabel] }
	if label(same.Config) != label(o.Config) || label(r.describe(e, other, specs, "image", nil, info).Config) == label(o.Config) {
		t.Error("the label does not tell specs apart")
	}
	if m := r.describe(e, etcd, specs, "image", nil, info).HostConfig.Mounts; len(m) != 2 || m[1].Target != "/cluster/etcd" || m[1].Source != "kwok-x-etcd-data" {
		t.Errorf("mounts: %+v", m)
	}
	if poor := r.describe(e, etcd, specs, "image", nil, system.Info{}).HostConfig; poor.Memory != 0 || poor.PidsLimit != nil {
		t.Error("limits where the engine has none")
	}
	if len(h.ExtraHosts) != 0 {
		t.Errorf("hosts: %q", h.ExtraHosts)
	}
	e.Addresses = map[string]netip.Addr{"etcd": netip.MustParseAddr("10.89.4.254"), "server": netip.MustParseAddr("10.89.4.253")}
	o = r.describe(e, server, specs, "image", nil, info)
	if got := o.HostConfig.ExtraHosts; !slices.Equal(got, []string{"etcd:10.89.4.254", "server:10.89.4.253"}) {
		t.Errorf("hosts: %q", got)
	}
	if got := o.NetworkingConfig.EndpointsConfig["kwok-x"].IPAMConfig; got == nil || got.IPv4Address.String() != "10.89.4.253" {
		t.Errorf("address: %+v", got)
	}
}

func TestPublished(t *testing.T) {
	s := runtimes.Spec{Ports: []runtimes.Port{{Number: 6443}, {Number: 8080, Local: true}}}
	for _, tt := range []struct{ engine, publish, want string }{
		{Docker, "", "127.0.0.1"}, {Docker, "0.0.0.0", "0.0.0.0"}, {Docker, "::", "::"},
		{Podman, "", "127.0.0.1"}, {Podman, "0.0.0.0", ""}, {Podman, "::", ""},
	} {
		_, ports := New(Options{Publish: tt.publish}).ports(&engine{state: state{Engine: tt.engine}}, s)
		for port, at := range ports {
			text, err := at[0].HostIP.MarshalText()
			if want := map[uint16]string{6443: tt.want, 8080: "127.0.0.1"}[port.Num()]; err != nil || string(text) != want {
				t.Errorf("%+v: port %d at %q, want %q", tt, port.Num(), text, want)
			}
		}
	}
}

func TestFixed(t *testing.T) {
	subnet, specs := netip.MustParsePrefix("10.89.4.0/27"), []runtimes.Spec{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	seen := map[netip.Addr]bool{}
	for range 100 {
		by := fixed(subnet, specs[1:], nil)
		more := fixed(subnet, specs, by)
		if len(by) != 2 || len(more) != 3 || more["b"] != by["b"] || more["c"] != by["c"] {
			t.Fatalf("%v, then %v", by, more)
		}
		of := map[netip.Addr]bool{}
		for _, at := range more {
			if !subnet.Contains(at) || at.As4()[3] < 16 || at.As4()[3] == 31 || of[at] {
				t.Fatalf("%v", more)
			}
			seen[at], of[at] = true, true
		}
		if moved := fixed(netip.MustParsePrefix("10.90.0.0/16"), specs, more); moved["b"] == more["b"] || len(moved) != 3 {
			t.Fatalf("another network: %v", moved)
		}
	}
	if len(seen) != 15 {
		t.Errorf("%d of 15 addresses are given out", len(seen))
	}
	for _, none := range []string{"10.89.4.0/30", "fd00::/64"} {
		if got := fixed(netip.MustParsePrefix(none), specs, nil); got != nil {
			t.Errorf("%s: %v", none, got)
		}
	}
}

func TestSeen(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) string { return now.Add(-d).UTC().Format(time.RFC3339Nano) }
	for _, tt := range []struct {
		state    container.State
		restarts int
		want     runtimes.State
		reason   string
	}{
		{container.State{Status: container.StateCreated}, 0, runtimes.Stopped, ""},
		{container.State{Status: container.StateExited, ExitCode: 2}, 0, runtimes.Stopped, ""},
		{container.State{Status: container.StateRunning, StartedAt: ago(time.Second)}, 0, runtimes.Starting, ""},
		{container.State{Status: container.StateRunning, StartedAt: ago(time.Hour)}, 9, runtimes.NotReady, ""},
		{container.State{Status: container.StateRunning, StartedAt: ago(time.Second)}, 5, runtimes.CrashLoop, ""},
		{container.State{Status: container.StateRestarting, StartedAt: ago(time.Second), ExitCode: 1}, 1, runtimes.Exited, "exit status 1"},
		{container.State{Status: container.StateRestarting, StartedAt: ago(time.Second), ExitCode: 137, OOMKilled: true}, 6, runtimes.CrashLoop, "killed by signal 9 (out of memory)"},
		{container.State{Status: container.StatePaused, StartedAt: ago(time.Hour)}, 0, runtimes.NotReady, "paused"},
	} {
		got := seen("x", container.InspectResponse{State: &tt.state, RestartCount: tt.restarts}, now)
		if got.State != tt.want || got.Reason != tt.reason {
			t.Errorf("%+v: %s %q, want %s %q", tt.state, got.State, got.Reason, tt.want, tt.reason)
		}
	}
}

func TestUnneeded(t *testing.T) {
	names := func(specs []runtimes.Spec) (list []string) {
		for _, s := range specs {
			list = append(list, s.Name)
		}
		return list
	}
	left := []runtimes.Spec{{Name: "etcd"}, {Name: "server", Needs: []string{"etcd"}}, {Name: "a", Needs: []string{"server"}}, {Name: "b", Needs: []string{"server"}}}
	for _, want := range []string{"a b", "server", "etcd"} {
		var now []runtimes.Spec
		if now, left = unneeded(left); strings.Join(names(now), " ") != want {
			t.Errorf("%q, want %s", names(now), want)
		}
	}
}

// TestProbe asks two components, of which one becomes ready late.
func TestProbe(t *testing.T) {
	asked := 0
	late := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked < 3 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer late.Close()
	list := encode([]question{{"late", runtimes.Probe{Ready: late.URL + "/readyz"}}})
	var out, errs bytes.Buffer
	if status := ProbeMain([]string{"health", list}, &out, &errs); status != 1 || !strings.Contains(out.String(), "500") {
		t.Errorf("health: status %d, %s%s", status, &out, &errs)
	}
	out.Reset()
	if status := ProbeMain([]string{"watch", list}, &out, &errs); status != 0 || !strings.HasSuffix(out.String(), `{"name":"late"}`+"\n") {
		t.Errorf("watch: status %d, %s%s", status, &out, &errs)
	}
	for _, args := range [][]string{nil, {"once"}, {"once", "{"}} {
		if status := ProbeMain(args, &out, &errs); status != 2 {
			t.Errorf("%q: status %d", args, status)
		}
	}
}
