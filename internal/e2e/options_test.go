package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// freePort returns a port that nobody listens on now.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// fetch asks a server on this machine, with headers given as name and value.
func fetch(t testing.TB, url string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// TestOptions sets options in all the ways there are and looks at what they do.
func TestOptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	etcdPort, insecure, helperPort := freePort(t), freePort(t), freePort(t)
	mine := filepath.Join(w.home, "my-scheduler")
	if err := os.Symlink(self(t), mine); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.home, "scheduler.yaml"), "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n- schedulerName: mine\n")
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// The file that is always read; what it says of ports is overruled below.
	write(t, filepath.Join(w.dir, "kwok.yaml"), configHead+"options:\n  etcdPort: 1\n  kubeApiserverInsecurePort: 2\n  etcdPrefix: /mine\n  insecureKubeconfig: true\n")
	if err := os.MkdirAll(filepath.Join(w.home, "conf", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.home, "conf", "kustomization.yaml"), "resources:\n- base/patches.yaml\n- base/stage.yaml\n")
	write(t, filepath.Join(w.home, "conf", "base", "patches.yaml"), configHead+`metadata: {name: kwok}
options:
  etcdPort: 3
  kubeRuntimeConfig: admissionregistration.k8s.io/v1beta1=true
components:
- name: helper
  command: [sh, -c, 'echo "helper of $WHO"; exec sleep 1000']
  links: [kube-apiserver]
  envs: [{name: WHO, value: mine}]
  ports: [{name: http, port: `+helperPort+`}]
componentsPatches:
- name: kube-controller-manager
  extraArgs: [{key: node-monitor-period, value: 7s, override: true}, {key: profiling, value: "false"}]
  extraEnvs: [{name: MY_VARIABLE, value: my value}]
`)
	write(t, filepath.Join(w.home, "conf", "base", "stage.yaml"), `apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: pod-marked}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions: [{key: .status.phase, operator: NotIn, values: [Running]}]
  next:
    statusTemplate: |
      phase: Running
      message: by my stage
`)
	w.env = append(w.env, "KWOK_ETCD_PORT="+etcdPort, "KWOK_KUBE_APISERVER_INSECURE_PORT=4", "KWOK_KUBE_SCHEDULER_CONFIG=scheduler.yaml")
	w.create("kwok", "-c", "conf", "--kube-apiserver-insecure-port", insecure, "--kube-scheduler-binary", "./my-scheduler",
		"--kube-feature-gates", "MutatingAdmissionPolicy=true", "--disable-qps-limits", "--quiet-pull", "--heartbeat-factor", "3",
		"--node-lease-duration-seconds", "0", "--etcd-quota-backend-size", "512Mi", "--extra-args", "kube-apiserver=v=1")

	t.Run("ports", func(t *testing.T) {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+etcdPort); err != nil {
			t.Errorf("the variable did not win over the files: %v", err)
		} else {
			conn.Close()
		}
		url := "http://127.0.0.1:" + insecure
		if code, body := fetch(t, url+"/api/v1/namespaces/default"); code != 200 {
			t.Errorf("insecure port: %d %s", code, body)
		}
		for _, header := range [][]string{{"Host", "evil.example"}, {"Origin", "http://evil.example"}} {
			if code, body := fetch(t, url+"/api/v1/namespaces/default", header...); code != 403 {
				t.Errorf("insecure port with %v: %d %s", header, code, body)
			}
		}
		if !strings.Contains(read(w.kubeconfig()), "server: "+url) {
			t.Errorf("insecureKubeconfig: %s", read(w.kubeconfig()))
		}
		if got := w.kubectl("kwok", "version", "-o", "json"); !strings.Contains(got, "serverVersion") {
			t.Errorf("kubectl: %s", got)
		}
	})
	t.Run("processes", func(t *testing.T) {
		args := map[string]string{}
		for name, c := range w.components("kwok") {
			args[name] = read(fmt.Sprintf("/proc/%d/cmdline", c.PID))
		}
		for name, want := range map[string][]string{
			"etcd":                    {"--quota-backend-bytes=536870912"},
			"kube-apiserver":          {"--etcd-prefix=/mine", "--max-requests-inflight=0", "--v=1", "--runtime-config=admissionregistration.k8s.io/v1beta1=true", "--feature-gates=WatchListClient=false,MutatingAdmissionPolicy=true"},
			"kube-controller-manager": {"--node-monitor-period=7s", "--node-monitor-grace-period=2m0s", "--profiling=false", "--feature-gates=WatchListClient=false,MutatingAdmissionPolicy=true"},
			"kube-scheduler":          {"--config=scheduler.yaml"},
			"kwok-controller":         {"--node-lease-duration-seconds=0"},
		} {
			for _, arg := range want {
				if !strings.Contains(args[name], "\x00"+arg+"\x00") {
					t.Errorf("%s: no argument %s in %q", name, arg, args[name])
				}
			}
		}
		if n := strings.Count(args["kube-controller-manager"], "--node-monitor-period="); n != 1 {
			t.Errorf("kube-controller-manager has %d monitor periods", n)
		}
		pid := w.components("kwok")["kube-controller-manager"].PID
		if env := read(fmt.Sprintf("/proc/%d/environ", pid)); !strings.Contains(env, "MY_VARIABLE=my value\x00") {
			t.Errorf("kube-controller-manager: environment %q", env)
		}
		if link, _ := os.Readlink(filepath.Join(w.cluster("kwok"), "bin", "kube-scheduler")); link != mine {
			t.Errorf("kube-scheduler is %s, not %s", link, mine)
		}
		if got := w.ok("logs", "helper"); got != "helper of mine\n" {
			t.Errorf("helper says %q", got)
		}
	})
	t.Run("objects", func(t *testing.T) {
		if got := w.ok("etcdctl", "get", "/mine/namespaces/default", "--keys-only"); !strings.Contains(got, "/mine/namespaces/default") {
			t.Errorf("etcdPrefix: %q", got)
		}
		if got := w.kubectl("kwok", "api-versions"); !strings.Contains(got, "admissionregistration.k8s.io/v1beta1\n") {
			t.Errorf("kubeRuntimeConfig: %q", got)
		}
		if got := w.kubectl("kwok", "get", "--raw", "/metrics"); !strings.Contains(got, `kubernetes_feature_enabled{name="MutatingAdmissionPolicy",stage="BETA"} 1`) &&
			!strings.Contains(got, `kubernetes_feature_enabled{name="MutatingAdmissionPolicy",stage=""} 1`) {
			t.Error("kubeFeatureGates: the gate is not on")
		}
		w.ok("scale", "node", "--replicas", "1")
		w.apply("kwok", `
apiVersion: v1
kind: Pod
metadata: {name: mine}
spec: {schedulerName: mine, containers: [{name: c, image: i}]}
`)
		w.eventually(30*time.Second, "the pod is scheduled by my profile and played by my stage", func() bool {
			return w.kubectl("kwok", "get", "pod", "mine", "-o", "jsonpath={.spec.nodeName}/{.status.message}") == "node-000000/by my stage"
		})
		if got := w.kubectl("kwok", "get", "leases", "-n", "kube-node-lease", "-o", "name"); got != "" {
			t.Errorf("no leases were asked for: %s", got)
		}
		if got := read(filepath.Join(w.cluster("kwok"), "kwok.yaml")); !strings.Contains(got, "durationMilliseconds: 30000") {
			t.Error("nodeStatusUpdateFrequencyMilliseconds times heartbeatFactor is not in the stages")
		}
	})
	t.Run("again", func(t *testing.T) {
		r := w.run("create", "cluster", "-c", "conf", "--kube-apiserver-insecure-port", insecure, "--etcd-prefix", "/other", "--heartbeat-factor", "9")
		if r.code != 0 || !strings.Contains(r.stderr, "--heartbeat-factor (it has a heartbeat every ") || strings.Contains(r.stderr, "Stage") || !strings.Contains(r.stderr, "keeps the options it was made with; not applied: ") || !strings.Contains(r.stderr, "--etcd-prefix (it has /mine)") {
			t.Errorf("create again: %d %s", r.code, r.stderr)
		}
		write(t, filepath.Join(w.home, "patch.yaml"), configHead+"componentsPatches: [{name: kube-scheduler, extraArgs: [{key: v, value: '3'}]}]\ncomponents: [{name: mine, command: [sleep, '9']}]\n")
		if r := w.run("create", "cluster", "-c", "patch.yaml", "-v", "DEBUG"); r.code != 0 || !strings.Contains(r.stderr, "componentsPatches of kube-scheduler, component mine.") {
			t.Errorf("create again with a patch: %d %s", r.code, r.stderr)
		}
		write(t, filepath.Join(w.home, "other.yaml"), "{apiVersion: kwok.x-k8s.io/v1alpha1, kind: Stage, metadata: {name: other}, spec: {resourceRef: {apiGroup: v1, kind: Pod}, selector: {}, next: {delete: true}}}\n")
		if r := w.run("create", "cluster", "-c", "other.yaml"); r.code != 0 || !strings.Contains(r.stderr, "Stage other.") {
			t.Errorf("create again with another Stage: %d %s", r.code, r.stderr)
		}
		if r := w.run("create", "cluster", "--timeout", "1ms"); r.code != 124 || !strings.Contains(r.stderr, "not done within 1ms") {
			t.Errorf("no time: %d %s", r.code, r.stderr)
		}
		w.env = append(w.env, "KWOK_RUNTIME=docker", "KWOK_ETCD_PREFIX=/x", "KWOK_KUBE_APISERVER_PORT=5")
		before := w.components("kwok")["etcd"].PID
		w.ok("stop", "cluster")
		w.ok("start", "cluster", "--wait", "60s")
		if after := w.components("kwok")["etcd"]; after.PID == before || after.State != "Ready" {
			t.Errorf("after a restart: %+v", after)
		}
		if got := w.kubectl("kwok", "get", "pod", "mine", "-o", "name"); got != "pod/mine\n" {
			t.Errorf("after a restart: %q", got)
		}
		if got := w.ok("logs", "helper"); strings.Count(got, "helper of mine") != 2 {
			t.Errorf("helper says %q", got)
		}
	})
}

