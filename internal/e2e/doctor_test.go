package e2e

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// findings is what doctor says, as problems and warnings in words.
func (w *world) findings(code int, args ...string) string {
	w.t.Helper()
	r := w.run(append([]string{"doctor", "-o", "json"}, args...)...)
	var list []struct{ Severity, Cluster, Message, Advice string }
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || r.code != code {
		w.t.Fatalf("doctor: exit status %d, want %d; %v\n%s%s", r.code, code, err, r.stdout, r.stderr)
	}
	var b strings.Builder
	for _, f := range list {
		if f.Advice == "" {
			w.t.Errorf("no advice for %s", f.Message)
		}
		if f.Severity == "warning" && (strings.Contains(f.Message, "MiB of memory") || strings.Contains(f.Message, "MiB are free")) {
			continue // of the machine that runs the tests
		}
		b.WriteString(f.Severity + " " + f.Cluster + ": " + f.Message + "\n")
	}
	return b.String()
}

func TestDoctor(t *testing.T) { inProcessesAndContainers(t, testDoctor) }

func testDoctor(t *testing.T, w *world) {
	has := func(code int, want string, args ...string) {
		t.Helper()
		if got := w.findings(code, args...); !strings.Contains(got, want) {
			t.Errorf("%q is not among the findings:\n%s", want, got)
		}
	}
	if got := w.findings(0); got != "" {
		t.Errorf("without a cluster: %s", got)
	}
	w.create("a")
	w.ok("scale", "node", "--name", "a", "--pool", "name=a,taint=x=y:NoSchedule")
	w.kubectl("a", "wait", "node", "--all", "--for", "condition=Ready", "--timeout", "60s")
	w.eventually(20*time.Second, "a healthy cluster has no findings", func() bool { return w.findings(0) == "" })

	w.ok("scale", "pod", "web", "--name", "a", "--replicas", "5")
	w.eventually(20*time.Second, "missing tolerations are found", func() bool {
		got := w.findings(0)
		return strings.Contains(got, "warning a: pods wait: default/web-000000") && strings.Contains(got, "and 2 more: 0/1 nodes are available: 1 node(s) had untolerated taint")
	})
	// Another controller has a node: its lease says so.
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	w.apply("a", `apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: elsewhere, namespace: kube-node-lease}
spec: {holderIdentity: stranger, leaseDurationSeconds: 200, renewTime: "`+now+`"}
`)
	has(0, "more than one controller: ", "--name", "a")
	has(0, "stranger (1)")

	if w.runtime == "" { // engines start again what was killed
		w.kill(w.supervisor("a"))
		w.eventually(20*time.Second, "all of it has ended and left its ports", func() bool {
			return len(w.processesOf("a")) == 0 && w.run("doctor").code == 0
		})
		has(0, "warning a: nobody stopped it")
		w.ok("start", "cluster", "--name", "a")
	}
	w.ok("stop", "component", "kube-scheduler", "--name", "a")
	has(1, "problem a: stopped while others run: kube-scheduler")
	w.ok("stop", "cluster", "--name", "a")
	if got := w.findings(0); strings.Contains(got, "nobody stopped it") {
		t.Errorf("after stop: %s", got)
	}
	config := read(filepath.Join(w.cluster("a"), "kwok.yaml"))
	_, rest, _ := strings.Cut(config, "hostPort: ")
	port, _, _ := strings.Cut(rest, "\n")
	if _, err := strconv.Atoi(port); err != nil {
		t.Fatalf("no port in %s", config)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	has(1, "port "+port+" for ")
	l.Close()
	if err := os.Remove(w.kubeconfig()); err != nil {
		t.Fatal(err)
	}
	has(0, "context kwok-a is gone")
	if err := os.WriteFile(w.kubeconfig(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	has(1, "problem : read kubeconfig")
	if err := os.Remove(w.kubeconfig()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(w.dir, "clusters", "stray"), 0o700); err != nil {
		t.Fatal(err)
	}
	has(0, "stray is not a cluster")
	if err := os.Remove(filepath.Join(w.dir, "clusters", "stray")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.cluster("a"), "kwok.yaml"), []byte(config[:len(config)/2]), 0o600); err != nil {
		t.Fatal(err)
	}
	has(1, "damaged")
	w.fails(1, []string{"no such cluster"}, "doctor", "--name", "nobody")
	w.fails(1, []string{"allowed are"}, "doctor", "-o", "xml")
}
