package scale

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"kwokctl/internal/api"
)

func TestPool(t *testing.T) {
	t.Parallel()
	p, err := ParsePool("name=data,replicas=3,zone=boston/chicago,zone=seattle,label=disk=ssd,label=a/b=,taint=gpu=yes:NoSchedule,taint=x:NoExecute,capacity=nvidia.com/gpu:8,capacity=cpu:4")
	if err != nil {
		t.Fatal(err)
	}
	extra, err := compilePool(p)
	if err != nil {
		t.Fatal(err)
	}
	job := Job{Kind: "node", Name: p.Metadata.Name, SerialLength: 6, Pool: p}
	if job.Resource, err = builtIn("node"); err != nil {
		t.Fatal(err)
	}
	params, err := parameters(job.Resource.Parameters, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRenderer(job, params, extra)
	if err != nil {
		t.Fatal(err)
	}
	for serial, zone := range []string{"boston", "chicago", "seattle", "boston"} {
		o, err := r.render(serial, serial, "")
		if err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(o)
		for _, want := range []string{
			`"topology.kubernetes.io/zone":"` + zone + `"`, `"disk":"ssd"`, `"a/b":""`, `"type":"kwok"`, `"kwok.x-k8s.io/kwokctl-scale":"data"`,
			`"taints":[{"effect":"NoSchedule","key":"gpu","value":"yes"},{"effect":"NoExecute","key":"x"}]`,
			`"capacity":{"cpu":"4","memory":"256Gi","nvidia.com/gpu":"8","pods":"110"}`,
			`"allocatable":{"cpu":"4","memory":"256Gi","nvidia.com/gpu":"8","pods":"110"}`,
		} {
			if !strings.Contains(string(text), want) {
				t.Errorf("node %d: no %s in\n%s", serial, want, text)
			}
		}
	}
}

// A file says the same as a flag; its amounts may be numbers.
func TestPoolOfFile(t *testing.T) {
	t.Parallel()
	objs, err := api.Load(strings.NewReader("apiVersion: config.kwok.x-k8s.io/v1alpha1\nkind: NodePool\nmetadata: {name: a}\ncapacity: {nvidia.com/gpu: 8, pods: 10000000}\n"), "f")
	if err != nil {
		t.Fatal(err)
	}
	p := api.Of[*api.NodePool](objs)[0]
	if p.Replicas != 1 {
		t.Errorf("%d replicas, want the default of 1", p.Replicas)
	}
	c, err := compilePool(p)
	if err != nil || c.capacity["nvidia.com/gpu"] != "8" || c.capacity["pods"] != "10000000" {
		t.Errorf("%v, %v", c, err)
	}
}

func TestBadPools(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                "not key=value",
		"name=a,oops":                     "not key=value",
		"replicas=3":                      "no name=",
		"name=a,replicas=x":               "not a number",
		"name=a,replicas=-1":              "must be 0 to 10000000",
		"name=a,replicas=99999999999":     "must be 0 to 10000000",
		"name=a,size=3":                   "there are name, replicas",
		"name=a,label=x":                  "label=NAME=VALUE",
		"name=a,label=x y=1":              "label",
		"name=a,zone=":                    "not empty",
		"name=a,zone=a/b c":               "zone",
		"name=a,taint=x":                  "NoSchedule",
		"name=a,taint=x=1:Never":          "NoSchedule",
		"name=a,taint==1:NoExecute":       "taint",
		"name=a,capacity=gpu":             "RESOURCE:QUANTITY",
		"name=a,capacity=gpu:many":        "quantity",
		"name=a,capacity=gpu:-1":          "quantity",
		"name=a,capacity=g p:1":           "capacity",
		"name=A_b":                        "bad name",
		"name=" + strings.Repeat("a", 99): "bad name",
	} {
		p, err := ParsePool(text)
		if err == nil {
			err = Job{Kind: "node", Name: p.Metadata.Name, Replicas: p.Replicas, SerialLength: 6, Pool: p}.Check()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestPoolOfPods(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	err := Run(t.Context(), &rest.Config{Host: s.URL}, Job{Kind: "pod", Name: "a", SerialLength: 6, Pool: &api.NodePool{Replicas: 1}}, nil)
	if err == nil || !strings.Contains(err.Error(), "pools are of nodes") {
		t.Error(err)
	}
}

// TestIndicesOfPools lets pools grow one after the other: no two of their nodes may get the same networks.
func TestIndicesOfPools(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	resource := &api.KwokctlResource{Template: "apiVersion: v1\nkind: Node\nmetadata: {labels: {index: {{ Quote Index }}}}"}
	for _, step := range []struct {
		name     string
		replicas int
		pool     bool
	}{{"plain", 1, false}, {"a", 2, true}, {"b", 3, true}, {"a", 4, true}, {"b", 1, true}, {"c", 5, true}} {
		job := Job{Kind: "node", Name: step.name, Replicas: step.replicas, SerialLength: 1, Resource: resource}
		if step.replicas == 1 && !step.pool {
			job.SerialLength = 0 // then its name has no number
		}
		if step.pool {
			job.Pool = &api.NodePool{Replicas: step.replicas}
		}
		if err := Run(t.Context(), &rest.Config{Host: s.URL}, job, nil); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{} // names by index
	for _, o := range s.objects {
		index := o.Labels["index"]
		if other := got[index]; other != "" {
			t.Errorf("%s and %s both have index %s", o.Name, other, index)
		}
		got[index] = o.Name
	}
	if len(got) != 11 || got["0"] != "plain" || got["10"] == "" {
		t.Errorf("%v", got)
	}
}
