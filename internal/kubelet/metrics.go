package kubelet

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"kwokctl/internal/api"
	"kwokctl/internal/expr"
)

// FieldError is a mistake in an object, of which it names the field.
type FieldError struct {
	Object api.Object
	Field  string
	Err    error
}

func (e *FieldError) Error() string {
	at := ""
	if o, ok := e.Object.(interface{ At(field string) string }); ok {
		at = o.At(e.Field)
	}
	return fmt.Sprintf("%s%s %s: %s: %v", at, e.Object.Type().Kind, e.Object.Meta().Name, e.Field, e.Err)
}

// Unwrap returns the cause.
func (e *FieldError) Unwrap() error { return e.Err }

// metricSet is all Metrics and usages there are, ready to be asked.
type metricSet struct {
	pages  []*page
	usages *Targets[usageRule, string]
	uses   map[string]bool // parts of objects that expressions look at; nil: there are no Metrics
}

// page is what is at the path of a Metric.
type page struct {
	name           string // of the Metric
	prefix, suffix string // of the path, around the name of the node
	anyNode        bool   // there is such a name in it
	families       []*family
}

// nodeParameter stands for the name of any node in a path.
const nodeParameter = "{nodeName}"

// family is all series of one name.
type family struct {
	name, help string
	kind       dto.MetricType
	entries    []row
}

// row is one row of a Metric.
type row struct {
	dimension string
	labels    []label
	value     *expr.CEL
	buckets   []bucket
}

type label struct {
	name  string
	value *expr.CEL
}

type bucket struct {
	le     float64
	value  *expr.CEL
	hidden bool
}

// identity is what is kept of any node and pod.
var identity = []string{"metadata.name", "metadata.namespace", "metadata.uid", "metadata.creationTimestamp"}

// compiler compiles each text once.
type compiler struct {
	envs map[string]*expr.CELEnv
	made map[string]*expr.CEL
	uses map[string]bool
}

func (c *compiler) compile(dimension, text, to string, compile func(string) (*expr.CEL, error)) (*expr.CEL, error) {
	key := dimension + " " + to + " " + text
	if made := c.made[key]; made != nil {
		return made, nil
	}
	made, err := compile(text)
	if err != nil {
		return nil, err
	}
	c.made[key] = made
	for _, use := range made.Uses() {
		switch root, part, _ := strings.Cut(use, "."); {
		case root == "container" && part != "name":
			c.uses["pod.spec.containers"] = true
		case root != "container" && !slices.Contains(identity, part):
			c.uses[use] = true
		}
	}
	return made, nil
}

func (c *compiler) number(dimension, text string) (*expr.CEL, error) {
	return c.compile(dimension, text, "number", c.envs[dimension].CompileNumber)
}

func (c *compiler) text(dimension, text string) (*expr.CEL, error) {
	return c.compile(dimension, text, "string", c.envs[dimension].CompileString)
}