// TestWithoutAuthorization turns authorization and with it admission off.
func TestWithoutAuthorization(t *testing.T) { inProcessesAndContainers(t, testWithoutAuthorization) }

func testWithoutAuthorization(t *testing.T, w *world) {
	tool := filepath.Join(w.home, "my-etcdctl")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\necho mine: $2\nexit 7\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.dir, "kwok.yaml"), configHead+"options: {etcdctlBinary: ./my-etcdctl}\n")
	w.env = append(w.env, "KWOK_KUBE_AUTHORIZATION=false")
	w.create("kwok", "--disable-kube-scheduler", "--disable", "kwok-controller", "--extra-args", "kube-apiserver=v=1")
	if got := strings.TrimSpace(w.kubectl("kwok", "auth", "can-i", "delete", "nodes", "--as", "nobody")); got != "yes" {
		t.Errorf("nobody may delete nodes: %s", got)
	}
	if r := w.run("etcdctl", "get", "x"); r.code != 7 || r.stdout != "mine: get\n" {
		t.Errorf("an etcdctl of one's own: %d %s%s", r.code, r.stdout, r.stderr)
	}
	// The ServiceAccount plugin would refuse it.
	w.apply("kwok", "apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: kube-system}\nspec: {serviceAccountName: nobody, containers: [{name: c, image: i}]}\n")
	if got := w.kubectl("kwok", "get", "pod", "x", "-n", "kube-system", "-o", "jsonpath={.spec.volumes}"); got != "" {
		t.Errorf("admission plugins ran: %s", got)
	}
	var names []string
	for name := range w.components("kwok") {
		names = append(names, name)
	}
	if len(names) != 3 {
		t.Errorf("components: %v", names)
	}
	w.ok("stop", "cluster")
	w.ok("start", "cluster", "--wait", "60s")
}

