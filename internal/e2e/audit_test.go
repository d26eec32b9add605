package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kwokctl/internal/audit"
)

// auditMisuses are wrong ways to ask for an audit log.
var auditMisuses = []misuse{
	{"create|cluster|--kube-audit-policy|missing.yaml", "missing.yaml"},
	{"create|cluster|--kube-audit-policy|directory", "directory|regular file"},
	{"create|cluster|--kube-audit-policy|fifo", "fifo|regular file"},
	{"create|cluster|--kube-audit-policy|empty.yaml", "empty.yaml|empty"},
	{"create|cluster|--kube-audit-policy|field.yaml", `field.yaml|"levels"`},
	{"create|cluster|--kube-audit-policy|level.yaml", `level.yaml|"Loud"`},
	{"create|cluster|--kube-audit-policy|rules.yaml", "rules.yaml|0 rules"},
	{"create|cluster|--audit|--kube-audit-policy|rules.yaml", "rules.yaml|0 rules"},
	{"create|cluster|-c|config.yaml", "rules.yaml|0 rules"},
	{"audit|summary", `"kwok"|no such cluster`},
	{"audit|summary|--since|yesterday", `"yesterday"|10m`},
	{"audit|summary|-o|xml", `"xml"|text, json`},
	{"audit|summary|missing.log", "missing.log"},
	{"audit|tail|-f|empty.yaml", "-f"},
	{"audit|sumary", `"sumary"|summary`},
}

// TestAuditMisuse runs them. Each is refused at once, in one line, and writes nothing.
func TestAuditMisuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
	for name, text := range map[string]string{
		"empty.yaml": "", "field.yaml": head + "rules: [{levels: None}]\n", "level.yaml": head + "rules: [{level: Loud}]\n", "rules.yaml": head,
		"config.yaml": "kind: KwokctlConfiguration\napiVersion: config.kwok.x-k8s.io/v1alpha1\noptions: {kubeAuditPolicy: rules.yaml}\n",
	} {
		write(t, filepath.Join(w.home, name), text)
	}
	if err := os.Mkdir(filepath.Join(w.home, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(w.home, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(w.home)
	for _, tt := range auditMisuses {
		r := w.run(strings.Split(tt.args, "|")...)
		w.oneLine(tt.args, r, strings.Split(tt.words, "|")...)
		if diff := differ(before, tree(w.home)); len(diff) > 0 {
			t.Fatalf("%s: written: %.300q", tt.args, diff)
		}
	}
	w.env = append(w.env, "KWOK_KUBE_AUDIT_POLICY=level.yaml")
	w.oneLine("environment", w.run("create", "cluster"), "level.yaml", `"Loud"`)
}

// TestAudit makes many requests, stops the cluster with a last one, and finds every one of them in the log, once.
func TestAudit(t *testing.T) { inProcessesAndContainers(t, testAudit) }

func testAudit(t *testing.T, w *world) {
	const requests, workers = 5000, 8
	w.create("a", "--audit")
	if policy := read(filepath.Join(w.cluster("a"), "config", "audit.yaml")); policy == "" || policy != w.ok("audit", "policy") {
		t.Errorf("the policy of the cluster is not what audit policy prints:\n%s", policy)
	}
	cmd := exec.Command("/bin/sh", "-c", "exec ./kwokctl logs audit -f --name a > followed")
	cmd.Env, cmd.Dir = w.env, w.home
	follower := w.begin(cmd)
	secret := "not-to-be-in-any-log"
	w.kubectl("a", "create", "secret", "generic", "s", "--from-literal=password="+secret)
	w.kubectl("a", "create", "serviceaccount", "body-of-it")

	began := time.Now()
	client, server := w.visitor("a", "ca", "admin"), w.server("a")
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := worker; i < requests; i += workers {
				if code, _, err := call(client, http.MethodGet, fmt.Sprintf("%s/api/v1/namespaces/default/configmaps/r-%d", server, i), ""); err != nil || code != http.StatusNotFound {
					t.Errorf("request %d: %d, %v", i, code, err)
				}
			}
		})
	}
	group.Wait()
	took := time.Since(began)
	w.run("--name", "a", "kubectl", "get", "configmap", "last-call")
	w.ok("stop", "cluster", "--name", "a")

	log := w.ok("logs", "audit", "--name", "a")
	if strings.Contains(log, secret) || !strings.Contains(log, `"requestObject":{"kind":"ServiceAccount"`) {
		t.Error("the log has the data of a secret, or lacks the body of what an administrator made")
	}
	seen := map[string]int{}
	if bad, err := audit.Events(strings.NewReader(log), time.Time{}, func(e *audit.Event) {
		if e.Verb == "get" && e.Object.Resource == "configmaps" {
			seen[e.Object.Name]++
		}
	}); bad > 0 || err != nil {
		t.Errorf("%d lines are no events; %v", bad, err)
	}
	if seen["last-call"] != 1 {
		t.Errorf("the last call before the stop is in the log %d times", seen["last-call"])
	}
	for i := range requests {
		if n := seen[fmt.Sprintf("r-%d", i)]; n != 1 {
			t.Errorf("request %d is in the log %d times", i, n)
		}
	}
	t.Logf("%d requests in %s, %d bytes of log", requests, took, len(log))

	var sum audit.Summary
	if err := json.Unmarshal([]byte(w.ok("audit", "summary", "--name", "a", "-o", "json")), &sum); err != nil {
		t.Fatal(err)
	}
	count(t, "kwok-admin", sum.Users, requests)
	count(t, "404", sum.Codes, requests)
	count(t, "configmaps", sum.Resources, requests)
	if p := sum.Busiest[0]; p.User != "kwok-admin" || p.Verb != "get" || p.Resource != "configmaps" || p.Requests != requests+1 {
		t.Errorf("busiest: %+v", p)
	}
	if text := w.ok("audit", "summary", "--name", "a"); !strings.Contains(text, "USER") || !strings.Contains(text, "kwok-admin") {
		t.Errorf("summary: %s", text)
	}
	if text := w.ok("audit", "summary", "--name", "a", "--since", "2100-01-01T00:00:00Z"); text != "no requests\n" {
		t.Errorf("summary of the future: %s", text)
	}
	if text := w.ok("audit", "tail", "--name", "a"); !strings.Contains(text, "kwok-admin get configmaps default/last-call\n") {
		t.Errorf("tail: %.2000s", text)
	}
	w.eventually(10*time.Second, "the follower has all", func() bool { return read(filepath.Join(w.home, "followed")) == log })
	if err := follower.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if r := follower.wait(); r.code != 0 || r.stderr != "" {
		t.Errorf("logs audit -f: exit status %d: %s", r.code, r.stderr)
	}
}

