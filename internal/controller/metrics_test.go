package controller

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"kwokctl/internal/api"
	"kwokctl/internal/stage"
)

// page asks a node for its metrics.
func (b *bench) page(path string) string {
	r := httptest.NewRecorder()
	b.handler().ServeHTTP(r, httptest.NewRequest(http.MethodGet, path, nil))
	return strings.TrimSpace(r.Body.String())
}

// asked takes what asks for a new epoch of a kind, and reports whether something did.
func (b *bench) asked(k kind) bool {
	select {
	case <-b.kinds[k].renew:
		return true
	default:
		return false
	}
}

// Metrics in the cluster take effect when they come, and keep nothing before. One that is bad says so in its condition,
// once; the others are in effect.
func TestLiveMetrics(t *testing.T) {
	b := newBench(t, 0)
	b.opts.ServerAddress, b.opts.EnableCRDs, b.playing = "127.0.0.1:0", []string{"Metric"}, true
	b.epoch(nodes, newNode(1, 1))
	b.epoch(pods, newPod(1, 5))
	read := func(before *liveMetric, name, value, status string) *liveMetric {
		obj, err := stage.Decode([]byte(`{"apiVersion":"kwok.x-k8s.io/v1alpha1","kind":"Metric","metadata":{"name":"` + name + `"},"spec":{"path":"/metrics/{nodeName}/` + name +
			`","metrics":[{"name":"g","kind":"gauge","dimension":"pod","value":"` + value + `"}]}` + status + `}`))
		if err != nil {
			t.Fatal(err)
		}
		return b.nextMetric(before, "Metric", event{obj: obj})
	}
	good, bad := read(nil, "good", "size(pod.spec.nodeName)", ""), read(nil, "bad", "pod.x", "")
	b.take(batch{metricsOf: "Metric", metrics: []*liveMetric{bad, good}})
	if !b.asked(nodes) || !b.asked(pods) {
		t.Fatal("nodes and pods are not asked for, of which nothing was kept")
	}
	b.epoch(nodes, newNode(1, 1))
	b.epoch(pods, newPod(1, 5))
	if got := b.page("/metrics/n1/good"); !strings.HasSuffix(got, "\ng 2") {
		t.Errorf("got %s", got)
	}
	if got := b.page("/metrics/n1/bad"); got != "no Metric has the path /metrics/n1/bad" {
		t.Errorf("got %s", got)
	}
	told := map[string]api.Condition{}
	for _, r := range b.reports() {
		told[r.path] = r.stageConditions[0]
	}
	const path = "/apis/kwok.x-k8s.io/v1alpha1/metrics/"
	if c := told[path+"bad/status"]; c.Status != "False" || !strings.HasPrefix(c.Message, `spec.metrics[0].value: cel "pod.x"`) || told[path+"good/status"].Status != "True" {
		t.Errorf("got %+v", told)
	}

	// What only says our own words again changes nothing.
	echo := `,"status":{"conditions":[{"type":"Ready","status":"True","reason":"Served","message":"in effect","lastTransitionTime":"` + good.told.LastTransitionTime + `"}]}`
	same := read(good, "good", "size(pod.spec.nodeName)", echo)
	b.take(batch{metricsOf: "Metric", metrics: []*liveMetric{bad, same}})
	if same.Object != good.Object || b.asked(pods) || len(b.reports()) > 0 {
		t.Error("an unchanged Metric is taken for another")
	}
	b.take(batch{kind: pods, events: []event{{gone: true, obj: wrap(newPod(1, 9))}}})
	if got := b.page("/metrics/n1/good"); got != "" {
		t.Errorf("got %s", got)
	}
	b.take(batch{kind: nodes, events: []event{{gone: true, obj: wrap(newNode(1, 10))}}})
	if got := b.page("/metrics/n1/good"); !strings.HasPrefix(got, `no node "n1"`) {
		t.Errorf("got %s", got)
	}
	b.take(batch{metricsOf: "Metric"})
	if got := b.page("/discovery/prometheus"); got != "[]" {
		t.Errorf("got %s", got)
	}
}
