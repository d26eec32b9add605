package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDeathAtStart makes each component die while the cluster starts: at once and with its own words, or because a
// stranger has the port that it is told to listen on, which cannot be in a container; the controller-manager when it has
// said that it is ready. Nothing may be left.
func TestDeathAtStart(t *testing.T) { inProcessesAndContainers(t, testDeathAtStart) }

func testDeathAtStart(t *testing.T, w *world) {
	const taken = "address already in use"
	_, stolen := occupy(t, 0)
	for i, tt := range []struct{ component, arg, word string }{
		{"etcd", "data-dir=/dev/null/data", "/dev/null"},
		{"etcd", fmt.Sprintf("listen-metrics-urls=http://127.0.0.1:%d", stolen), taken},
		{"kube-apiserver", "etcd-servers-overrides=nonsense", "etcd-servers-overrides"},
		{"kube-controller-manager", "root-ca-file=/nowhere.crt", "/nowhere.crt"},
		{"kube-scheduler", "config=/nowhere.yaml", "/nowhere.yaml"},
		{"kwok-controller", "config=/nowhere.yaml", "/nowhere.yaml"},
	} {
		if tt.word == taken && w.runtime != "" {
			continue
		}
		name := fmt.Sprintf("dies-%d", i)
		t.Run(tt.component+" "+strings.SplitN(tt.arg, "=", 2)[0], func(t *testing.T) {
			w := w.in(t)
			r := w.run("create", "cluster", "--name", name, "--wait", "60s", "--extra-args", tt.component+"="+tt.arg)
			// 10 s are promised; a machine that tests other things beside it gets more.
			if r.code != 1 || r.took > 30*time.Second {
				t.Errorf("exit status %d after %s, want 1 within 10 s", r.code, r.took)
			}
			t.Logf("took %.1f s", r.took.Seconds())
			if !strings.Contains(r.stderr, "start "+tt.component+": ") || !strings.Contains(r.stderr, tt.word) {
				t.Errorf("the message names not %s with %q:\n%s", tt.component, tt.word, r.stderr)
			}
			w.gone(name)
			if t.Failed() {
				t.Log(r.stderr)
			}
		})
	}
	if _, err := os.Stat(w.kubeconfig()); err == nil {
		t.Errorf("there is a kubeconfig file:\n%s", read(w.kubeconfig()))
	}
}

// TestRetain keeps what is left of a cluster that could not be started, for its logs.
func TestRetain(t *testing.T) { inProcessesAndContainers(t, testRetain) }

func testRetain(t *testing.T, w *world) {
	r := w.run("create", "cluster", "--name", "kept", "--retain", "--wait", "60s", "--extra-args", "kube-scheduler=config=/nowhere.yaml")
	if r.code != 1 || !strings.Contains(r.stderr, "/nowhere.yaml") {
		t.Errorf("exit status %d: %s", r.code, r.stderr)
	}
	if got := w.processesOf("kept"); len(got) > 0 {
		t.Errorf("processes are left: %q", got)
	}
	if got := read(filepath.Join(w.cluster("kept"), "logs", "kube-scheduler.log")); w.runtime == "" && !strings.Contains(got, "/nowhere.yaml") {
		t.Errorf("log of the scheduler: %q", got)
	}
	if got := w.ok("logs", "kube-scheduler", "--name", "kept"); !strings.Contains(got, "/nowhere.yaml") {
		t.Errorf("logs kube-scheduler: %q", got)
	}
	if got := w.status("kept"); got != "Stopped" {
		t.Errorf("status: %q", got)
	}
	if got := read(w.kubeconfig()); strings.Contains(got, "kwok-kept") {
		t.Errorf("kubeconfig:\n%s", got)
	}
	w.ok("delete", "cluster", "--name", "kept")
	w.gone("kept")
}

// TestUnreadableData makes etcd's data unreadable while the cluster is stopped: start must fail, and keep it all.
func TestUnreadableData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("data")
	w.ok("stop", "cluster", "--name", "data")
	etcd := filepath.Join(w.cluster("data"), "etcd")
	if err := os.Rename(filepath.Join(etcd, "member"), filepath.Join(etcd, "aside")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(etcd, "member"), []byte("no directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(etcd)
	for _, verb := range []string{"start", "create"} {
		r := w.run(verb, "cluster", "--name", "data", "--wait", "60s")
		if r.code != 1 || r.took > 10*time.Second || !strings.Contains(r.stderr, "has lost its data: ") {
			t.Errorf("%s: exit status %d after %s, want 1 within 10 s:\n%s", verb, r.code, r.took, r.stderr)
		}
		if got := differ(before, tree(etcd)); len(got) > 0 {
			t.Errorf("%s changed etcd's data: %q", verb, got)
		}
		if got := w.status("data"); got != "Stopped" || len(w.processesOf("data")) > 0 {
			t.Errorf("after %s: status %q, processes %q", verb, got, w.processesOf("data"))
		}
	}
	if err := os.Remove(filepath.Join(etcd, "member")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(etcd, "aside"), filepath.Join(etcd, "member")); err != nil {
		t.Fatal(err)
	}
	w.ok("start", "cluster", "--name", "data", "--wait", "60s")
	w.ready("data")
}

// TestUserComponents holds that create fails when what the user describes cannot be: manifests of kinds that are not
// there, which others wait for, and programs that end at once.
func TestUserComponents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, tt := range map[string]struct{ component, words string }{
		"manifest": {`{name: h, command: [sleep, "1000"], manifestContents: ["apiVersion: nope.io/v1\nkind: Foo\nmetadata: {name: a}"]}`, "find kind Foo of nope.io/v1"},
		"ends":     {`{name: h, command: [sh, -c, "echo why; exit 3"], links: [kube-apiserver]}`, "start h: exit status 3"},
	} {
		config := filepath.Join(w.home, name+".yaml")
		write(t, config, configHead+"components:\n- "+tt.component+"\n")
		r := w.run("create", "cluster", "--name", name, "-c", config)
		if r.code != 1 || !strings.Contains(r.stderr, tt.words) || r.took > 15*time.Second {
			t.Errorf("%s: exit status %d after %s: %s", name, r.code, r.took, r.stderr)
		}
		w.gone(name)
	}
	// One that goes on living, and says nothing of its health, is ready when its manifests are there.
	config := filepath.Join(w.home, "good.yaml")
	write(t, config, configHead+`components:
- {name: h, command: [sleep, "1000"], manifestContents: ["apiVersion: v1\nkind: ConfigMap\nmetadata: {name: brought}"]}
`)
	w.create("good", "-c", config)
	w.kubectl("good", "get", "configmap", "brought")
	if got := w.status("good"); got != "Ready" {
		t.Errorf("the cluster is %s", got)
	}
}