// count fails the test unless name occurs at least so often.
func count(t *testing.T, name string, in []audit.Count, least int) {
	t.Helper()
	for _, c := range in {
		if c.Name == name && c.Requests >= least {
			return
		}
	}
	t.Errorf("%s is not there %d times: %+v", name, least, in)
}

// TestAuditPolicy runs a cluster with a policy of the user's own, which he loses afterwards, and one without audit.
func TestAuditPolicy(t *testing.T) { inProcessesAndContainers(t, testAuditPolicy) }

func testAuditPolicy(t *testing.T, w *world) {
	policy := filepath.Join(w.home, "policy.yaml")
	write(t, policy, "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Metadata\n  resources: [{group: \"\", resources: [services]}]\n- level: None\n")
	w.create("p", "--kube-audit-policy", "policy.yaml")
	if err := os.Remove(policy); err != nil {
		t.Fatal(err)
	}
	w.ok("stop", "cluster", "--name", "p")
	w.ok("start", "cluster", "--name", "p", "--wait", "120s")
	w.kubectl("p", "get", "services", "-A")
	w.kubectl("p", "get", "pods", "-A")
	log := w.ok("logs", "audit", "--name", "p")
	if !strings.Contains(log, `"resource":"services"`) || strings.Contains(log, `"resource":"pods"`) {
		t.Errorf("the log does not follow the policy: %.3000s", log)
	}
	w.ok("delete", "cluster", "--name", "p")
	w.create("q")
	w.oneLine("logs audit", w.run("logs", "audit", "--name", "q"), `"q"`, "--audit")
	w.oneLine("audit summary", w.run("audit", "summary", "--name", "q"), `"q"`, "--audit")
}
