package kubelet

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kwokctl/internal/api"
	"kwokctl/kustomize"
)

var update = flag.Bool("update", false, "rewrite golden files")

// world is Metrics with a clock of its own.
type world struct {
	*Metrics
	t      *testing.T
	at     time.Time
	failed int
	log    strings.Builder
}

// newWorld has a node n, and on it what there is in objects, which is YAML of Metrics and usages.
func newWorld(t *testing.T, objects string) *world {
	t.Helper()
	w := &world{t: t, at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.Metrics = NewMetrics(slog.New(slog.NewTextHandler(&w.log, nil)), func() time.Time { return w.at }, func() { w.failed++ })
	if _, errs := w.Use(parse(t, objects)); len(errs) > 0 {
		t.Fatal(errs)
	}
	w.SetNode(aNode("n", "1"))
	return w
}

func parse(t *testing.T, text string) []api.Object {
	t.Helper()
	objs, err := api.Load(strings.NewReader(text), "f.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return objs
}

func shipped() string {
	return string(kustomize.MetricsResource()) + "---\n" + string(kustomize.UsageFromAnnotation())
}

func aNode(name, uid string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid), Labels: map[string]string{"l": "v"}}}
}

// aPod is on the node n and has containers of the names.
func aPod(name string, annotations map[string]string, containers ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "d", Name: name, UID: types.UID("u" + name), Annotations: annotations,
		Labels: map[string]string{"long": strings.Repeat("x", 500)}, CreationTimestamp: metav1.NewTime(time.Unix(1700000000, 0))},
		Spec: corev1.PodSpec{NodeName: "n"}}
	for _, c := range containers {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c, Image: "image"})
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: c, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}})
	}
	return p
}

func (w *world) get(path string) string {
	r := httptest.NewRecorder()
	w.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "http://host:10247"+path, nil))
	if r.Code != http.StatusOK {
		return fmt.Sprint(r.Code, " ", r.Body)
	}
	return r.Body.String()
}

// series returns the lines of a page that are no comments.
func (w *world) series(path string) string {
	var lines []string
	for l := range strings.Lines(w.get(path)) {
		if !strings.HasPrefix(l, "#") {
			lines = append(lines, strings.TrimSpace(l))
		}
	}
	return strings.Join(lines, "\n")
}

func TestShippedMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, shipped())
	w.SetPod(aPod("q", map[string]string{"kwok.x-k8s.io/usage-cpu": "100m", "kwok.x-k8s.io/usage-memory": "100Mi"}, "a", "b"))
	w.SetPod(aPod("p", nil, "a"))
	done := aPod("done", nil, "a")
	done.Status.Phase = corev1.PodSucceeded
	w.SetPod(done)
	const path = "/metrics/nodes/n/metrics/resource"
	w.get(path)
	w.at = w.at.Add(10 * time.Second)
	w.get(path)
	w.at = w.at.Add(10 * time.Second)
	got := w.get(path)
	const golden = "testdata/resource.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) || w.failed > 0 {
		t.Errorf("%d failures %s, got:\n%s", w.failed, &w.log, got)
	}
}

const aMetric = `
kind: Metric
metadata: {name: m}
spec:
  path: /metrics/nodes/{nodeName}/m
  metrics:
`

