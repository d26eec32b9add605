package e2e

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDaily uses the commands of every day on one cluster.
func TestDaily(t *testing.T) { everywhere(t, testDaily) }

func testDaily(t *testing.T, w *world) {
	w.create("a")
	for _, part := range []struct {
		name string
		test func(*world)
	}{
		{"logs", (*world).exportsLogs}, {"ports", (*world).forwardsPorts}, {"dry run", (*world).onlySays}, {"recording", (*world).records},
		{"component", (*world).componentAlone},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(w.in(t)) })
	}
}

// exportsLogs looks into the directory that it writes.
func (w *world) exportsLogs() {
	w.t.Helper()
	to := filepath.Join(w.home, "ci", "logs")
	dir := filepath.Join(to, "a")
	if got := w.ok("--name", "a", "export", "logs", to); got != dir+"\n" {
		w.t.Errorf("%q", got)
	}
	files := []string{"kwok.yaml", "components/etcd.log", "components/kube-apiserver.log", "components/kube-controller-manager.log",
		"components/kube-scheduler.log", "components/kwok-controller.log"}
	if w.runtime == "" {
		files = append(files, "binary-info.txt", "components/supervisor.log")
	}
	for _, name := range files {
		if read(filepath.Join(dir, name)) == "" {
			w.t.Errorf("%s is missing or empty", name)
		}
	}
	w.fails(1, []string{dir, "has logs already"}, "--name", "a", "export", "logs", to)
	if got := w.ok("--name", "a", "export", "logs"); got != filepath.Join(w.cluster("a"), "export", "logs")+"\n" {
		w.t.Errorf("%q", got)
	}
}

// forwardsPorts reaches components by ports that are free here.
func (w *world) forwardsPorts() {
	w.t.Helper()
	for port, path := range map[string]string{"kwok-controller :http": "/healthz", "etcd :client": "/health"} {
		r := w.begin(w.command(context.Background(), append([]string{"--name", "a", "port-forward"}, strings.Fields(port)...)...))
		address := func() string {
			_, rest, _ := strings.Cut(r.errs.String(), "Forwarding ")
			address, _, _ := strings.Cut(rest, " to ")
			return address
		}
		w.eventually(10*time.Second, "the port is told", func() bool { return address() != "" })
		if !strings.HasPrefix(address(), "127.0.0.1:") {
			w.t.Errorf("it listens at %s", address())
		}
		resp, err := http.Get("http://" + address() + path)
		if err != nil {
			w.t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || len(body) == 0 {
			w.t.Errorf("%s: %s %q", port, resp.Status, body)
		}
		if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
			w.t.Fatal(err)
		}
		if res := r.wait(); res.code != 0 {
			w.t.Errorf("%s: %+v", port, res)
		}
	}
	w.fails(1, []string{`no port "x"`, "http ("}, "--name", "a", "port-forward", "kwok-controller", "8080:x")
	w.fails(1, []string{"LOCAL:PORT"}, "--name", "a", "port-forward", "kwok-controller", "99999:http")
}

// onlySays asks what would be done, and finds that it was not.
func (w *world) onlySays() {
	w.t.Helper()
	for args, word := range map[string]string{"stop cluster": "kube-scheduler", "stop component etcd": "etcd", "logs etcd": "etcd", "delete cluster": "rm -rf"} {
		if got := w.ok(append(strings.Fields(args), "--name", "a", "--dry-run")...); !strings.Contains(got, word) {
			w.t.Errorf("%s: %q", args, got)
		}
	}
	if got := w.status("a"); got != "Ready" {
		w.t.Errorf("status of the cluster: %s", got)
	}
}

// records takes a short history down, and plays it.
func (w *world) records() {
	w.t.Helper()
	path := filepath.Join(w.home, "run.yaml")
	recording := w.recorder("snapshot", "record", "--name", "a", "--path", path)
	w.ok("scale", "node", "--replicas", "2", "--name", "a")
	w.kubectl("a", "create", "configmap", "kept", "--from-literal=a=b")
	w.eventually(10*time.Second, "it is recorded", func() bool { return strings.Contains(read(path), "kept") })
	uid := w.kubectl("a", "get", "configmap", "kept", "-o", "jsonpath={.metadata.uid}")
	recording.end()
	w.kubectl("a", "delete", "configmap", "kept")
	w.ok("snapshot", "replay", "--name", "a", "--path", path, "--speed", "0")
	if got := w.kubectl("a", "get", "configmap", "kept", "-o", "jsonpath={.metadata.uid}"); got != uid {
		w.t.Errorf("uid %q, want %q", got, uid)
	}
	w.ready("a")
}

// componentAlone stops and starts one of many. At the end two of them run.
func (w *world) componentAlone() {
	w.t.Helper()
	before := w.components("a")
	w.ok("stop", "component", "kube-scheduler", "--name", "a")
	w.ok("stop", "component", "kube-scheduler", "--name", "a")
	after := w.components("a")
	if after["kube-scheduler"].State != "Stopped" || after["kube-apiserver"].PID != before["kube-apiserver"].PID {
		w.t.Errorf("%+v", after)
	}
	if got := w.status("a"); got != "NotReady" {
		w.t.Errorf("status of the cluster: %s", got)
	}
	w.ok("start", "component", "kube-scheduler", "--name", "a")
	w.ok("start", "component", "kube-scheduler", "--name", "a")
	if got := w.status("a"); got != "Ready" {
		w.t.Errorf("status of the cluster: %s", got)
	}
	w.ok("stop", "cluster", "--name", "a")
	w.ok("start", "component", "kube-apiserver", "--name", "a") // with etcd, which it needs
	after = w.components("a")
	if after["etcd"].State != "Ready" || after["kube-apiserver"].State != "Ready" || after["kube-scheduler"].State != "Stopped" {
		w.t.Errorf("%+v", after)
	}
	w.fails(1, []string{`no component "nobody"`, "kube-scheduler"}, "stop", "component", "nobody", "--name", "a")
	w.fails(1, []string{"no such cluster"}, "start", "component", "etcd", "--name", "nobody")
}
