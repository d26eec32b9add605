package e2e

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kubeletRules answer for pods of the namespace default. Programs are those of the machine, or of the image, which has
// nothing but kwokctl.
const kubeletRules = `
kind: ClusterLogs
metadata: {name: logs}
spec:
  selector: {matchNamespaces: [default]}
  logs: [{logsFile: app.log}]
---
kind: Attach
metadata: {name: p, namespace: default}
spec: {attaches: [{logsFile: app.log}]}
---
kind: ClusterExec
metadata: {name: exec}
spec:
  selector: {matchNamespaces: [default]}
  execs: [{local: {envs: [{name: MARK, value: here}]}}]
---
kind: ClusterPortForward
metadata: {name: web}
spec:
  selector: {matchNamespaces: [default]}
  forwards: [{ports: [80], target: {address: HOST, port: PORT}}]
`

// TestKubelet reads logs, runs commands, attaches and forwards a port through the API server to a simulated pod.
func TestKubelet(t *testing.T) { everywhere(t, testKubelet) }

func testKubelet(t *testing.T, w *world) {
	log, config := filepath.Join(w.home, "app.log"), filepath.Join(w.home, "kubelet.yaml")
	line := func(text string) string { return "2026-01-01T00:00:00Z stdout F " + text + "\n" }
	write(t, log, line("first"))
	if err := os.Chmod(log, 0o644); err != nil { // for whoever a container runs as
		t.Fatal(err)
	}
	// The port leads to the controller itself, which is at that address in its container too.
	port := freePort(t)
	text := strings.NewReplacer("HOST", "127.0.0.1", "PORT", port).Replace(kubeletRules)
	if w.runtime != "" {
		text += "---\nkind: KwokctlConfiguration\napiVersion: config.kwok.x-k8s.io/v1alpha1\ncomponentsPatches:\n" +
			"- name: kwok-controller\n  extraVolumes: [{name: logs, hostPath: " + w.home + ", mountPath: " + w.home + ", readOnly: true}]\n"
	}
	write(t, config, text)
	w.create("k", "-c", config, "--controller-port", port)
	w.ok("scale", "node", "--replicas", "1", "--name", "k")
	const pod = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: NS}, spec: {containers: [{name: c, image: i}]}}\n"
	w.apply("k", strings.Replace(pod, "NS", "default", 1)+"---\n"+strings.Replace(pod, "NS", "kube-public", 1))
	for _, ns := range []string{"default", "kube-public"} {
		w.kubectl("k", "wait", "pod", "p", "-n", ns, "--for", "condition=Ready", "--timeout", "30s")
	}
	if got := w.kubectl("k", "logs", "p"); got != "first\n" {
		t.Errorf("logs: %q", got)
	}
	for _, c := range [][]string{{"logs", "p"}, {"exec", "p", "--", "env"}, {"attach", "p"}} {
		w.fails(1, []string{"is for container c of pod kube-public/p, which is simulated"}, append([]string{"--name", "k", "kubectl", "-n", "kube-public"}, c...)...)
	}
	w.execs()
	w.streams(log, line)
	w.forwards()
	w.noStranger(port)
}

// execs runs commands: what they see of the controller's environment, and how they end.
func (w *world) execs() {
	w.t.Helper()
	run := func(command ...string) result {
		return w.run(append([]string{"--name", "k", "kubectl", "exec", "p", "--"}, command...)...)
	}
	if w.runtime != "" { // where there is no program but this one
		if r := run("/bin/kwokctl", "--version"); r.code != 0 || !strings.Contains(r.stdout, "kwokctl") {
			w.t.Errorf("exec: %+v", r)
		}
		if r := run("/bin/kwokctl", "no-such-command"); r.code != 1 || !strings.Contains(r.stderr, "no-such-command") {
			w.t.Errorf("exec: exit status %d: %s", r.code, r.stderr)
		}
		return
	}
	if r := run("env"); r.stdout != "MARK=here\n" {
		w.t.Errorf("exec env: %+v", r)
	}
	if r := run("sh", "-c", "echo wrong >&2; exit 7"); r.code != 7 || !strings.HasPrefix(r.stderr, "wrong\n") {
		w.t.Errorf("exec: %+v", r)
	}
}

// streams follows the log, and attaches: that shows only what comes after.
func (w *world) streams(log string, line func(string) string) {
	w.t.Helper()
	for _, c := range []struct{ command, first string }{{"logs -f p", "first"}, {"attach p", "after"}} {
		ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
		cmd := w.command(ctx, append([]string{"--name", "k", "kubectl"}, strings.Fields(c.command)...)...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			w.t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			w.t.Fatal(err)
		}
		go func() { // when kubectl attach listens cannot be seen
			for ctx.Err() == nil {
				appendTo(w.t, log, line("after"))
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		}()
		in := bufio.NewScanner(out)
		if !in.Scan() || in.Text() != c.first {
			w.t.Errorf("%s: %q", c.command, in.Text())
		}
		for in.Text() != "after" && in.Scan() {
		}
		cancel()
		_ = cmd.Wait() // it was killed
	}
}

func appendTo(t testing.TB, path, text string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Error(err)
		return
	}
	if _, err := f.WriteString(text); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// forwards asks the controller for its health by way of the pod.
func (w *world) forwards() {
	w.t.Helper()
	port := freePort(w.t)
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	cmd := w.command(ctx, "--name", "k", "kubectl", "port-forward", "p", port+":80")
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	if in := bufio.NewScanner(out); !in.Scan() || !strings.Contains(in.Text(), "Forwarding") {
		w.t.Errorf("port-forward: %q", in.Text())
	}
	if code, got := fetch(w.t, "http://127.0.0.1:"+port+"/healthz"); code != http.StatusOK || got != "ok" {
		w.t.Errorf("by way of the pod: %d %q", code, got)
	}
	cancel()
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // it was killed
}

// noStranger asks as people of this machine can, who have no certificate.
func (w *world) noStranger(port string) {
	w.t.Helper()
	if code, _ := fetch(w.t, "http://127.0.0.1:"+port+"/containerLogs/default/p/c"); code != http.StatusNotFound {
		w.t.Errorf("without TLS: %d", code)
	}
}
