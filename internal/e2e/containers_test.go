package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kwokctl/runtimes/docker"
)

// inContainers runs a test on every container engine there is.
func inContainers(t *testing.T, test func(*testing.T, *world)) {
	on(t, test, docker.Docker, docker.Podman)
}

// TestInNetwork reaches the API server from another container on the network of the cluster, by name.
func TestInNetwork(t *testing.T) { inContainers(t, testInNetwork) }

func testInNetwork(t *testing.T, w *world) {
	w.create("net")
	config := w.ok("get", "kubeconfig", "--name", "net", "--host", "kwok-net-kube-apiserver")
	if strings.Contains(config, "tls-server-name") {
		t.Errorf("the certificate has not the name of the container:\n%s", config)
	}
	var image struct{ Config struct{ Image string } }
	w.engineCall(http.MethodGet, "/containers/kwok-net-etcd/json", nil, &image)
	host := map[string]any{"NetworkMode": "kwok-net", "Ulimits": []map[string]any{{"Name": "nofile", "Soft": 1024, "Hard": 1024}, {"Name": "nproc", "Soft": 1024, "Hard": 1024}}}
	w.engineCall(http.MethodPost, "/containers/create?name=kwok-net-guest", map[string]any{
		"Image": image.Config.Image, "Entrypoint": []string{"/bin/kubectl"}, "WorkingDir": "/cluster",
		"Cmd":    []string{"--kubeconfig=config.yaml", "get", "namespaces", "-o", "name"},
		"Labels": map[string]string{"kwok.x-k8s.io/directory": w.dir}, "HostConfig": host,
	}, nil)
	defer w.engineCall(http.MethodDelete, "/containers/kwok-net-guest?force=1&v=1", nil, nil)
	var files bytes.Buffer
	archive := tar.NewWriter(&files)
	if err := archive.WriteHeader(&tar.Header{Name: "config.yaml", Mode: 0o600, Uid: 65532, Gid: 65532, Size: int64(len(config))}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(archive, config)
	archive.Close()
	w.engineCall(http.MethodPut, "/containers/kwok-net-guest/archive?path=/cluster", &files, nil)
	w.engineCall(http.MethodPost, "/containers/kwok-net-guest/start", nil, nil)
	var end struct{ StatusCode int }
	w.engineCall(http.MethodPost, "/containers/kwok-net-guest/wait", nil, &end)
	var log bytes.Buffer
	w.engineCall(http.MethodGet, "/containers/kwok-net-guest/logs?stdout=1&stderr=1", nil, &log)
	if end.StatusCode != 0 || !strings.Contains(log.String(), "namespace/kube-system") {
		t.Errorf("exit status %d: %q", end.StatusCode, log.String())
	}
	if w.runtime == docker.Podman { // where components have fixed addresses
		before := w.address("net", "kube-apiserver")
		w.ok("stop", "cluster", "--name", "net")
		w.engineCall(http.MethodPost, "/containers/create?name=kwok-net-thief", map[string]any{
			"Image": image.Config.Image, "Entrypoint": []string{"/bin/etcd", "--data-dir=/cluster/thief"},
			"Labels":           map[string]string{"kwok.x-k8s.io/directory": w.dir},
			"HostConfig":       host,
			"NetworkingConfig": map[string]any{"EndpointsConfig": map[string]any{"kwok-net": map[string]any{"IPAMConfig": map[string]any{"IPv4Address": before}}}},
		}, nil)
		defer w.engineCall(http.MethodDelete, "/containers/kwok-net-thief?force=1&v=1", nil, nil)
		w.engineCall(http.MethodPost, "/containers/kwok-net-thief/start", nil, nil)
		w.ok("start", "cluster", "--name", "net")
		if after := w.address("net", "kube-apiserver"); after == before || after == "" {
			t.Errorf("the API server is at %q, which somebody else took", after)
		}
		w.kubectl("net", "get", "nodes")
	}
	w.ok("delete", "cluster", "--name", "net") // though a guest is on its network
}

// address is that of a component on the network of its cluster.
func (w *world) address(name, component string) string {
	w.t.Helper()
	var c struct {
		NetworkSettings struct {
			Networks map[string]struct{ IPAddress string }
		}
	}
	w.engineCall(http.MethodGet, "/containers/kwok-"+name+"-"+component+"/json", nil, &c)
	return c.NetworkSettings.Networks["kwok-"+name].IPAddress
}

// TestTakenNames meets what has the names of a cluster and is not of it. That stays as it was.
func TestTakenNames(t *testing.T) { inContainers(t, testTakenNames) }

func testTakenNames(t *testing.T, w *world) {
	w.create("whole") // so that there is an image
	var image struct{ Config struct{ Image string } }
	w.engineCall(http.MethodGet, "/containers/kwok-whole-etcd/json", nil, &image)
	for _, tt := range []struct {
		kind, create, remove string
		body                 map[string]any
	}{
		{"container", "/containers/create?name=kwok-taken-kube-scheduler", "/containers/kwok-taken-kube-scheduler", map[string]any{"Image": image.Config.Image}},
		{"network", "/networks/create", "/networks/kwok-taken", map[string]any{"Name": "kwok-taken"}},
		{"volume", "/volumes/create", "/volumes/kwok-taken-etcd-data", map[string]any{"Name": "kwok-taken-etcd-data"}},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			w.engineCall(http.MethodPost, tt.create, tt.body, nil)
			r := w.run("create", "cluster", "--name", "taken")
			w.oneLine("create", r, "is taken by a "+tt.kind)
			w.gone("taken")
			w.engineCall(http.MethodDelete, tt.remove, nil, nil) // fails unless it is still there
		})
	}
}

