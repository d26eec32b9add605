package kubelet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	corev1 "k8s.io/api/core/v1"

	"kwokctl/internal/api"
	"kwokctl/internal/expr"
)

// Metrics answers, below /metrics/, what the nodes' own metrics are, and at /discovery/prometheus, where those are.
// It has to be told of nodes and pods; while there is no Metric, it keeps nothing of them.
type Metrics struct {
	records
	envs   map[string]*expr.CELEnv // nil: nothing was ever compiled
	now    func() time.Time
	log    *slog.Logger
	failed func() // counts failures; nil: nobody does
	set    atomic.Pointer[metricSet]

	complaints struct {
		sync.Mutex
		seen map[string]bool
	}
	nodesBegan, podsBegan uint32
}

// NewMetrics returns one without any Metrics.
func NewMetrics(log *slog.Logger, now func() time.Time, failed func()) *Metrics {
	m := &Metrics{now: now, log: log, failed: failed}
	m.set.Store(&metricSet{})
	return m
}

// Check returns the first mistake in PortForwards, Metrics and ResourceUsages.
func Check(objs []api.Object) error {
	for _, f := range api.Of[*api.PortForward](objs) {
		if err := checkForward(f); err != nil {
			return err
		}
	}
	m := NewMetrics(slog.New(slog.DiscardHandler), time.Now, nil)
	if _, errs := m.compile(objs); len(errs) > 0 {
		return errs[0] // the user mends one at a time
	}
	return nil
}

// Use replaces all Metrics and ResourceUsages, and returns the mistakes of those that are set aside. It reports whether
// nodes and pods have to be told anew, because more of them is looked at.
func (m *Metrics) Use(objs []api.Object) (renew bool, errs []error) {
	set, errs := m.compile(objs)
	renew = m.demand(set.uses)
	m.set.Store(set)
	m.complaints.Lock()
	m.complaints.seen = map[string]bool{}
	m.complaints.Unlock()
	return renew, errs
}

// SetNode takes a version of a node that is managed.
func (m *Metrics) SetNode(n *corev1.Node) { m.setNode(n) }

// DropNode takes note that a node is gone, or not managed.
func (m *Metrics) DropNode(name string) { m.dropNode(name) }

// SetPod takes a version of a pod that is on a node.
func (m *Metrics) SetPod(p *corev1.Pod) { m.setPod(p) }

// DropPod takes the deletion of a pod.
func (m *Metrics) DropPod(p *corev1.Pod) { m.dropPod(p) }

// BeginNodes starts an account of all nodes there are, which ends with EndNodes: those not told of between are gone.
func (m *Metrics) BeginNodes() { m.nodesBegan = m.begin() }

// EndNodes ends it.
func (m *Metrics) EndNodes() { m.endNodes(m.nodesBegan) }

// BeginPods is BeginNodes of pods.
func (m *Metrics) BeginPods() { m.podsBegan = m.begin() }

// EndPods ends it.
func (m *Metrics) EndPods() { m.endPods(m.podsBegan) }

// maxComplaints is how many different faults are logged, until Metrics change.
const maxComplaints = 100

// complain counts what fails in scrapes, and logs each different fault once.
func (m *Metrics) complain(what string, err error) {
	if m.failed != nil {
		m.failed()
	}
	m.complaints.Lock()
	defer m.complaints.Unlock()
	if fault := err.Error(); len(m.complaints.seen) < maxComplaints && !m.complaints.seen[fault] {
		m.complaints.seen[fault] = true
		m.log.Warn("metric fails", "metric", what, "err", err)
	}
}

// discoveryPath is where Prometheus finds what to scrape.
const discoveryPath = "/discovery/prometheus"

// ServeHTTP answers requests.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "want GET", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == discoveryPath {
		m.discover(w, r)
		return
	}
	set := m.set.Load()
	for _, p := range set.pages {
		if name, ok := p.match(r.URL.Path); ok {
			m.answer(w, set, p, name)
			return
		}
	}
	http.Error(w, "no Metric has the path "+r.URL.Path, http.StatusNotFound)
}

// match finds the name of the node in a path. Without one in it, the Metric is for the node of its own name.
func (p *page) match(path string) (node string, ok bool) {
	if !p.anyNode {
		return p.name, path == p.prefix
	}
	if len(path) <= len(p.prefix)+len(p.suffix) || !strings.HasPrefix(path, p.prefix) || !strings.HasSuffix(path, p.suffix) {
		return "", false
	}
	node = path[len(p.prefix) : len(path)-len(p.suffix)]
	return node, !strings.Contains(node, "/")
}

func (m *Metrics) answer(w http.ResponseWriter, set *metricSet, p *page, name string) {
	node, used, pods, known := m.read(name)
	if !known { // an empty page would look like a node that is well
		http.Error(w, fmt.Sprintf("no node %q that this controller manages", name), http.StatusNotFound)
		return
	}
	s := &scrape{m: m, set: set, now: m.now(), node: node, used: used, pods: pods, usedBy: map[*corev1.Pod]*integrals{},
		usages: map[usageKey]*float64{}, cache: map[cacheKey]result{}}
	for _, o := range pods {
		s.usedBy[o.Pod] = o.used
	}
	var page bytes.Buffer
	for _, f := range p.families {
		series := s.family(f)
		if len(series.Metric) == 0 {
			continue
		}
		if _, err := expfmt.MetricFamilyToText(&page, series); err != nil {
			m.complain(f.name, err)
		}
	}
	w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	_, _ = w.Write(page.Bytes()) // who does not listen misses it
}

