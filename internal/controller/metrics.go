package controller

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"kwokctl/internal/api"
	"kwokctl/internal/kubelet"
)

// metricObjects are the Metrics, ResourceUsages and ClusterResourceUsages there are.
type metricObjects struct {
	fixed []api.Object
	live  map[string][]*liveMetric // by kind
	used  []api.Object             // what is in effect
	bad   map[api.Object]error     // why some of that is not
}

// liveMetric is one in the cluster.
type liveMetric struct {
	api.Object
	path   string        // of its status
	told   api.Condition // what that says
	others []api.Condition
	bad    error // why it could not be read
}

// isMetric tells whether an object is one of those.
func isMetric(o api.Object) bool {
	switch o.(type) {
	case *api.Metric, *api.ResourceUsage:
		return true
	}
	return false
}

// metricKinds are the kinds of those that are read from the cluster.
func metricKinds(enabled []string) (all []string) {
	for _, k := range api.Kinds {
		if isMetric(k.New()) && slices.Contains(enabled, k.Name) {
			all = append(all, k.Name)
		}
	}
	return all
}

// checkMetrics takes the metrics of files, which may have no mistakes, nor be of kinds that are read from the cluster.
func checkMetrics(objs []api.Object, enabled []string) ([]api.Object, error) {
	metrics := slices.DeleteFunc(slices.Clone(objs), func(o api.Object) bool { return !isMetric(o) })
	for _, o := range metrics {
		if kind := o.Type().Kind; slices.Contains(enabled, kind) {
			return nil, fmt.Errorf("%s %s: objects of this kind are read from the cluster (--enable-crds), so that no file may have any", kind, o.Meta().Name)
		}
	}
	return metrics, kubelet.Check(objs)
}

// readMetrics reads the objects of one kind, and hands on all there are whenever they change.
func (l *loop) readMetrics(ctx context.Context, kind string) {
	last, have := map[string]*liveMetric{}, map[string]*liveMetric{}
	l.follow(ctx, kind, func() { last, have = have, map[string]*liveMetric{} }, func(name string, e event) {
		if e.gone {
			delete(have, name)
			return
		}
		before := have[name]
		if before == nil {
			before = last[name]
		}
		have[name] = l.nextMetric(before, kind, e)
	}, func() {
		select {
		case l.batches <- batch{metricsOf: kind, metrics: sorted(have)}:
		case <-ctx.Done():
		}
	})
}

// nextMetric is an object after a change: itself if what it says is the same.
func (l *loop) nextMetric(before *liveMetric, kind string, e event) *liveMetric {
	m := e.obj.Meta()
	k := api.Kinds[slices.IndexFunc(api.Kinds, func(k api.Kind) bool { return k.Name == kind })]
	next := &liveMetric{path: "/apis/" + api.Version + "/" + k.Plural + "/" + m.Name + "/status"}
	if k.Namespaced {
		next.path = "/apis/" + api.Version + "/namespaces/" + m.Namespace + "/" + k.Plural + "/" + m.Name + "/status"
	}
	next.Object, next.bad = readObject(e.obj, strings.ToLower(kind))
	if next.bad != nil {
		return next
	}
	status := reflect.ValueOf(next.Object).Elem().FieldByName("Status").Interface().(api.Status)
	next.told, next.others = own(status.Conditions)
	if before != nil && before.bad == nil && reflect.DeepEqual(specOf(before.Object), specOf(next.Object)) {
		next.Object = before.Object
	}
	return next
}

func specOf(o api.Object) any { return reflect.ValueOf(o).Elem().FieldByName("Spec").Interface() }

// takeMetrics puts into effect what there is now.
func (l *loop) takeMetrics() {
	all := slices.Clone(l.metricObjects.fixed)
	for _, k := range metricKinds(l.opts.EnableCRDs) {
		for _, o := range l.metricObjects.live[k] {
			if o.bad == nil {
				all = append(all, o.Object)
			}
		}
	}
	if l.opts.ServerAddress == "" {
		return // nobody can ask
	}
	if !slices.Equal(all, l.metricObjects.used) {
		l.useMetrics(all)
	}
	for _, list := range l.metricObjects.live {
		for _, o := range list {
			l.judgeMetric(o)
		}
	}
}

func (l *loop) useMetrics(all []api.Object) {
	renew, errs := l.metrics.Use(all)
	before := l.metricObjects.bad
	l.metricObjects.used, l.metricObjects.bad = all, map[api.Object]error{}
	if renew && l.playing { // else they are not read yet
		l.kinds[nodes].ask()
		l.kinds[pods].ask()
	}
	for _, err := range errs {
		var at *kubelet.FieldError
		if !errors.As(err, &at) {
			l.log.Error("metrics of nodes do not work", "err", err)
			continue
		}
		err = fmt.Errorf("%s: %w", at.Field, at.Err)
		l.metricObjects.bad[at.Object] = err
		if before[at.Object] == nil {
			l.log.Error("object is set aside", "object", at.Object.Type().Kind+" "+at.Object.Meta().Name, "err", err)
		}
	}
}

// judgeMetric brings the condition of an object up to date.
func (l *loop) judgeMetric(o *liveMetric) {
	c := api.Condition{Type: conditionReady, Status: "True", Reason: "Served", Message: "in effect", LastTransitionTime: o.told.LastTransitionTime}
	err := o.bad
	if err == nil {
		err = l.metricObjects.bad[o.Object]
	}
	if err != nil {
		c.Status, c.Reason, c.Message = "False", reasonInvalid, err.Error()
	}
	if c == o.told {
		return
	}
	if o.bad != nil {
		l.log.Error("object is set aside", "object", o.path, "err", err)
	}
	if c.Status != o.told.Status || c.LastTransitionTime == "" {
		c.LastTransitionTime = l.now.UTC().Format(time.RFC3339)
	}
	o.told = c
	l.report.condition(o.path, o.others, c)
}