// TestRestoreIntoFreshVolume goes back to a snapshot, and to one that etcd cannot use, which changes nothing. A cluster
// whose volume was lost does not begin with no data.
func TestRestoreIntoFreshVolume(t *testing.T) { inContainers(t, testRestoreIntoFreshVolume) }

func testRestoreIntoFreshVolume(t *testing.T, w *world) {
	w.create("back")
	path := filepath.Join(w.home, "back.db")
	nodes := func() int { return len(strings.Fields(w.kubectl("back", "get", "nodes", "-o", "name"))) }
	w.ok("scale", "node", "--replicas", "2", "--name", "back")
	w.ok("snapshot", "save", "--name", "back", "--path", path)
	w.ok("scale", "node", "--replicas", "5", "--name", "back")
	w.ok("snapshot", "restore", "--name", "back", "--path", path)
	if got := nodes(); got != 2 {
		t.Errorf("%d nodes, want the 2 of the snapshot", got)
	}
	w.ready("back") // with two volumes and no more
	write(t, path, read(path)[:100_000])
	w.fails(1, nil, "snapshot", "restore", "--name", "back", "--path", path)
	if got := nodes(); got != 2 {
		t.Errorf("%d nodes after a restore that was refused, want 2", got)
	}
	w.ok("stop", "cluster", "--name", "back")
	w.engineCall(http.MethodDelete, "/containers/kwok-back-etcd", nil, nil)
	w.engineCall(http.MethodDelete, "/volumes/kwok-back-etcd-data-1", nil, nil)
	w.fails(1, []string{"kwok-back-etcd-data-1", "is gone", "snapshot restore"}, "start", "cluster", "--name", "back")
}

// TestPurge removes the image with the last cluster.
func TestPurge(t *testing.T) { alone(t, testPurge, docker.Docker, docker.Podman) }

func testPurge(t *testing.T, w *world) {
	w.create("purged")
	var image struct{ Image string }
	w.engineCall(http.MethodGet, "/containers/kwok-purged-etcd/json", nil, &image)
	w.fails(1, []string{"--purge", "--all"}, "delete", "cluster", "--name", "purged", "--purge")
	w.ok("delete", "cluster", "--all", "--purge")
	var images []struct{ Id string }
	w.engineCall(http.MethodGet, "/images/json", nil, &images)
	for _, i := range images {
		if i.Id == image.Image {
			t.Errorf("the image %s is left", i.Id)
		}
	}
}

// behindWire puts a wire before the engine, which has our image already.
func (w *world) behindWire() *wire {
	w.t.Helper()
	w.create("first")
	w.ok("delete", "cluster", "--name", "first")
	l := newWire(w.t, "unix", strings.TrimPrefix(engineSocket(w.runtime), "unix://"), filepath.Join(w.home, "e.sock"))
	w.env = append(w.env, "DOCKER_HOST=unix://"+l.at)
	return l
}

// TestEngineGoesAway cuts the line to the engine in the middle of create. Nothing is forgotten: what was made can be
// deleted, or finished, when the engine is back.
func TestEngineGoesAway(t *testing.T) { on(t, testEngineGoesAway, docker.Docker) }