// compile makes a set of all objects that are without mistakes, and tells the mistakes of the others. A path belongs to
// the first Metric that has it.
func (m *Metrics) compile(objs []api.Object) (*metricSet, []error) {
	set := &metricSet{usages: &Targets[usageRule, string]{}}
	if m.envs == nil && len(objs) > 0 {
		envs, err := expr.NewMetricEnvs(expr.World{Now: m.now, Started: m.startedOn})
		if err != nil {
			return set, []error{err}
		}
		m.envs = envs
	}
	c := &compiler{m.envs, map[string]*expr.CEL{}, map[string]bool{}}
	var errs []error
	var usages []*usageSet
	for _, o := range objs {
		switch o := o.(type) {
		case *api.Metric:
			p, err := c.page(o)
			if i := slices.IndexFunc(set.pages, func(q *page) bool {
				return err == nil && q.prefix == p.prefix && q.suffix == p.suffix && q.anyNode == p.anyNode
			}); i >= 0 {
				err = &FieldError{o, "spec.path", fmt.Errorf("that of Metric %s already", set.pages[i].name)}
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			set.pages = append(set.pages, p)
		case *api.ResourceUsage:
			u, err := c.usage(o)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			usages = append(usages, u)
		}
	}
	slices.SortStableFunc(set.pages, func(a, b *page) int { return cmp.Compare(toInt(a.anyNode), toInt(b.anyNode)) }) // who names a node comes first
	set.usages = NewTargets(usages, func(u *usageSet) (*api.PodSelector, []usageRule) { return u.Spec.Selector, u.rules },
		func(r *usageRule) []string { return r.containers })
	if len(set.pages) > 0 {
		set.uses = c.uses
	}
	return set, errs
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

var (
	metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
	labelName  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

func (c *compiler) page(m *api.Metric) (*page, error) {
	p := &page{name: m.Metadata.Name}
	path := m.Spec.Path
	p.prefix, p.suffix, p.anyNode = strings.Cut(path, nodeParameter)
	switch {
	case path == "/metrics" || path == "/metrics/":
		return nil, &FieldError{m, "spec.path", fmt.Errorf("%s: the metrics of the controller itself are there; want more, such as /metrics/nodes/%s/metrics", path, nodeParameter)}
	case !strings.HasPrefix(path, "/metrics/"):
		return nil, &FieldError{m, "spec.path", fmt.Errorf("%q: want a path that begins with /metrics/", path)}
	case strings.ContainsAny(p.prefix+p.suffix, "{}?#"):
		return nil, &FieldError{m, "spec.path", fmt.Errorf("%q: want no parameter but %s, once", path, nodeParameter)}
	}
	for i := range m.Spec.Metrics {
		from := &m.Spec.Metrics[i]
		field := fmt.Sprintf("spec.metrics[%d]", i)
		kind, ok := map[string]dto.MetricType{"counter": dto.MetricType_COUNTER, "gauge": dto.MetricType_GAUGE, "histogram": dto.MetricType_HISTOGRAM}[from.Kind]
		if !ok {
			return nil, &FieldError{m, field + ".kind", fmt.Errorf("%q is none of counter, gauge, histogram", from.Kind)}
		}
		if !metricName.MatchString(from.Name) {
			return nil, &FieldError{m, field + ".name", fmt.Errorf("%q is no name for a metric", from.Name)}
		}
		e, at, err := c.row(from)
		if err != nil {
			return nil, &FieldError{m, field + at, err}
		}
		known := slices.IndexFunc(p.families, func(f *family) bool { return f.name == from.Name })
		if known < 0 {
			p.families = append(p.families, &family{name: from.Name, help: from.Help, kind: kind, entries: []row{e}})
			continue
		}
		f := p.families[known]
		if f.kind != kind {
			return nil, &FieldError{m, field + ".kind", fmt.Errorf("%s is a %s already", from.Name, strings.ToLower(f.kind.String()))}
		}
		f.entries = append(f.entries, e)
	}
	return p, nil
}

// row compiles a row. With an error comes the field that has it.
func (c *compiler) row(from *api.MetricFamily) (e row, at string, err error) {
	e.dimension = cmp.Or(from.Dimension, "node")
	if !slices.Contains(expr.Dimensions(), e.dimension) {
		return e, ".dimension", fmt.Errorf("%q is none of %s", from.Dimension, strings.Join(expr.Dimensions(), ", "))
	}
	for i, l := range from.Labels {
		at := fmt.Sprintf(".labels[%d]", i)
		reserved := l.Name == "le" && from.Kind == "histogram"
		if !labelName.MatchString(l.Name) || reserved || slices.ContainsFunc(e.labels, func(have label) bool { return have.name == l.Name }) {
			return e, at + ".name", fmt.Errorf("%q is no name for a label, or there twice", l.Name)
		}
		value, err := c.text(e.dimension, l.Value)
		if err != nil {
			return e, at + ".value", err
		}
		e.labels = append(e.labels, label{l.Name, value})
	}
	slices.SortFunc(e.labels, func(a, b label) int { return strings.Compare(a.name, b.name) })
	if from.Kind != "histogram" {
		if len(from.Buckets) > 0 {
			return e, ".buckets", errors.New("only a histogram has buckets")
		}
		e.value, err = c.number(e.dimension, from.Value)
		return e, ".value", err
	}
	if from.Value != "" {
		return e, ".value", errors.New("a histogram has buckets instead")
	}
	for i, b := range from.Buckets {
		at := fmt.Sprintf(".buckets[%d]", i)
		if b.LE < 0 || slices.ContainsFunc(e.buckets, func(have bucket) bool { return have.le == b.LE }) {
			return e, at + ".le", fmt.Errorf("%v is below 0, or there twice", b.LE)
		}
		value, err := c.number(e.dimension, b.Value)
		if err != nil {
			return e, at + ".value", err
		}
		e.buckets = append(e.buckets, bucket{b.LE, value, b.Hidden})
	}
	slices.SortFunc(e.buckets, func(a, b bucket) int { return cmp.Compare(a.le, b.le) })
	return e, "", nil
}
