package components

import (
	"slices"
	"strings"
	"testing"

	"kwokctl/internal/api"
)

// TestSelection holds who chooses the nodes of the controller: the user, wherever that was said, else nobody.
func TestSelection(t *testing.T) {
	for doc, want := range map[string]string{ // argument and error
		"kind: KwokConfiguration\noptions: {cidr: 10.8.0.0/16}":                                                                           "--manage-all-nodes=true",
		"kind: KwokConfiguration\noptions: {manageSingleNode: a}":                                                                         "--manage-all-nodes=false",
		"kind: KwokConfiguration\noptions: {manageNodesWithLabelSelector: a=b}":                                                           "--manage-all-nodes=false",
		"kind: KwokctlConfiguration\noptions: {extraArgs: [kwok-controller=manage-nodes-with-annotation-selector=a=b]}":                   "--manage-all-nodes=false",
		"kind: KwokctlConfiguration\ncomponentsPatches: [{name: kwok-controller, extraArgs: [{key: manage-single-node, value: a}]}]":      "--manage-all-nodes=false",
		"kind: KwokctlConfiguration\noptions: {disable: [kwok-controller]}\n---\nkind: KwokConfiguration\noptions: {manageSingleNode: a}": "",
		"kind: KwokConfiguration\noptions: {manageAllNodes: true, manageSingleNode: a}":                                                   "KwokConfiguration: only one is allowed of",
		"kind: KwokConfiguration\noptions: {manageNodesWithAnnotationSelector: 'a in b'}":                                                 `KwokConfiguration: manageNodesWithAnnotationSelector "a in b":`,
		"kind: KwokConfiguration\noptions: {cidr: 10.0.0.0}":                                                                              `KwokConfiguration: cidr "10.0.0.0": want one such as`,
	} {
		objs, err := api.Load(strings.NewReader(doc), "doc")
		if err != nil {
			t.Fatal(err)
		}
		var settings api.Settings
		for _, c := range api.Of[*api.KwokctlConfiguration](objs) {
			if err := settings.Add(c); err != nil {
				t.Fatal(err)
			}
		}
		cfg, err := settings.Configuration()
		if err != nil {
			t.Fatal(err)
		}
		if kwok := api.Of[*api.KwokConfiguration](objs); len(kwok) > 0 {
			merged, err := api.MergeKwok(kwok)
			if err != nil {
				t.Fatal(err)
			}
			objs = []api.Object{merged}
		}
		got := ""
		if err := Selection(cfg, objs); err != nil {
			got = err.Error()
		} else {
			plan, err := Make(cfg, around(&cfg.Options))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range plan.Specs {
				i := slices.IndexFunc(s.Args, func(arg string) bool {
					return s.Name == "kwok-controller" && strings.HasPrefix(arg, "--manage-all-nodes=")
				})
				if i >= 0 {
					got = s.Args[i]
				}
			}
		}
		if got != want && (want == "" || !strings.HasPrefix(got, want)) {
			t.Errorf("%s:\ngot %s, want %s", doc, got, want)
		}
	}
}

// TestVolumes holds that a process finds what a container would have in a volume.
func TestVolumes(t *testing.T) {
	cfg := &api.KwokctlConfiguration{Options: *options(func(o *Options) {
		o.ExtraArgs = []string{"kube-apiserver=a=/etc/hooks/a.yaml", "kube-apiserver=b=/etc/hookss"}
	})}
	hook, value := api.Volume{HostPath: "/home/me/hooks", MountPath: "/etc/hooks/"}, "/etc/hooks"
	cfg.ComponentsPatches = []api.ComponentsPatches{{
		Name: "kube-apiserver", ExtraVolumes: []api.Volume{hook},
		ExtraArgs: []api.ExtraArg{{Key: "c", Value: &value}}, ExtraEnvs: []api.Env{{Name: "D", Value: "/etc/hooks/d"}},
	}}
	cfg.Components = []api.Component{{Name: "mine", Command: []string{"/bin/x", "/etc/hooks"}, Args: []string{"-x=/etc/hooks/x"}, Volumes: []api.Volume{hook}}}
	plan, err := Make(cfg, around(&cfg.Options))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range plan.Specs {
		switch all := strings.Join(append(slices.Clone(s.Args), s.Env...), " "); s.Name {
		case "kube-apiserver":
			for _, want := range []string{"--a=/home/me/hooks/a.yaml", "--b=/etc/hookss", "--c=/home/me/hooks", "D=/home/me/hooks/d"} {
				if !strings.Contains(all, want) {
					t.Errorf("%s is not in %s", want, all)
				}
			}
		case "mine":
			if all != "/home/me/hooks -x=/home/me/hooks/x" {
				t.Error(all)
			}
		}
	}
}

// Metrics-server finds metrics in the nodes of which the user brings none.
func TestUsageObjects(t *testing.T) {
	for _, tt := range []struct {
		o       Options
		brought []string
		want    string
	}{
		{Options{}, nil, ""},
		{Options{Enable: []string{"metrics-server"}}, nil, "Metric metrics-resource, ClusterResourceUsage usage-from-annotation"},
		{Options{Enable: []string{"metrics-server"}}, []string{"Metric"}, "ClusterResourceUsage usage-from-annotation"},
		{Options{Enable: []string{"metrics-server"}}, []string{"ResourceUsage", "ClusterResourceUsage"}, "Metric metrics-resource"},
		{Options{Enable: []string{"metrics-server"}, EnableCRDs: []string{"Metric", "ClusterResourceUsage"}}, nil, ""},
	} {
		tt.o.MetricsServerBinary = "x"
		var others []api.Object
		for _, kind := range tt.brought {
			others = append(others, &api.ResourceUsage{TypeMeta: api.TypeMeta{Kind: kind}})
		}
		objs, err := usageObjects(&tt.o, others)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range objs {
			got = append(got, o.Type().Kind+" "+o.Meta().Name)
		}
		if strings.Join(got, ", ") != tt.want {
			t.Errorf("%+v: got %v, want %s", tt.brought, got, tt.want)
		}
	}
}
