package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

const confHead = "apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: KwokctlConfiguration\n"

// account is a user with files and variables of their own.
type account struct {
	t    *testing.T
	home string
	env  map[string]string
}

func newAccount(t *testing.T) *account {
	home := t.TempDir()
	return &account{t: t, home: home, env: map[string]string{"HOME": home}}
}

func (a *account) file(name, text string) string {
	path := filepath.Join(a.home, name)
	writeTest(a.t, path, text)
	return path
}

func (a *account) environment(stdin string) (Env, *bytes.Buffer, *bytes.Buffer) {
	var out, errs bytes.Buffer
	return Env{In: strings.NewReader(stdin), Out: &out, Err: &errs, Version: "v1.2.3", verbosity: "INFO",
		Getenv: func(key string) string { return a.env[key] }, Environ: func() (all []string) {
			for key, value := range a.env {
				all = append(all, key+"="+value)
			}
			return all
		}}, &out, &errs
}

func (a *account) run(stdin string, args ...string) (int, string, string) {
	a.t.Helper()
	env, out, errs := a.environment(stdin)
	status := Main(args, env)
	return status, out.String(), errs.String()
}

// TestPrecedence holds the order flag, variable, named file, default file, default, with documents in all of them.
func TestPrecedence(t *testing.T) {
	a := newAccount(t)
	a.file(".kwok/kwok.yaml", confHead+"options: {etcdPort: 1, kubeSchedulerPort: 1, kubeApiserverPort: 1, kwokControllerPort: 1, enable: [a, b]}\n"+
		"componentsPatches: [{name: p, extraArgs: [{key: a}]}, {name: q, extraArgs: [{key: a}]}]\n")
	first := a.file("first.yaml", confHead+"options: {kubeSchedulerPort: 2, kubeApiserverPort: 2, kwokControllerPort: 2, enable: [c]}\n---\n"+
		confHead+"options: {kwokControllerPort: 3}\n")
	a.env["KWOK_KUBE_APISERVER_PORT"], a.env["KWOK_CONTROLLER_PORT"], a.env["KWOK_ETCD_BINARY"] = "4", "4", ""
	env, _, _ := a.environment(confHead + "componentsPatches: [{name: q, extraArgs: [{key: b}]}, {name: r}]\noptions: {securePort: false}\n")
	env.configs = []string{first, "-"}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	optionFlags(flags)
	if err := flags.Parse([]string{"--controller-port", "5", "--disable", "d,e", "--disable=f", "--extra-args", "a=b=c,d", "--extra-args", "e=f=g"}); err != nil {
		t.Fatal(err)
	}
	cfg, docs, err := env.configuration(flags)
	if err != nil {
		t.Fatal(err)
	}
	o := cfg.Options
	if o.EtcdPort != 1 || o.KubeSchedulerPort != 2 || o.KubeApiserverPort != 4 || o.KwokControllerPort != 5 || o.EtcdPrefix != "/registry" {
		t.Errorf("options: %+v", o)
	}
	if got := strings.Join(o.Enable, " ") + "; " + strings.Join(o.Disable, " ") + "; " + strings.Join(o.ExtraArgs, " "); got != "c; d e f; a=b=c,d e=f=g" {
		t.Errorf("lists: %s", got)
	}
	if o.SecurePort || o.KubeAuthorization || o.KubeAdmission {
		t.Errorf("authorization follows the secure port, and admission authorization: %+v", o)
	}
	if o.NodeLeaseDurationSeconds != 200 || o.HeartbeatFactor != 1 || o.NodeStatusUpdateFrequencyMilliseconds != 50000 {
		t.Errorf("times: %+v", o)
	}
	var names []string
	for _, p := range cfg.ComponentsPatches {
		for _, arg := range p.ExtraArgs {
			names = append(names, p.Name+"="+arg.Key)
		}
	}
	if got := strings.Join(names, " "); got != "p=a q=b" || len(cfg.ComponentsPatches) != 3 {
		t.Errorf("patches: %s of %+v", got, cfg.ComponentsPatches)
	}
	for field, want := range map[string]string{
		"etcdPort": a.home + "/.kwok/kwok.yaml:3: options.etcdPort", "kubeSchedulerPort": first + ":3: options.kubeSchedulerPort",
		"kubeApiserverPort": "KWOK_KUBE_APISERVER_PORT", "kwokControllerPort": "--controller-port", "etcdPrefix": "etcdPrefix",
	} {
		if got := docs.settings.Source(field); got != want {
			t.Errorf("%s was set by %s, want %s", field, got, want)
		}
	}
}

