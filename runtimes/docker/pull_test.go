package docker

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"

	"kwokctl/runtimes"
)

// TestPull has an engine that says various things of a pull.
func TestPull(t *testing.T) {
	const layer = `{"status":"Downloading","id":"a","progressDetail":{"current":%d,"total":100}}` + "\n"
	for says, want := range map[string]string{
		`{"errorDetail":{"message":"manifest\nunknown"},"error":"manifest\nunknown"}`: "pull other:1: manifest unknown",
		fmt.Sprintf(layer, 50) + `{"status":`:                                         "pull other:1: unexpected EOF",
		fmt.Sprintf(layer, 50) + "HANG":                                               "pull other:1: nothing came for 1.5s",
		fmt.Sprintf(layer, 50) + "RETRY":                                              "pull other:1: nothing came for 1.5s",
		"HANG":                                                                        "pull other:1: nothing came for 1.5s",
		fmt.Sprintf(layer, 40) + "SLOW":                                               "",
		`{"status":"Pulling","id":"a"}` + "":                                          "",
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			pulled := false
			engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				w.Header().Set("Api-Version", "1.41")
				switch {
				case strings.HasSuffix(req.URL.Path, "/images/create"):
					text, what := strings.TrimRight(says, "HANGRETYSLOW"), says[len(strings.TrimRight(says, "HANGRETYSLOW")):]
					_, _ = io.WriteString(w, text)
					_ = http.NewResponseController(w).Flush()
					for i := 0; what != "" && req.Context().Err() == nil; i++ {
						switch {
						case what == "SLOW" && i == 40: // longer in all than silence may last
							what = ""
						case what == "SLOW":
							fmt.Fprintf(w, layer, 50+i)
						case what == "RETRY":
							fmt.Fprintf(w, `{"status":"Retrying in %d seconds","id":"a"}`+"\n", i)
						}
						_ = http.NewResponseController(w).Flush()
						runtimes.Pause(req.Context(), 50*time.Millisecond)
					}
					pulled = true
				case strings.HasSuffix(req.URL.Path, "/json") && !pulled:
					w.WriteHeader(http.StatusNotFound)
					_, _ = io.WriteString(w, `{"message":"No such image"}`)
				case strings.HasSuffix(req.URL.Path, "/json"):
					_, _ = io.WriteString(w, `{"Id":"x","Config":{"Entrypoint":["/x"]}}`)
				}
			}))
			r := New(Options{Dir: t.TempDir(), Engine: Docker, Getenv: env("DOCKER_HOST=tcp://" + engine.Listener.Addr().String()), Patience: 250 * time.Millisecond})
			var most int64
			err := r.Pull(t.Context(), "other:1", func(done, _ int64) { most = max(most, done) })
			if got := fmt.Sprint(err); err == nil && want != "" || err != nil && (want == "" || got != want) {
				t.Errorf("%q: %v, want %q", says, err, want)
			}
			if strings.Contains(says, "Downloading") && most < 40 {
				t.Errorf("%q: told of %d bytes", says, most)
			}
			engine.CloseClientConnections()
			engine.Close()
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(Options{Dir: t.TempDir(), Engine: Docker, Getenv: env()}).Pull(ctx, "x", nil); err == nil {
		t.Error("no error from an engine that is not there")
	}
}

func TestCheckImage(t *testing.T) {
	for name, good := range map[string]bool{
		"a": true, "127.0.0.1:5000/a/b:1": true, "a@sha256:" + strings.Repeat("0", 64): true, "a/B": false, "a b": false, "": false, "a:": false, "--x": false,
	} {
		if err := CheckImage(name); (err == nil) != good || err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestDescribeOthers: a container of another image is no freer than one of ours, and gets nothing that only ours know.
func TestDescribeOthers(t *testing.T) {
	info := system.Info{MemTotal: 8 << 30, MemoryLimit: true, PidsLimit: true}
	e := &engine{state: state{ID: "1", Engine: Docker}}
	r := New(Options{Name: "x", Publish: "0.0.0.0"})
	s := runtimes.Spec{Name: "kube-scheduler", Program: "kube-scheduler", Image: "other:1", Args: []string{"--a"}, Needs: []string{"server"},
		Ports:  []runtimes.Port{{Name: "https", Number: 30000, Inside: 8080}, {Name: "open", Number: 30001, Local: true}},
		Mounts: []runtimes.Mount{{Host: "/h", Inside: "/i", ReadOnly: true}, {Host: "/new", Inside: "/n", Create: true}}}
	for _, tt := range []struct {
		own, command, want []string
	}{
		{nil, nil, []string{"kube-scheduler"}},
		{[]string{"/go-runner"}, nil, []string{"kube-scheduler"}},
		{[]string{"/manager"}, nil, []string{"/manager"}},
		{[]string{"/manager"}, []string{"/mine", "-x"}, []string{"/mine", "-x"}},
	} {
		s.Command = tt.command
		o := r.describe(e, s, []runtimes.Spec{s}, "ours", foreign{"other:1": tt.own}, info)
		c, h := o.Config, o.HostConfig
		if !slices.Equal(c.Entrypoint, tt.want) || c.Image != "other:1" || c.User != "65532:65532" || c.WorkingDir != WorkDir || c.Healthcheck != nil ||
			slices.ContainsFunc(c.Env, func(v string) bool { return strings.HasPrefix(v, runtimes.GateEnv) }) {
			t.Errorf("%q: %+v", tt.own, c)
		}
		if !h.ReadonlyRootfs || !slices.Equal(h.CapDrop, []string{"ALL"}) || !slices.Contains(h.SecurityOpt, "no-new-privileges") || h.Memory == 0 ||
			!slices.Equal(h.Binds, []string{"/new:/n:rw"}) || h.Mounts[1].Source != "/h" || !h.Mounts[1].ReadOnly {
			t.Errorf("%+v", h)
		}
		for port, at := range h.PortBindings {
			if want := map[uint16]string{8080: "0.0.0.0:30000", 30001: "127.0.0.1:30001"}[port.Num()]; at[0].HostIP.String()+":"+at[0].HostPort != want {
				t.Errorf("port %d at %v, want %s", port.Num(), at, want)
			}
		}
	}
}

// TestAble: only what is ours knows how to wait.
func TestAble(t *testing.T) {
	specs := []runtimes.Spec{{Name: "a", Image: "x"}, {Name: "b", Needs: []string{"a"}}, {Name: "c", Image: "x", Needs: []string{"a"}}, {Name: "d", Image: "x", Needs: []string{"a"}}}
	now, later := able(specs, map[string]container.Summary{"d": {State: container.StateRunning}})
	if len(now) != 3 || len(later) != 1 || later[0].Name != "c" {
		t.Errorf("now %+v, later %+v", now, later)
	}
}