// scrapeTarget is an entry of Prometheus' HTTP discovery.
type scrapeTarget struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

func (m *Metrics) discover(w http.ResponseWriter, r *http.Request) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	all := []scrapeTarget{} // not null, if there are none
	nodes := m.managed()
	for _, p := range m.set.Load().pages {
		paths := []string{p.prefix}
		if p.anyNode {
			paths = nil
			for _, name := range nodes {
				paths = append(paths, p.prefix+name+p.suffix)
			}
		}
		for _, path := range paths {
			all = append(all, scrapeTarget{[]string{r.Host}, map[string]string{"metrics_name": p.name, "__scheme__": scheme, "__metrics_path__": path}})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(all) // who does not listen misses it
}

// scrape is one answer. Whatever it finds it finds once.
type scrape struct {
	m      *Metrics
	set    *metricSet
	now    time.Time
	node   *corev1.Node
	used   *integrals
	pods   []onePod
	usedBy map[*corev1.Pod]*integrals
	usages map[usageKey]*float64 // nil: being found
	cache  map[cacheKey]result
}

type cacheKey struct {
	cel       *expr.CEL
	pod       *corev1.Pod
	container *corev1.Container
}

type result struct {
	number float64
	text   string
	err    error
}

func (s *scrape) number(c *expr.CEL, pod *corev1.Pod, container *corev1.Container) (float64, error) {
	key := cacheKey{c, pod, container}
	r, ok := s.cache[key]
	if !ok {
		r.number, r.err = c.Number(&expr.Vars{Node: s.node, Pod: pod, Container: container, Asked: s})
		s.cache[key] = r
	}
	return r.number, r.err
}

func (s *scrape) text(c *expr.CEL, pod *corev1.Pod, container *corev1.Container) (string, error) {
	key := cacheKey{c, pod, container}
	r, ok := s.cache[key]
	if !ok {
		r.text, r.err = c.Text(&expr.Vars{Node: s.node, Pod: pod, Container: container, Asked: s})
		s.cache[key] = r
	}
	return r.text, r.err
}

// family finds all series of a name. Of two with the same labels the last counts; one that fails is left out.
func (s *scrape) family(f *family) *dto.MetricFamily {
	all := &dto.MetricFamily{Name: &f.name, Help: &f.help, Type: &f.kind}
	at := map[string]int{}
	for i := range f.entries {
		e := &f.entries[i]
		s.each(e.dimension, func(pod *corev1.Pod, container *corev1.Container) {
			one, key, err := s.series(f.kind, e, pod, container)
			if err != nil {
				s.m.complain(f.name, err)
				return
			}
			if i, ok := at[key]; ok {
				all.Metric[i] = one
				return
			}
			at[key] = len(all.Metric)
			all.Metric = append(all.Metric, one)
		})
	}
	return all
}

// each calls do with all that a dimension has on the node.
func (s *scrape) each(dimension string, do func(*corev1.Pod, *corev1.Container)) {
	if dimension == "node" {
		do(nil, nil)
		return
	}
	for _, p := range s.pods {
		if dimension == "pod" {
			do(p.Pod, nil)
			continue
		}
		for i := range p.Spec.Containers {
			do(p.Pod, &p.Spec.Containers[i])
		}
	}
}

// series makes one series, and what tells it from others of its name.
func (s *scrape) series(kind dto.MetricType, e *row, pod *corev1.Pod, container *corev1.Container) (*dto.Metric, string, error) {
	one, key := &dto.Metric{}, strings.Builder{}
	for i := range e.labels {
		value, err := s.text(e.labels[i].value, pod, container)
		if err != nil {
			return nil, "", err
		}
		value = strings.ToValidUTF8(value, "\uFFFD")
		one.Label = append(one.Label, &dto.LabelPair{Name: &e.labels[i].name, Value: &value})
		fmt.Fprintf(&key, "%s=%q ", e.labels[i].name, value)
	}
	if kind == dto.MetricType_HISTOGRAM {
		h, err := s.histogram(e, pod, container)
		one.Histogram = h
		return one, key.String(), err
	}
	n, err := s.number(e.value, pod, container)
	if kind == dto.MetricType_COUNTER {
		one.Counter = &dto.Counter{Value: &n}
	} else {
		one.Gauge = &dto.Gauge{Value: &n}
	}
	return one, key.String(), err
}

// histogram adds up buckets. A hidden one is seen in those above it only.
func (s *scrape) histogram(e *row, pod *corev1.Pod, container *corev1.Container) (*dto.Histogram, error) {
	h, count, sum := &dto.Histogram{}, uint64(0), 0.0
	for i := range e.buckets {
		b := &e.buckets[i]
		n, err := s.number(b.value, pod, container)
		if err != nil {
			return nil, err
		}
		if math.IsNaN(n) || n < 0 || n >= math.MaxInt64 {
			return nil, fmt.Errorf("bucket %v: %v is no count", b.le, n)
		}
		count += uint64(n)
		sum += b.le * math.Trunc(n)
		if !b.hidden {
			upTo := count
			h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: &b.le, CumulativeCount: &upTo})
		}
	}
	h.SampleCount, h.SampleSum = &count, &sum
	return h, nil
}
