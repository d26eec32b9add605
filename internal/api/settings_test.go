package api

import (
	"math"
	"strings"
	"testing"
)

func settings(t testing.TB, text string) *Settings {
	t.Helper()
	objs, err := Load(strings.NewReader(text), "f")
	if err != nil {
		t.Fatal(err)
	}
	var s Settings
	for _, c := range Of[*KwokctlConfiguration](objs) {
		if err := s.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	return &s
}

// TestMerge lays documents over each other.
func TestMerge(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"nothing":          {"", `{"apiVersion":"V","kind":"K"}`},
		"later wins":       {"options: {etcdPort: 1, quietPull: true}|options: {etcdPort: 2}", `{"apiVersion":"V","kind":"K","options":{"etcdPort":2,"quietPull":true}}`},
		"zero is a value":  {"options: {nodeLeaseDurationSeconds: 9, securePort: true}|options: {nodeLeaseDurationSeconds: 0, securePort: false}", `{"apiVersion":"V","kind":"K","options":{"nodeLeaseDurationSeconds":0,"securePort":false}}`},
		"null takes back":  {"options: {etcdPort: 1}|options: {etcdPort: null}", `{"apiVersion":"V","kind":"K","options":{}}`},
		"lists replaced":   {"options: {enable: [a, b]}|options: {enable: [c]}", `{"apiVersion":"V","kind":"K","options":{"enable":["c"]}}`},
		"names replaced":   {"options: {components: [a, b]}|options: {components: [c]}", `{"apiVersion":"V","kind":"K","options":{"components":["c"]}}`},
		"patches by name":  {"componentsPatches: [{name: a, extraArgs: [{key: b}], extraEnvs: []}]|componentsPatches: [{name: a, extraArgs: [{key: c}]}, {name: d}]", `{"apiVersion":"V","componentsPatches":[{"extraArgs":[{"key":"c"}],"extraEnvs":[],"name":"a"},{"name":"d"}],"kind":"K"}`},
		"own, by name":     {"components: [{name: a, binary: b}]|components: [{name: a, args: [c]}]", `{"apiVersion":"V","components":[{"args":["c"],"binary":"b","name":"a"}],"kind":"K"}`},
		"two of one name":  {"componentsPatches: [{name: a, extraArgs: [{key: b}]}, {name: a, extraArgs: [{key: c}]}]", `{"apiVersion":"V","componentsPatches":[{"extraArgs":[{"key":"b"}],"name":"a"},{"extraArgs":[{"key":"c"}],"name":"a"}],"kind":"K"}`},
		"maps are merged":  {"metadata: {labels: {a: b}}|metadata: {labels: {c: d}}", `{"apiVersion":"V","kind":"K","metadata":{"labels":{"a":"b","c":"d"}}}`},
		"nothing at first": {"|options: {etcdPort: 1}", `{"apiVersion":"V","kind":"K","options":{"etcdPort":1}}`},
	} {
		var docs []string
		for doc := range strings.SplitSeq(tt.in, "|") {
			docs = append(docs, "kind: KwokctlConfiguration\n"+doc+"\n")
		}
		raw, err := settings(t, strings.Join(docs, "---\n")).Document()
		if err != nil {
			t.Fatal(err)
		}
		want := strings.NewReplacer(`"V"`, `"`+ConfigVersion+`"`, `"K"`, `"KwokctlConfiguration"`).Replace(tt.want)
		if got := string(raw.JSON); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// TestDefaults holds that what a stored file leaves out is the default, and what it says is not.
func TestDefaults(t *testing.T) {
	objs, err := Load(strings.NewReader("kind: KwokctlConfiguration\noptions: {kubeAdmission: false, etcdPrefix: /x}\n"), "f")
	if err != nil {
		t.Fatal(err)
	}
	o := Of[*KwokctlConfiguration](objs)[0].Options
	if o.KubeAdmission || o.EtcdPrefix != "/x" || !o.SecurePort || o.NodeLeaseDurationSeconds != 40 || o.HeartbeatFactor != 5 || len(o.Components) != 5 {
		t.Errorf("%+v", o)
	}
	a, b := NewKwokctlConfiguration(), NewKwokctlConfiguration()
	a.Options.Components[0] = "changed"
	if b.Options.Components[0] != "etcd" {
		t.Error("two configurations share a list")
	}
}

func TestRuntimes(t *testing.T) {
	for in, want := range map[string]string{
		"{}": "", "{runtimes: [docker]}": "docker", "{runtimes: [podman, docker]}": "", "{runtimes: [docker, binary]}": "",
		"{runtimes: [docker], runtime: podman}": "podman",
	} {
		c, err := settings(t, "kind: KwokctlConfiguration\noptions: "+in+"\n").Configuration()
		if err != nil || c.Options.Runtime != want {
			t.Errorf("%s: got %q, %v; want %q", in, c.Options.Runtime, err, want)
		}
	}
}

func TestScale(t *testing.T) {
	for in, want := range map[string][2]int64{
		"{}":                            {200, 25000},
		"{heartbeatFactor: 0}":          {40, 5000},
		"{heartbeatFactor: 1}":          {40, 5000},
		"{heartbeatFactor: 0.5}":        {20, 2500},
		"{nodeLeaseDurationSeconds: 0}": {0, 25000},
		"{nodeLeaseDurationSeconds: 1, heartbeatFactor: 0.1}": {1, 500}, // not none
	} {
		c, err := settings(t, "kind: KwokctlConfiguration\noptions: "+in+"\n").Configuration()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Options.Scale(); err != nil {
			t.Fatal(err)
		}
		if got := [2]int64{int64(c.Options.NodeLeaseDurationSeconds), c.Options.KubeControllerManagerNodeMonitorPeriodMilliseconds}; got != want || c.Options.HeartbeatFactor != 1 {
			t.Errorf("%s: got %v, want %v; factor %g", in, got, want, c.Options.HeartbeatFactor)
		}
		once := c.Options
		if err := c.Options.Scale(); err != nil || c.Options.NodeLeaseDurationSeconds != once.NodeLeaseDurationSeconds {
			t.Errorf("%s: scaled twice: %v %v", in, c.Options, err)
		}
	}
	o := NewKwokctlConfiguration().Options
	o.HeartbeatFactor = math.MaxFloat64
	if err := o.Scale(); err == nil {
		t.Error("times beyond all bounds")
	}
}

func TestNearest(t *testing.T) {
	words := []string{"kubeApiserverPort", "kubeSchedulerPort", "etcdPort", "enable", "disable"}
	for word, want := range map[string]string{
		"kubeApiserverPrt": "kubeApiserverPort", "etcdport": "etcdPort", "edtcPort": "etcdPort", "Enable": "enable",
		"enabel": "enable", "nonsense": "", "": "", "e": "", "disabled": "disable",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
}

// FuzzConfig takes any text as configuration: it is refused, or gives options that can be scaled and saved.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{
		"", "options: {}", "options: []", "options: {etcdPort: -1}", "options: {etcdPort: 70000}", "options: {heartbeatFactor: .nan}",
		"options: {heartbeatFactor: 1e308}", "options: {components: null}", "options: null", "components: [{}]", "components: [1]", "components: {a: b}",
		"componentsPatches: [{name: a, extraArgs: [{key: '', value: null}]}]", "options: {enable: [null]}", "metadata: {name: [a]}", "status: {}",
		"options: {nodeLeaseDurationSeconds: 99999999999999999999}", "options: {kubeSchedulerConfig: \"\\0\"}", "components:\n- &a {name: x}\n- *a\n---\ncomponents: [{name: x}]",
	} {
		f.Add("kind: KwokctlConfiguration\n" + s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		objs, err := Load(strings.NewReader(text), "f")
		if err != nil {
			return
		}
		var s Settings
		for _, c := range Of[*KwokctlConfiguration](objs) {
			if err := s.Add(c); err != nil {
				t.Fatalf("what was read cannot be merged: %v", err)
			}
		}
		c, err := s.Configuration()
		if err != nil || c.Options.Scale() != nil {
			return
		}
		if o := c.Options; o.NodeLeaseDurationSeconds < 0 || o.EtcdPort < 0 || o.EtcdPort > 65535 {
			t.Fatalf("%+v", o)
		}
		var out strings.Builder
		if err := Save(&out, c); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(strings.NewReader(out.String()), "saved"); err != nil {
			t.Fatalf("%v in\n%s", err, out.String())
		}
	})
}