// TestMistyped names variables that are like one of ours, and says nothing of others.
func TestMistyped(t *testing.T) {
	a := newAccount(t)
	a.env["KWOK_KUBE_VERSON"], a.env["KWOK_REPO"], a.env["KWOK_LATEST_RELEASE"], a.env["KWOK_QUIET_PULL"] = "1", "2", "3", "true"
	status, _, errs := a.run("", "config", "view")
	if want := "KWOK_KUBE_VERSON is ignored: there is no such variable; did you mean KWOK_KUBE_VERSION?\n"; status != 0 || errs != want {
		t.Errorf("status %d, %q; want %q", status, errs, want)
	}
}

// TestQuiet holds that -v WARN leaves only warnings and errors.
func TestQuiet(t *testing.T) {
	a := newAccount(t)
	file := a.file("c.yaml", "kind: Pod\napiVersion: v1\n")
	for level, want := range map[string]string{"INFO": "Wrote " + a.home + "/.kwok/kwok.yaml.\n", "WARN": "", "8": ""} {
		status, _, errs := a.run("", "-v", level, "-c", file, "config", "tidy")
		if want = file + ": kind Pod is not known; ignored\n" + want; status != 0 || errs != want {
			t.Errorf("-v %s: status %d, %q; want %q", level, status, errs, want)
		}
	}
}