// A histogram adds up; what is hidden counts in the next bound that is shown, and what lies above the last in +Inf.
func TestHistogram(t *testing.T) {
	t.Parallel()
	text := aMetric + "  - {name: h, kind: histogram, buckets: ["
	for _, b := range []string{"10, 16", "0.5, 0", "1, 2", "2.5, 0", "5, 0"} {
		le, n, _ := strings.Cut(b, ", ")
		text += fmt.Sprintf("{le: %s, value: '%s'}, ", le, n)
	}
	for _, b := range []string{"0.9, 1", "1.1, 4", "2.4, 8", "11, 32"} {
		le, n, _ := strings.Cut(b, ", ")
		text += fmt.Sprintf("{le: %s, value: '%s', hidden: true}, ", le, n)
	}
	got := newWorld(t, text+"]}\n").series("/metrics/nodes/n/m")
	want := `h_bucket{le="0.5"} 0
h_bucket{le="1"} 3
h_bucket{le="2.5"} 15
h_bucket{le="5"} 15
h_bucket{le="10"} 31
h_bucket{le="+Inf"} 63
h_sum 538.5
h_count 63`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

// Rows of one name are one family; of equal labels the last counts; a series that fails is alone in that.
func TestFamilies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, aMetric+`
  - {name: g, help: "a \"b\"", kind: gauge, dimension: pod, labels: [{name: pod, value: pod.metadata.name}], value: "Quantity(pod.metadata.annotations['x'])"}
  - {name: other, kind: counter, value: node.StartedContainersTotal()}
  - {name: g, kind: gauge, dimension: pod, labels: [{name: pod, value: "pod.metadata.name == 'r' ? 'p' : 'z'"}], value: "duration('1us')"}
  - {name: none, kind: gauge, dimension: pod, value: "Quantity('bad')"}
`)
	w.SetPod(aPod("p", map[string]string{"x": "1500m"}, "a"))
	w.SetPod(aPod("q", nil, "a", "b"))
	w.SetPod(aPod("r", map[string]string{"x": "2"}, "a"))
	want := `g{pod="p"} 1000
g{pod="r"} 2
g{pod="z"} 1000
other 4`
	if got := w.series("/metrics/nodes/n/m"); got != want || w.failed != 4 {
		t.Errorf("%d failures, got\n%s", w.failed, got)
	}
	if n := strings.Count(w.log.String(), "\n"); n != 2 {
		t.Errorf("each fault is said once, got\n%s", &w.log)
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	w := newWorld(t, aMetric+`
  - {name: g, kind: gauge, value: '1'}
---
kind: Metric
metadata: {name: "n"}
spec: {path: /metrics/own, metrics: [{name: own, kind: gauge, value: '2'}]}
---
kind: Metric
metadata: {name: away}
spec: {path: /metrics/nodes/away/m, metrics: [{name: away, kind: gauge, value: '3'}]}
`)
	w.SetNode(aNode("k", "2"))
	for path, want := range map[string]string{
		"/metrics/nodes/n/m":    "g 1",
		"/metrics/own":          "own 2", // the node of the Metric's name
		"/metrics/nodes/away/m": `404 no node "away" that this controller manages`,
		"/metrics/nodes/x/m":    `404 no node "x" that this controller manages`,
		"/metrics/nodes/n/x/m":  "404 no Metric has the path /metrics/nodes/n/x/m",
		"/metrics/nodes//m":     "404 no Metric has the path /metrics/nodes//m",
		"/metrics/nodes/n":      "404 no Metric has the path /metrics/nodes/n",
	} {
		if got := w.series(path); got != want {
			t.Errorf("%s: got %s", path, got)
		}
	}
	const where = `{"targets":["host:10247"],"labels":{"__metrics_path__":"%s","__scheme__":"http","metrics_name":"%s"}}`
	var want []string
	for _, p := range [][2]string{{"/metrics/own", "n"}, {"/metrics/nodes/away/m", "away"}, {"/metrics/nodes/k/m", "m"}, {"/metrics/nodes/n/m", "m"}} {
		want = append(want, fmt.Sprintf(where, p[0], p[1]))
	}
	if got := strings.TrimSpace(w.get(discoveryPath)); got != "["+strings.Join(want, ",")+"]" {
		t.Errorf("got %s", got)
	}
	if got := strings.TrimSpace(newWorld(t, "").get(discoveryPath)); got != "[]" {
		t.Errorf("got %s", got)
	}
}

