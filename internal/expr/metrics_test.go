package expr

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// oracle answers with numbers that tell who was asked.
type oracle struct{}

func (oracle) Usage(pod *corev1.Pod, resource, container string) (float64, error) {
	switch {
	case resource == "none":
		return 0, errors.New("no usage of it")
	case pod == nil:
		return 100, nil
	case container == "":
		return 10, nil
	}
	return 1, nil
}

func (o oracle) CumulativeUsage(pod *corev1.Pod, resource, container string) (float64, error) {
	n, err := o.Usage(pod, resource, container)
	return n + 0.5, err
}

func metricVars() (map[string]*CELEnv, *Vars, error) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	envs, err := NewMetricEnvs(World{Now: func() time.Time { return now }, Started: func(node string) float64 {
		return map[string]float64{"n": 2}[node]
	}})
	of := func(q string) corev1.ResourceList { return corev1.ResourceList{"cpu": resource.MustParse(q)} }
	v := &Vars{Asked: oracle{}, Node: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", CreationTimestamp: metav1.NewTime(now.Add(-24 * time.Hour))},
		Status: corev1.NodeStatus{Allocatable: of("90m")}}}
	v.Pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Annotations: map[string]string{"cpu": "10m"}, CreationTimestamp: metav1.NewTime(now.Add(-90 * time.Second))},
		Spec: corev1.PodSpec{Priority: new(int32), Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Requests: of("10m")}}}}}
	v.Container = &v.Pod.Spec.Containers[0]
	return envs, v, err
}

func TestMetricExpressions(t *testing.T) {
	t.Parallel()
	envs, vars, err := metricVars()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		text string
		want any
	}{
		{`(Quantity("10m") + Quantity(pod.metadata.annotations["cpu"]) + node.status.allocatable["cpu"] + container.resources.requests["cpu"]) * 1.5 * 10`, 1.8},
		{`node.SinceSecond() * StartedContainersTotal(node.metadata.name) / 10.0`, 17280.0},
		{`SinceSecond(pod)`, 90.0}, {`(Now() - pod.metadata.creationTimestamp).getSeconds()`, 90.0},
		{`UnixSecond(Now())`, 1767312000.0}, {`pod.metadata.creationTimestamp.UnixSecond()`, 1767311910.0},
		{`Quantity("5m") / 2`, 0.002}, {`Quantity("1m") * 0.5`, 0.0}, {`-Quantity("1m") - Quantity("1")`, -1.001},
		{`Quantity("1Gi") * 2u`, 2147483648.0}, {`Quantity("1Ei") * 3 / 3.0`, 1152921504606846976.0},
		{`Quantity("1") > Quantity("999m") && Quantity("1") == Quantity("1000m")`, 1.0},
		{`node.status.allocatable["nvidia.com/gpu"]`, 0.0}, {`"nvidia.com/gpu" in node.status.allocatable`, 0.0}, {`size(node.status.allocatable)`, 1.0},
		{`double(Quantity("2"))`, 2.0}, {`string(Quantity("1500m"))`, "1500m"}, {`string(Quantity("1000m"))`, "1"},
		{`node.StartedContainersTotal()`, 2.0}, {`startedContainersTotal("m")`, 0.0},
		{`node.Usage("cpu")`, 100.0}, {`pod.Usage("cpu")`, 10.0}, {`pod.Usage("cpu", container.name)`, 1.0}, {`Usage(pod, "cpu")`, 10.0},
		{`pod.CumulativeUsage("cpu", "c") + node.CumulativeUsage("cpu")`, 102.0},
		{`pod.spec.containers.filter(c, c.name == "c").size()`, 1.0}, {`duration("1us")`, 1000.0}, {`Rand() < 1.0`, 1.0},
		{`has(pod.metadata.annotations) && !has(pod.spec.nodeName) && !has(pod.spec.securityContext)`, 1.0},
		{`"x" in pod.metadata.labels ? pod.metadata.labels["x"] : node.metadata.name`, "n"},
		{`pod.spec.priority == null || pod.spec.priority == 0`, 1.0}, {`pod.status.phase`, ""}, {`dyn(pod).metadata.name`, "p"},
	} {
		compile := envs["container"].CompileNumber
		_, isText := tt.want.(string)
		if isText {
			compile = envs["container"].CompileString
		}
		c, err := compile(tt.text)
		if err != nil {
			t.Error(err)
			continue
		}
		var got any
		if isText {
			got, err = c.Text(vars)
		} else {
			got, err = c.Number(vars)
		}
		if got != tt.want || err != nil {
			t.Errorf("%s: got %v, want %v (%v)", tt.text, got, tt.want, err)
		}
	}
}

// What cannot work is refused before it runs, where that can be known.
func TestMetricMistakes(t *testing.T) {
	t.Parallel()
	envs, vars, err := metricVars()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ env, text, want string }{
		{"container", ``, "missing"},
		{"container", `pod.metadata.nam`, "undefined field 'nam'"},
		{"node", `pod.Usage("cpu")`, "undeclared reference to 'pod'"},
		{"pod", `container.name`, "undeclared reference to 'container'"},
		{"node", `node.metadata.name`, "yields string, not a number"},
		{"node", `Quantity("1") * Quantity("1")`, "no matching overload"},
		{"node", `node.Usage("none")`, "no usage of it"},
		{"node", `Quantity("1x")`, "Quantity(\"1x\")"},
		{"node", `Quantity("1") / 0`, "by zero"},
		{"pod", `pod.spec.securityContext.runAsUser`, "runAsUser"},
		{"node", `dyn("x")`, "yields string, not a number"},
	} {
		c, err := envs[tt.env].CompileNumber(tt.text)
		if err == nil {
			_, err = c.Number(vars)
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %s", tt.text, err, tt.want)
		}
	}
}

func TestUses(t *testing.T) {
	t.Parallel()
	envs, _, err := metricVars()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`pod.SinceSecond() + node.StartedContainersTotal() + pod.Usage("cpu", container.name)`:                         "[container.name]",
		`pod.metadata.annotations["a"] == "" ? 1 : size(pod.status.conditions.filter(c, c.type == pod.spec.nodeName))`: "[pod.metadata.annotations pod.status.conditions pod.spec.nodeName]",
		`{"a": [dyn(pod)]}.size()`: "[pod]",
	} {
		c, err := envs["container"].CompileNumber(text)
		if err != nil {
			t.Error(err)
			continue
		}
		got := slices.DeleteFunc(c.Uses(), func(s string) bool { return !strings.HasPrefix(s, "pod") && !strings.HasPrefix(s, "container") })
		if fmt.Sprint(got) != want {
			t.Errorf("%s: got %v, want %s", text, got, want)
		}
	}
}

func BenchmarkMetricExpression(b *testing.B) {
	envs, vars, err := metricVars()
	if err != nil {
		b.Fatal(err)
	}
	c, err := envs["container"].CompileNumber(`"cpu" in pod.metadata.annotations ? Quantity(pod.metadata.annotations["cpu"]) : Quantity("1m")`)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := c.Number(vars); err != nil {
			b.Fatal(err)
		}
	}
}