func testEngineGoesAway(t *testing.T, w *world) {
	wire := w.behindWire()
	w.create("whole")
	whole := wire.carried.Load()
	w.ok("delete", "cluster", "--name", "whole")
	for i := range 4 {
		name := fmt.Sprintf("cut-%d", i)
		wire.cutAfter(whole * int64(2*i+1) / 8)
		r := w.run("create", "cluster", "--name", name, "--wait", "60s")
		// How often it asks whether components are ready differs, so a late cut may come too late.
		if r.code != 1 && !(i > 0 && r.code == 0) {
			t.Errorf("%s: exit status %d: %s", name, r.code, r.stderr)
		}
		wire.cut()
		r = w.run("delete", "cluster", "--name", name)
		if _, err := os.Stat(filepath.Join(w.cluster(name), "engine.json")); err == nil && r.code != 1 {
			t.Errorf("%s: delete without the engine: exit status %d: %s", name, r.code, r.stderr)
		}
		wire.mend()
		if i%2 == 0 {
			w.create(name)
			w.ready(name)
		}
		w.ok("delete", "cluster", "--name", name)
		w.gone(name)
	}
}

// TestSlowEngine uses an engine that takes a while for each answer, and one that takes longer than there is time.
func TestSlowEngine(t *testing.T) { on(t, testSlowEngine, docker.Docker) }

func testSlowEngine(t *testing.T, w *world) {
	wire := w.behindWire()
	wire.delay.Store(int64(200 * time.Millisecond))
	w.create("slow")
	w.ready("slow")
	w.ok("delete", "cluster", "--name", "slow")
	w.gone("slow")
	wire.delay.Store(int64(time.Second))
	w.fails(124, []string{"not done within 4s"}, "create", "cluster", "--name", "late", "--timeout", "4s")
	wire.delay.Store(0)
	w.ok("delete", "cluster", "--all")
	w.gone("late")
}

// TestAddressPoolsUsedUp creates a cluster when the engine has no range of addresses left for its network. It is not
// parallel to others, which need such ranges.
func TestAddressPoolsUsedUp(t *testing.T) {
	w := newWorldOn(t, docker.Docker)
	full := errors.New("the engine has room for any number of networks")
	for i := range 100 {
		name := fmt.Sprintf("kwok-e2e-full-%d", i)
		if full = w.engineAsked(http.MethodPost, "/networks/create", map[string]any{"Name": name}, nil); full != nil {
			break
		}
		t.Cleanup(func() { w.engineCall(http.MethodDelete, "/networks/"+name, nil, nil) })
	}
	if full == nil || !strings.Contains(full.Error(), "address pool") {
		t.Fatal(full)
	}
	w.fails(1, []string{"create network kwok-full", "no address range left", "docker network prune"}, "create", "cluster", "--name", "full")
	w.gone("full")
}

// TestDeniedEngine asks an engine that this user may not use.
func TestDeniedEngine(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	w := newWorld(t)
	home, err := os.MkdirTemp("", "kwok-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	l, err := net.Listen("unix", filepath.Join(home, "e.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(l.Addr().String(), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := os.Open(self(t))
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	const uid = 65534
	if err := os.Chown(home, uid, uid); err != nil {
		t.Fatal(err)
	}
	cmd := w.command(context.Background(), "create", "cluster", "--name", "denied", "--runtime", "docker")
	cmd.Path, cmd.Dir, cmd.ExtraFiles = "/proc/self/fd/3", home, []*os.File{program}
	cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin", "DOCKER_HOST=unix://" + l.Addr().String()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	w.oneLine("create", w.finish(cmd), "permission denied")
	if left, _ := filepath.Glob(filepath.Join(home, ".kwok", "clusters", "*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestNoEngine asks for runtimes that are not there. Nothing is written.
func TestNoEngine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = append(w.env, "DOCKER_HOST=unix://"+w.home+"/none", "CONTAINER_HOST=unix://"+w.home+"/none")
	for name, words := range map[string]string{"docker": "there is no such socket; start it", "podman": "podman system service", "nerdctl": "allowed are binary, docker, podman"} {
		if name != "nerdctl" {
			if got := w.ok("create", "cluster", "--name", "none", "--runtime", name, "--dry-run"); !strings.Contains(got, name+" \\\n  start \\\n  kwok-none-etcd\n") {
				t.Errorf("dry run: %s", got)
			}
		}
		w.oneLine(name, w.run("create", "cluster", "--name", "none", "--runtime", name), words)
		w.gone("none")
	}
}
