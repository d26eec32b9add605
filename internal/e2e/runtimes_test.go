package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"kwokctl/runtimes/docker"
)

// demanded is the variable that lists the runtimes that tests must run on, with commas. Those it does not name are
// used when they are there.
const demanded = "KWOK_E2E_RUNTIMES"

// everywhere runs a test on every runtime there is, each time in a world of its own.
func everywhere(t *testing.T, test func(*testing.T, *world)) {
	on(t, test, "binary", docker.Docker, docker.Podman)
}

// inProcessesAndContainers is for tests that take long and would tell nothing new on a second engine.
func inProcessesAndContainers(t *testing.T, test func(*testing.T, *world)) {
	on(t, test, "binary", docker.Docker)
}

func on(t *testing.T, test func(*testing.T, *world), names ...string) {
	t.Parallel()
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorldOn(t, name))
		})
	}
}

// alone runs a test on some runtimes, and no other beside it: one that asks how long something takes, or that touches
// what others use.
func alone(t *testing.T, test func(*testing.T, *world), names ...string) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) { test(t, newWorldOn(t, name)) })
	}
}

// engines has those that tests use, one test at a time.
var engines = map[string]*sync.Mutex{docker.Docker: {}, docker.Podman: {}}

// newWorldOn makes a world whose clusters run on a runtime. It skips the test when that is not there.
func newWorldOn(t testing.TB, name string) *world {
	t.Helper()
	if name == "binary" {
		return newWorld(t)
	}
	// Names are the same in all worlds, and an engine has one of each.
	engines[name].Lock()
	t.Cleanup(engines[name].Unlock)
	w := newWorld(t)
	err := docker.New(docker.Options{Engine: name, Getenv: os.Getenv}).Available(context.Background())
	if err != nil && slices.Contains(strings.Split(os.Getenv(demanded), ","), name) {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	w.runtime = name
	w.env = append(w.env, "DOCKER_HOST="+os.Getenv("DOCKER_HOST"), "CONTAINER_HOST="+os.Getenv("CONTAINER_HOST"))
	return w
}

// thing is anything an engine has.
type thing struct {
	Name   string // not of containers, which have Names
	Names  []string
	Labels map[string]string
	Ports  []struct { // of containers
		IP         string
		PublicPort int
	}
}

// things returns the containers, networks and volumes that an engine has of the clusters of this world.
func (w *world) things() []thing {
	w.t.Helper()
	if w.runtime == "" {
		return nil
	}
	const label = "kwok.x-k8s.io/directory"
	filters := "?all=1&filters=" + url.QueryEscape(`{"label":["`+label+`"]}`)
	var containers, networks []thing
	var volumes struct{ Volumes []thing }
	w.engineCall(http.MethodGet, "/containers/json"+filters, nil, &containers)
	w.engineCall(http.MethodGet, "/networks"+filters, nil, &networks)
	w.engineCall(http.MethodGet, "/volumes"+filters, nil, &volumes)
	return slices.DeleteFunc(slices.Concat(containers, networks, volumes.Volumes), func(t thing) bool {
		return !strings.HasPrefix(t.Labels[label], w.dir)
	})
}

// thingsOf returns those of one cluster.
func (w *world) thingsOf(name string) []thing {
	w.t.Helper()
	return slices.DeleteFunc(w.things(), func(t thing) bool { return t.Labels["kwok.x-k8s.io/cluster"] != name })
}

// engineSocket is where an engine listens.
func engineSocket(name string) string {
	variable, host := "DOCKER_HOST", "unix:///var/run/docker.sock"
	if name == docker.Podman {
		variable, host = "CONTAINER_HOST", "unix:///run/podman/podman.sock"
	}
	if given := os.Getenv(variable); given != "" {
		return given
	}
	return host
}

// engineCall asks the engine of a world something in its own words; body is JSON to be, or a tar archive. The answer is
// JSON, unless into is a buffer. It fails the test unless the answer is good.
func (w *world) engineCall(method, path string, body, into any) {
	w.t.Helper()
	if err := w.engineAsked(method, path, body, into); err != nil {
		w.t.Fatal(err)
	}
}

// engineAsked is what engineCall does, but returns what is wrong with the answer.
func (w *world) engineAsked(method, path string, body, into any) error {
	w.t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(cmp.Or(w.socket, engineSocket(w.runtime)), "unix://"))
	}}}
	defer client.CloseIdleConnections()
	kind := "application/json"
	var in io.Reader = http.NoBody
	if archive, ok := body.(*bytes.Buffer); ok {
		kind, in = "application/x-tar", archive
	} else if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, "http://engine/v1.41"+path, in)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	res, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s %w", method, path, res.Status, text, err)
	}
	if buffer, ok := into.(*bytes.Buffer); ok {
		buffer.Write(text)
	} else if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			return fmt.Errorf("%s %s: %w: %s", method, path, err, text)
		}
	}
	return nil
}

// noContainers fails the test when an engine still has something of a cluster of this world.
func (w *world) noContainers() {
	w.t.Helper()
	if left := w.things(); len(left) > 0 {
		w.t.Errorf("the engine still has %v", left)
	}
}