// A mistake is found when objects are read, and told with its place. Other objects are in effect.
func TestMetricMistakes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{"kind: Metric\nmetadata: {name: m}\nspec: {path: /metrics, metrics: []}", "f.yaml:3: Metric m: spec.path: /metrics: the metrics of the controller itself"},
		{"kind: Metric\nmetadata: {name: m}\nspec: {path: /x, metrics: []}", `spec.path: "/x": want a path that begins with /metrics/`},
		{"kind: Metric\nmetadata: {name: m}\nspec: {path: '/metrics/{node}', metrics: []}", "want no parameter but {nodeName}, once"},
		{aMetric + "  - {name: g, kind: gauge, value: node.metadata.nme}", "f.yaml:7: Metric m: spec.metrics[0].value: cel \"node.metadata.nme\": ERROR: <input>:1:14: undefined field 'nme'"},
		{aMetric + "  - {name: g, kind: gauge, value: pod.metadata.name}", "undeclared reference to 'pod'"},
		{aMetric + "  - {name: g, kind: gauge}", "spec.metrics[0].value: missing"},
		{aMetric + "  - {name: g, kind: summary, value: '1'}", `spec.metrics[0].kind: "summary" is none of`},
		{aMetric + "  - {name: g-g, kind: gauge, value: '1'}", `spec.metrics[0].name: "g-g" is no name`},
		{aMetric + "  - {name: g, kind: gauge, dimension: rack, value: '1'}", `dimension: "rack" is none of node, pod, container`},
		{aMetric + "  - {name: g, kind: gauge, value: '1', labels: [{name: a, value: '1'}]}", "spec.metrics[0].labels[0].value: cel \"1\": yields int, not a string"},
		{aMetric + "  - {name: g, kind: gauge, value: '1', labels: [{name: a, value: '\"\"'}, {name: a, value: '\"\"'}]}", "labels[1].name"},
		{aMetric + "  - {name: h, kind: histogram, value: '1'}", "spec.metrics[0].value: a histogram has buckets"},
		{aMetric + "  - {name: h, kind: histogram, buckets: [{le: 1, value: '1'}, {le: 1, value: '1'}]}", "buckets[1].le: 1 is below 0, or there twice"},
		{aMetric + "  - {name: g, kind: gauge, value: '1'}\n  - {name: g, kind: counter, value: '1'}", "spec.metrics[1].kind: g is a gauge already"},
		{aMetric + "  - {name: g, kind: gauge, value: '1'}\n---" + strings.Replace(aMetric, "{name: m}", "{name: second}", 1), "Metric second: spec.path: that of Metric m already"},
		{"kind: ResourceUsage\nmetadata: {name: p}\nspec:\n  usages:\n  - usage:\n      cpu: {expression: 1m}", "f.yaml:6: ResourceUsage p: spec.usages[0].usage.cpu.expression: cel \"1m\""},
		{"kind: ResourceUsage\nmetadata: {name: p}\nspec: {usages: [{usage: {cpu: {}}}]}", "spec.usages[0].usage.cpu: neither value nor expression"},
		{"kind: PortForward\nmetadata: {name: p}\nspec: {forwards: [{}, {ports: [80, 70000]}]}", "PortForward p: spec.forwards[1].ports[1] 70000: allowed are 1 to 65535"},
		{"kind: PortForward\nmetadata: {name: p}\nspec: {forwards: [{ports: [0]}]}", "spec.forwards[0].ports[0] 0"},
		{"kind: ClusterPortForward\nmetadata: {name: p}\nspec: {forwards: [{target: {address: localhost, port: -1}}]}", "ClusterPortForward p: spec.forwards[0].target.port -1"},
	} {
		err := Check(parse(t, tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v\nwant %s", err, tt.want)
		}
	}
	w := newWorld(t, "")
	_, errs := w.Use(parse(t, aMetric+"  - {name: g, kind: gauge, value: x}\n---"+strings.Replace(aMetric, "{name: m}", "{name: second}", 1)+"  - {name: g, kind: gauge, value: '1'}"))
	w.SetNode(aNode("n", "1"))
	if got := w.series("/metrics/nodes/n/m"); len(errs) != 1 || got != "g 1" {
		t.Errorf("got %s, %v", got, errs)
	}
}

// The example of the docs works.
func TestExample(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/controller.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```yaml\napiVersion: kwok.x-k8s.io/v1alpha1\nkind: Metric\n")
	text, _, _ = strings.Cut(text, "```")
	objs := parse(t, "kind: Metric\n"+text)
	if err := Check(objs); err != nil || len(objs) != 2 {
		t.Errorf("%d objects, %v", len(objs), err)
	}
}