func TestConfigView(t *testing.T) {
	a := newAccount(t)
	file := a.file("c.yaml", confHead+"options: {heartbeatFactor: 2}\n---\nkind: Stage\nmetadata: {name: s}\nspec: {resourceRef: {kind: Pod}}\n---\n"+
		"kind: KwokConfiguration\noptions: {cidr: 10.9.0.0/16}\n---\nkind: Deployment\napiVersion: apps/v1\n")
	a.env["KWOK_ETCD_PORT"] = "2379"
	status, out, errs := a.run("", "-c", file, "config", "view")
	if status != 0 || errs != file+": kind Deployment is not known; ignored\n" {
		t.Errorf("%d %s", status, errs)
	}
	for _, want := range []string{"heartbeatFactor: 2\n", "etcdPort: 2379\n", "nodeLeaseDurationSeconds: 40\n", "\n\n---\n", "cidr: 10.9.0.0/16", "kind: Stage"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	var kinds []string
	for line := range strings.Lines(out) {
		if kind, ok := strings.CutPrefix(line, "kind: "); ok {
			kinds = append(kinds, strings.TrimSpace(kind))
		}
	}
	if strings.Join(kinds, " ") != "KwokConfiguration KwokctlConfiguration Stage" {
		t.Errorf("not sorted by kind:\n%s", out)
	}
}

func TestConfigTidy(t *testing.T) {
	a := newAccount(t)
	path := a.file(".kwok/kwok.yaml", confHead+"options: {etcdPort: 5}\n")
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	more := a.file("more.yaml", confHead+"options: {kubeAdmission: false}\n---\nkind: KwokConfiguration\noptions: {cidr: 10.9.0.0/16}\n")
	if status, _, errs := a.run("", "-c", more, "config", "tidy"); status != 0 {
		t.Fatal(errs)
	}
	want := "apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: KwokConfiguration\noptions:\n  cidr: 10.9.0.0/16\n\n---\n" +
		confHead + "options:\n  etcdPort: 5\n  kubeAdmission: false\n"
	if got, _ := os.ReadFile(path); string(got) != want {
		t.Errorf("got\n%s", got)
	}
	if status, _, errs := a.run("", "config", "reset"); status != 0 {
		t.Error(errs)
	}
	if status, _, errs := a.run("", "config", "reset"); status != 1 || !strings.Contains(errs, "there is no such file") {
		t.Errorf("reset of nothing: %d %s", status, errs)
	}
}

func TestConfigConvert(t *testing.T) {
	a := newAccount(t)
	old := a.file("old.yaml", "kind: Stage\napiVersion: kwok.x-k8s.io/v1alpha1\nmetadata: {name: s}\nspec:\n  resourceRef: {apiGroup: v1, kind: Pod}\n"+
		"  selector: {matchExpressions: [{key: .a, operator: Exists}]}\n  next: {delete: true}\n---\n"+confHead+"options: {etcdPort: 5}\n")
	empty := a.file("empty.yaml", "---\n")
	status, out, errs := a.run("", "config", "convert", old, empty, "missing.yaml")
	if status != 1 || !strings.Contains(errs, "missing.yaml") || !strings.Contains(errs, "empty.yaml: no documents") {
		t.Errorf("%d %s", status, errs)
	}
	for _, want := range []string{"jq:\n        key: .a", "steps:\n  - delete: true", "options:\n  etcdPort: 5\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if status, _, errs = a.run("", "config", "convert", "-w", old); status != 0 {
		t.Error(errs)
	}
	if got, _ := os.ReadFile(old); string(got) != out {
		t.Errorf("written:\n%s\nprinted:\n%s", got, out)
	}
	if status, out, _ := a.run("", "config", "convert"); status != 0 || out != "" {
		t.Errorf("nothing to convert: %d %q", status, out)
	}
}

// TestDirectories reads what kustomize builds, and plain directories in the order of names.
// TestWhatWouldHaveNoEffect is refused, or means what the user meant.
func TestWhatWouldHaveNoEffect(t *testing.T) {
	a := newAccount(t)
	a.file("odd.yaml", "apiVersion: v1alpha1\nkind: KwokctlConfiguration\noptions: {kubeApiserverPort: 6443}\n")
	a.file("stage.yaml", "apiVersion: kwok.x-k8s-io/v1alpha1\nkind: Stage\nmetadata: {name: a}\n")
	a.file("resource.yaml", "apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: KwokctlResource\nmetadata: {name: mine}\ntemplate: '{apiVersion: v1, kind: Node}'\n")
	a.file("engines.yaml", confHead+"options: {runtimes: [nerdctl, lima]}\n")
	for _, tt := range []struct {
		args   []string
		status int
		says   string // on stdout or stderr
	}{
		{[]string{"create", "cluster", "--dry-run", "-c", "~/odd.yaml"}, 1, `odd.yaml: apiVersion "v1alpha1": kind KwokctlConfiguration is of config.kwok.x-k8s.io/v1alpha1`},
		{[]string{"create", "cluster", "--dry-run", "-c", "~/stage.yaml"}, 1, `stage.yaml: apiVersion "kwok.x-k8s-io/v1alpha1": kind Stage is of kwok.x-k8s.io/v1alpha1`},
		{[]string{"create", "cluster", "--dry-run", "-c", "~/engines.yaml"}, 1, "runtimes nerdctl,lima: none of them is binary or docker or podman"},
		{[]string{"config", "view", "-c", "~/resource.yaml,"}, 1, "resource.yaml,\": want a file or a directory"},
		{[]string{"config", "view", "-c", ""}, 1, "--config \"\": want a file or a directory"},
		{[]string{"config", "view", "-c", "/dev/null"}, 0, "kind: KwokctlConfiguration"},
		{[]string{"scale", "mine", "-c", "~/resource.yaml", "--dry-run"}, 1, "cluster"}, // there is none, but the file is found
		{[]string{"scale", "nosuch", "--dry-run"}, 1, "scale nosuch: no KwokctlResource of that name"},
	} {
		if status, out, errs := a.run("", tt.args...); status != tt.status || !strings.Contains(out+errs, tt.says) {
			t.Errorf("%q: status %d: %s%s", tt.args, status, out, errs)
		}
	}
}

func TestDirectories(t *testing.T) {
	a := newAccount(t)
	a.file("plain/b.yaml", confHead+"options: {etcdPort: 2}\n")
	a.file("plain/a.json", `{"kind": "KwokctlConfiguration", "options": {"etcdPort": 1, "kubeSchedulerPort": 1}}`)
	a.file("plain/notes.txt", "nothing")
	a.file("built/kustomization.yaml", "resources: [base.yaml]\npatches:\n- patch: |\n    - {op: replace, path: /options/etcdPort, value: 7}\n  target: {kind: KwokctlConfiguration}\n")
	a.file("built/base.yaml", confHead+"metadata: {name: x}\noptions: {etcdPort: 3}\n")
	for dir, want := range map[string]string{"plain": "etcdPort: 2\n", "built": "etcdPort: 7\n", "plain,~/built": "etcdPort: 7\n"} {
		list := strings.Split(dir, ",")
		list[0] = filepath.Join(a.home, list[0])
		status, out, errs := a.run("", "-c", strings.Join(list, ","), "config", "view")
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: %d %s%s", dir, status, out, errs)
		}
	}
}

