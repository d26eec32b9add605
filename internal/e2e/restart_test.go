package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// filled makes a cluster that has something to lose.
func (w *world) filled(name string) {
	w.t.Helper()
	w.create(name)
	w.ok("scale", "node", "--replicas", "10", "--name", name)
	w.ok("scale", "pod", "--replicas", "30", "--name", name)
	w.kubectl(name, "create", "configmap", "precious", "--from-literal=a=b")
	w.kubectl(name, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
}

// rest returns what must survive a stop: objects with their uids, ports, certificates.
func (w *world) rest(name string) map[string]string {
	w.t.Helper()
	kinds := "nodes,pods,configmaps,secrets,serviceaccounts,namespaces,clusterroles,clusterrolebindings,priorityclasses,leases"
	all := map[string]string{"configuration": read(filepath.Join(w.cluster(name), "kwok.yaml")), "ports": fmt.Sprint(w.ports(name))}
	list := w.kubectl(name, "get", kinds, "-A", "-o", `jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid}{"\n"}{end}`)
	for line := range strings.Lines(list) {
		if !strings.HasPrefix(line, "Lease kube-system/apiserver-") { // each API server makes its own
			all[line] = ""
		}
	}
	maps.Copy(all, tree(filepath.Join(w.cluster(name), "pki")))
	return all
}

func (w *world) unchanged(when string, before map[string]string, name string) {
	w.t.Helper()
	if got := differ(before, w.rest(name)); len(got) > 0 {
		w.t.Errorf("after %s these of %d differ: %q", when, len(before), got)
	}
}

// TestStop stops a cluster that is full, and starts it again.
func TestStop(t *testing.T) { inProcessesAndContainers(t, testStop) }

func testStop(t *testing.T, w *world) {
	w.filled("full")
	before := w.rest("full")
	for range 2 {
		r := w.run("stop", "cluster", "--name", "full")
		if r.code != 0 || strings.Contains(r.stderr, "killed") {
			t.Errorf("stop: exit status %d: %s", r.code, r.stderr)
		}
		t.Logf("stop took %.2f s", r.took.Seconds())
		if left := w.processesOf("full"); len(left) > 0 {
			t.Errorf("processes of a stopped cluster: %q", left)
		}
		for component, port := range w.ports("full") {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Errorf("port of %s after stop: %v", component, err)
				continue
			}
			l.Close()
		}
		if r := w.run("stop", "cluster", "--name", "full"); r.code != 0 {
			t.Errorf("stop of a stopped cluster: exit status %d: %s", r.code, r.stderr)
		}
		t.Logf("start took %.2f s", w.timed("start", "cluster", "--name", "full", "--wait", "60s").Seconds())
		w.ready("full")
		w.unchanged("stop and start", before, "full")
	}
}

// TestKilledSupervisor kills the supervisor, and then all processes at once: nothing runs on, and start brings all
// back.
func TestKilledSupervisor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.filled("orphan")
	before := w.rest("orphan")
	for i := range 4 {
		when := "the kill of the supervisor"
		if i == 3 {
			when = "the kill of all processes"
			for pid := range w.processes() {
				w.kill(pid)
			}
		} else {
			w.kill(w.supervisor("orphan"))
		}
		began := time.Now()
		w.eventually(5*time.Second, "all components end after "+when, func() bool { return len(w.processesOf("orphan")) == 0 })
		if got := w.status("orphan"); got != "Stopped" {
			t.Errorf("status after %s: %q", when, got)
		}
		t.Logf("all ended %.2f s after %s", time.Since(began).Seconds(), when)
		t.Logf("start took %.2f s", w.timed("start", "cluster", "--name", "orphan", "--wait", "60s").Seconds())
		w.ready("orphan")
		w.unchanged(when, before, "orphan")
	}
}

// TestHalfDead starts a cluster at once after its supervisor was killed, when its components may still be there.
func TestHalfDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("half")
	for range 3 {
		w.kill(w.supervisor("half"))
		w.ok("start", "cluster", "--name", "half", "--wait", "60s")
		w.ready("half")
	}
}

// stranger is a process that has nothing to do with us.
func stranger(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	return cmd
}

// runs tells whether a child of ours runs; one that was killed and not waited for has no command line.
func runs(cmd *exec.Cmd) bool { return read(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid)) != "" }

var bootID = regexp.MustCompile(`"boot": ?"[^"]*"`)

// TestReboot makes the files of a cluster say that it ran before a reboot, with pids that strangers have now.
func TestReboot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.filled("boot")
	before := w.rest("boot")
	decoy := stranger(t)
	pids := slices.Collect(maps.Keys(w.processes()))
	state := filepath.Join(w.cluster("boot"), "state.json")
	if got := read(state); !bootID.MatchString(got) {
		t.Fatalf("state file without boot id: %s", got)
	}
	for _, pid := range pids {
		w.kill(pid)
	}
	w.eventually(5*time.Second, "all end", func() bool { return len(w.processes()) == 0 })
	for _, file := range []string{state, filepath.Join(w.cluster("boot"), "supervisor.lock")} {
		text := read(file)
		for _, pid := range pids {
			text = regexp.MustCompile(fmt.Sprintf(`"pid": ?%d\b`, pid)).ReplaceAllString(text, fmt.Sprintf(`"pid": %d`, decoy.Process.Pid))
		}
		text = bootID.ReplaceAllString(text, `"boot": "00000000-0000-0000-0000-000000000000"`)
		if !json.Valid([]byte(text)) {
			t.Fatalf("%s: %s", file, text)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.status("boot"); got != "Stopped" {
		t.Errorf("status after a reboot: %q", got)
	}
	w.ok("start", "cluster", "--name", "boot", "--wait", "60s")
	w.ready("boot")
	w.unchanged("a reboot", before, "boot")
	if !runs(decoy) {
		t.Error("the stranger with the old pid was killed")
	}
}

// TestReusedPid gives the pids of a cluster that was killed to a stranger, without a reboot.
func TestReusedPid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("reused")
	for _, verb := range []string{"start", "delete"} {
		decoy := stranger(t)
		pids := slices.Collect(maps.Keys(w.processes()))
		for _, pid := range pids {
			w.kill(pid)
		}
		w.eventually(5*time.Second, "all end", func() bool { return len(w.processes()) == 0 })
		for _, file := range []string{"state.json", "supervisor.lock"} {
			path := filepath.Join(w.cluster("reused"), file)
			text := regexp.MustCompile(`"pid": ?\d+`).ReplaceAllString(read(path), fmt.Sprintf(`"pid": %d`, decoy.Process.Pid))
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w.ok(verb, "cluster", "--name", "reused")
		if !runs(decoy) {
			t.Errorf("%s killed the stranger with the old pid", verb)
		}
	}
	w.gone("reused")
}