// TestDryRun runs every command with --dry-run on a cluster that is there. Nothing changes.
func TestDryRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("kwok")
	before, pids := tree(w.cluster("kwok")), w.processes()
	for args, want := range map[string]string{
		"create cluster":              "# Cluster kwok exists; it is started as it is\n",
		"create cluster --name other": "# Add context kwok-other to " + w.kubeconfig(),
		"start cluster":               "kube-apiserver \\\n  --etcd-prefix=/registry \\\n",
		"stop cluster":                "kill $(cat " + w.cluster("kwok") + "/pids/etcd.pid)\n",
		"delete cluster":              "# Remove context kwok-kwok from " + w.kubeconfig() + "\nrm -rf " + w.cluster("kwok") + "\n",
		"delete cluster --all":        "rm -rf " + w.cluster("kwok"),
		"scale node --replicas 3":     "# Scale resource node to 3 replicas\n",
		"logs etcd":                   "cat " + w.cluster("kwok") + "/logs/etcd.log\n",
		"config tidy":                 "# Tidy the config file\n",
		"config reset":                "rm " + w.dir + "/kwok.yaml\n",
		"get components":              "etcd\n",
	} {
		if got := w.ok(append([]string{"--dry-run"}, strings.Fields(args)...)...); !strings.Contains(got, want) {
			t.Errorf("%s: %q is not in\n%s", args, want, got)
		}
	}
	if got, want := w.ok("--dry-run", "kubectl", "delete", "ns", "default"), "kubectl \\\n  --kubeconfig="+w.cluster("kwok")+"/kubeconfig.yaml \\\n  delete \\\n  ns \\\n  default\n"; got != want {
		t.Errorf("kubectl: got %q, want %q", got, want)
	}
	if now := w.processes(); fmt.Sprint(now) != fmt.Sprint(pids) {
		t.Errorf("processes: %v, before %v", now, pids)
	}
	for _, path := range differ(before, tree(w.cluster("kwok"))) {
		if !strings.HasPrefix(path, "etcd/") && !strings.HasPrefix(path, "logs/") {
			t.Errorf("changed: %s", path)
		}
	}
	if names := w.ok("get", "clusters"); names != "kwok\n" {
		t.Errorf("clusters: %q", names)
	}
}