// TestKustomizeWarnings holds that kustomize speaks as we do: of what it did not do, and not of old forms.
func TestKustomizeWarnings(t *testing.T) {
	a := newAccount(t)
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	was := os.Stderr
	os.Stderr = stderr
	defer func() { os.Stderr = was }()
	a.file("k/base.yaml", confHead+"metadata: {name: x}\noptions: {etcdPort: 3}\n")
	a.file("k/kustomization.yaml", "resources: [base.yaml]\ncommonLabels: {a: b}\npatchesStrategicMerge: []\nvars:\n"+
		"- {name: LOST, objref: {apiVersion: config.kwok.x-k8s.io/v1alpha1, kind: KwokctlConfiguration, name: x}}\n")
	dir := filepath.Join(a.home, "k")
	status, out, errs := a.run("", "-c", dir, "config", "view")
	if want := "Warning: " + dir + ": well-defined vars that were never replaced: LOST\n"; status != 0 || !strings.Contains(out, "etcdPort: 3\n") || errs != want {
		t.Errorf("status %d, %q, want %q", status, errs, want)
	}
	if text, err := os.ReadFile(stderr.Name()); err != nil || len(text) > 0 {
		t.Errorf("written past us: %q, %v", text, err)
	}
}

// TestLogPaths holds that paths of logs are those that the user means, wherever the controller works.
func TestLogPaths(t *testing.T) {
	a := newAccount(t)
	file := a.file("logs.yaml", "kind: ClusterLogs\nmetadata: {name: x}\nspec: {logs: [{logsFile: a.log, previousLogsFile: /b.log}]}\n---\n"+
		"kind: Attach\nmetadata: {name: x}\nspec: {attaches: [{logsFile: ../c.log}, {}]}\n")
	status, out, errs := a.run("", "-c", file, "config", "view")
	dir, err := os.Getwd()
	if err != nil || status != 0 {
		t.Fatal(errs, err)
	}
	for _, want := range []string{"logsFile: " + dir + "/a.log\n", "previousLogsFile: /b.log\n", "logsFile: " + filepath.Dir(dir) + "/c.log\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

func TestLevels(t *testing.T) {
	for text, want := range map[string]string{"debug": "DEBUG", "-4": "DEBUG", "0": "INFO", "WARN": "WARN", "4": "WARN", "ERROR+2": "ERROR+2", "info-1": "DEBUG+3", "8": "ERROR"} {
		if got, err := parseLevel(text); err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "LOUD", "5x", "99999999999999999999", "DEBUG+"} {
		if got, err := parseLevel(text); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func TestJSONLog(t *testing.T) {
	a := newAccount(t)
	status, _, errs := a.run("", "--log-format", "json", "get", "components", "--name", "nobody")
	if status != 1 || !strings.HasPrefix(errs, `{"time":`) || !strings.Contains(errs, `"level":"ERROR","msg":"cluster \"nobody\": no such cluster"`) {
		t.Errorf("%d %s", status, errs)
	}
	var out bytes.Buffer
	lines := newJSONLines(&out)
	for _, part := range []string{"one\ntw", "o\n\n", "three"} {
		if _, err := lines.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if got := out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, `"msg":"two"`) {
		t.Errorf("lines: %s", got)
	}
}
