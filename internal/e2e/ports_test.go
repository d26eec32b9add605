package e2e

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestBusyPort asks for a port that somebody has.
func TestBusyPort(t *testing.T) { inProcessesAndContainers(t, testBusyPort) }

func testBusyPort(t *testing.T, w *world) {
	_, port := occupy(t, 0)
	for flag, component := range map[string]string{
		"--kube-apiserver-port": "kube-apiserver", "--etcd-port": "etcd", "--kube-scheduler-port": "kube-scheduler",
		"--kube-controller-manager-port": "kube-controller-manager", "--controller-port": "kwok-controller",
	} {
		r := w.run("create", "cluster", "--name", "busy", flag, strconv.Itoa(port), "--wait", "60s")
		w.oneLine(flag, r, strconv.Itoa(port), component, fmt.Sprintf("(pid %d)", os.Getpid()))
		if r.took > 2*time.Second {
			t.Errorf("%s: took %s, want 2 s at most", flag, r.took)
		}
		w.gone("busy")
	}
	if _, err := os.Stat(w.kubeconfig()); err == nil {
		t.Error("there is a kubeconfig file")
	}
}

// TestPortsOfStoppedClusters gives the ports of a stopped cluster to nobody, and does not start it when a stranger
// has one.
func TestPortsOfStoppedClusters(t *testing.T) {
	inProcessesAndContainers(t, testPortsOfStoppedClusters)
}

func testPortsOfStoppedClusters(t *testing.T, w *world) {
	w.create("first")
	first := w.ports("first")
	if w.runtime != "" && len(first) != 1 {
		t.Errorf("nobody asked for other ports than the API server's: %v", first)
	}
	for _, thing := range w.thingsOf("first") {
		for _, port := range thing.Ports {
			if port.PublicPort != 0 && int(port.PublicPort) != first["kube-apiserver"] {
				t.Errorf("%s is published at %d", thing.Names, port.PublicPort)
			}
		}
	}
	w.ok("stop", "cluster", "--name", "first")
	w.create("second")
	for component, port := range w.ports("second") {
		for theirs, taken := range first {
			if port == taken {
				t.Errorf("port %d of %s was given to %s of another cluster", port, theirs, component)
			}
		}
	}
	port := strconv.Itoa(first["kube-apiserver"])
	w.oneLine("create with a port of a stopped cluster", w.run("create", "cluster", "--name", "third", "--kube-apiserver-port", port), port, `"first"`)
	w.gone("third")
	for component, number := range first {
		l, _ := occupy(t, number)
		r := w.run("start", "cluster", "--name", "first", "--wait", "60s")
		if r.code != 1 || r.took > 2*time.Second {
			t.Errorf("a stranger has the port of %s: exit status %d after %s", component, r.code, r.took)
		}
		w.fails(1, []string{strconv.Itoa(number), component, fmt.Sprintf("(pid %d)", os.Getpid())}, "start", "cluster", "--name", "first")
		if got := w.status("first"); got != "Stopped" {
			t.Errorf("status: %q", got)
		}
		l.Close()
	}
	w.ok("start", "cluster", "--name", "first", "--wait", "60s")
	w.ready("first")
	w.ready("second")
	if now := w.ports("first"); fmt.Sprint(now) != fmt.Sprint(first) {
		t.Errorf("ports after start: %v, before: %v", now, first)
	}
}
