package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kwokctl/internal/api"
)

// TestDryRun holds what --dry-run prints against golden files: a new cluster, plain and with options, and then the
// commands on a cluster that is there.
func TestDryRun(t *testing.T) {
	home := t.TempDir()
	scheduler := filepath.Join(home, "scheduler.yaml")
	writeTest(t, scheduler, "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n")
	writeTest(t, filepath.Join(home, "conf.yaml"), `apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokctlConfiguration
options: {kubeAdmission: false}
componentsPatches:
- name: kube-apiserver
  extraArgs: [{key: v, value: "2"}, {key: etcd-prefix, value: /mine, override: true}, {key: profiling}]
  extraEnvs: [{name: A, value: b c}]
components:
- name: helper
  command: [/bin/sh, -c, "echo 'hello' $HOME"]
  links: [kube-scheduler]
---
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokctlResource
metadata: {name: node}
parameters: {a: 1}
template: "kind: Node"
`)
	const ports = " --kube-apiserver-port 26443 --kube-controller-manager-port 26257 --kube-scheduler-port 26259 --controller-port 26247"
	kwokctl := func(args string) (status int, stdout, stderr string) {
		var out, errs bytes.Buffer
		status = Main(strings.Fields(args), Env{In: strings.NewReader(""), Out: &out, Err: &errs, Version: "v1.2.3",
			Getenv: func(key string) string { return map[string]string{"HOME": home}[key] }})
		return status, out.String(), errs.String()
	}
	run := func(name, args string) {
		t.Helper()
		status, stdout, stderr := kwokctl(args)
		if status != 0 {
			t.Fatalf("kwokctl %s: status %d: %s", args, status, stderr)
		}
		golden(t, filepath.Join("testdata", "dryrun", name+".sh"), strings.ReplaceAll(stdout, home, "<home>"))
	}
	run("create", "--dry-run create cluster --name x"+ports)
	run("create-options", "--dry-run create cluster --name x -c "+home+"/conf.yaml --kube-scheduler-config "+scheduler+
		" --audit --etcd-port 26379 --kube-apiserver-insecure-port 26080 --disable kwok-controller --extra-args etcd=heartbeat-interval=50 --enable-crds Metric --kubeconfig= -v DEBUG"+ports)
	run("create-docker", "--dry-run create cluster --name x --runtime docker"+ports)
	if entries, err := os.ReadDir(filepath.Join(home, ".kwok")); err == nil {
		t.Errorf("a dry run has written %v", entries)
	}

	dir := filepath.Join(home, ".kwok", "clusters", "x")
	cfg := api.NewKwokctlConfiguration()
	cfg.Options.KubeApiserverPort, cfg.Options.KubeControllerManagerPort, cfg.Options.KubeSchedulerPort, cfg.Options.KwokControllerPort = 26443, 26257, 26259, 26247
	cfg.Status = api.KwokctlStatus{Version: "1.2.3", Kubeconfig: home + "/.kube/config"}
	var stored bytes.Buffer
	if err := api.Save(&stored, cfg); err != nil {
		t.Fatal(err)
	}
	writeTest(t, filepath.Join(dir, "kwok.yaml"), stored.String())
	writeTest(t, filepath.Join(dir, ".kwokctl"), "x\n")
	for name, args := range map[string]string{
		"create-again": "create cluster", "start": "start cluster", "stop": "stop cluster", "delete": "delete cluster",
		"logs": "logs etcd -f", "scale": "scale node --replicas 7",
		"start-component": "start component etcd", "stop-component": "stop component kube-scheduler", "export-logs": "export logs /tmp/logs",
		"port-forward": "port-forward kwok-controller 8080:http", "config-tidy": "config tidy", "config-reset": "config reset", "get": "get clusters", "convert": "config convert -w " + home + "/conf.yaml",
	} {
		run(name, "--dry-run --name x "+args)
	}
	run("kubectl", "--dry-run --name x kubectl get pods -c app -l a!=b")
	cfg.Options.Runtime = "podman"
	stored.Reset()
	if err := api.Save(&stored, cfg); err != nil {
		t.Fatal(err)
	}
	writeTest(t, filepath.Join(dir, "..", "p", "kwok.yaml"), stored.String())
	writeTest(t, filepath.Join(dir, "..", "p", ".kwokctl"), "p\n")
	for name, args := range map[string]string{"podman-start": "start cluster", "podman-delete": "delete cluster", "podman-logs": "logs etcd -f"} {
		run(name, "--dry-run --name p "+args)
	}
	writeTest(t, filepath.Join(home, "state.yaml"), "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n")
	run("snapshot-save", "--dry-run --name x snapshot save --path /tmp/state.db")
	run("snapshot-save-k8s", "--dry-run --name x snapshot save --format k8s --path /tmp/state.yaml")
	writeTest(t, filepath.Join(home, "state.db"), strings.Repeat("\x00", 16)+"\xed\xda\x0c\xed") // how a database begins
	run("snapshot-restore", "--dry-run --name x snapshot restore --path "+home+"/state.db")
	run("snapshot-restore-k8s", "--dry-run --name x snapshot restore --path "+home+"/state.yaml")
	run("snapshot-export", "--dry-run snapshot export --path /tmp/state.yaml")
	run("snapshot-record", "--dry-run --name x snapshot record --path /tmp/run.yaml")
	run("snapshot-record-other", "--dry-run snapshot export --record --path /tmp/run.yaml")
	run("snapshot-replay", "--dry-run --name x snapshot replay --path "+home+"/state.yaml")
	run("create-from", "--dry-run create cluster --name y --from "+home+"/state.yaml"+strings.ReplaceAll(ports, " 26", " 27"))
	writeTest(t, filepath.Join(home, "bad.yaml"), "apiVersion: v1\nkind: Node\nmetadata: {}\n")
	for _, args := range []string{"create cluster --name z --from ", "--name x snapshot restore --path "} {
		if status, _, stderr := kwokctl("--dry-run " + args + home + "/bad.yaml"); status != 1 || !strings.Contains(stderr, "bad.yaml: line 1") {
			t.Errorf("%s of a bad file: status %d, %q", args, status, stderr)
		}
	}
	if status, _, stderr := kwokctl("--dry-run create cluster --name z --disable-kube-scheduler"); status != 0 || !strings.Contains(stderr, "--disable-kube-scheduler is deprecated; use --disable kube-scheduler") {
		t.Errorf("a deprecated flag: status %d, %q", status, stderr)
	}
	run("kectl", "--dry-run --name x kectl get no")
	run("etcdctl", "--dry-run --name x etcdctl get /")
}

func writeTest(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDryRunRefused holds that no command takes --dry-run and does it nevertheless.
func TestDryRunRefused(t *testing.T) {
	for _, name := range []string{"completion bash", "help"} {
		status, _, errs := execute(t, append([]string{"--dry-run"}, strings.Fields(name)...)...)
		if status != 0 && !strings.Contains(errs, "--dry-run") {
			t.Errorf("%s: %d %s", name, status, errs)
		}
	}
	env := &Env{}
	root := newRoot(env)
	env.dryRun = true
	cmd := parent("new", "A command of later")
	root.AddCommand(cmd)
	if err := env.checkDry(cmd); err == nil || fmt.Sprint(err) != "--dry-run: kwokctl new would not follow it" {
		t.Errorf("a command that nobody listed: %v", err)
	}
}
