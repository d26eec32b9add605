package controller

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kwokctl/internal/api"
	"kwokctl/internal/kube"
	"kwokctl/internal/kubelet"
)

// finder finds where kinds live; kube.Client is one.
type finder interface {
	Resource(ctx context.Context, apiVersion, kind string) (kube.Resource, error)
}

// othersLease is the lease that lets one of several controllers play the kinds that belong to no node.
const (
	othersLease = "kwok-controller"
	othersPath  = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
)

// maxSearch is the longest pause between two looks for a kind that is not there.
const maxSearch = time.Second

// holdOthers begins to hold the lease for other kinds. It is a node to us, of which nothing is known but its lease.
func (l *loop) holdOthers() {
	if l.others != nil {
		return
	}
	l.others = &node{name: othersLease, held: l.ring == nil, confirmed: true, wanted: l.wants(othersLease), since: l.now}
	l.nodes[othersLease] = l.others
	if l.ring != nil {
		l.ring.add(l.others)
		l.consider(l.others)
	}
}

// launchAll starts the readers of all kinds but nodes and pods.
func (l *loop) launchAll() {
	l.playing = true
	for k, p := range l.kinds {
		if kind(k) >= firstOther && len(p.stages) > 0 {
			l.launch(kind(k))
		}
	}
	if l.cat.fromCluster {
		l.launch(stageObjects)
	}
	for _, name := range kubelet.Kinds() {
		if slices.Contains(l.opts.EnableCRDs, name) {
			l.readers.Go(func() { l.readRules(l.ctx, name) })
		}
	}
	for _, k := range metricKinds(l.opts.EnableCRDs) {
		l.readers.Go(func() { l.readMetrics(l.ctx, k) })
	}
}

// launch starts the reader of a kind.
func (l *loop) launch(k kind) {
	p := l.kinds[k]
	ctx, cancel := context.WithCancel(l.ctx)
	p.stop = cancel
	ref, renew := p.ref, p.renew
	var first <-chan struct{}
	if l.needsClasses(p.stages) {
		first = l.readClasses()
	}
	l.readers.Go(func() {
		if first != nil {
			select {
			case <-first:
			case <-ctx.Done():
			}
		}
		l.readKind(ctx, k, ref, renew, l.batches)
	})
}

// needsClasses reports whether a template of the stages looks at StorageClasses.
func (l *loop) needsClasses(stages []*api.Stage) bool {
	return slices.ContainsFunc(stages, func(s *api.Stage) bool {
		return slices.ContainsFunc(s.Spec.Steps, func(st api.Step) bool {
			return st.Apply != nil && strings.Contains(st.Apply.Template, classFunc) ||
				st.Patch != nil && strings.Contains(st.Patch.Template, classFunc)
		})
	})
}

// classFunc is the function of templates that returns a StorageClass.
const classFunc = "StorageClass"

// readClasses starts the reader of StorageClasses, once, and returns what is closed when all were read.
func (l *loop) readClasses() <-chan struct{} {
	if l.classesKnown == nil {
		l.classesKnown = make(chan struct{})
		l.readers.Go(func() {
			p := l.kinds[classes]
			(&reader{kind: classes, name: p.ref.Kind, path: p.where.Path("", ""), renew: p.renew, do: l.do, out: l.batches, log: l.log}).run(l.ctx)
		})
	}
	return l.classesKnown
}

// takeClasses takes a batch of events of StorageClasses. If we may not read them, there are none to us.
func (l *loop) takeClasses(b batch) {
	if b.begin {
		l.classes = map[string]any{}
	}
	for _, e := range b.events {
		if name := e.obj.Meta().Name; e.gone {
			delete(l.classes, name)
		} else {
			l.classes[name] = e.obj.Tree()
		}
	}
	if b.end || b.refused != nil {
		select {
		case <-l.classesKnown:
		default:
			close(l.classesKnown)
		}
	}
}

// readKind reads the objects of a kind that may come and go, such as a custom one.
func (l *loop) readKind(ctx context.Context, k kind, ref api.ResourceRef, renew <-chan struct{}, out chan<- batch) {
	lost := false
	for n := 1; ctx.Err() == nil; n++ {
		where, err := l.find.Resource(ctx, ref.APIGroup, ref.Kind)
		if err == nil {
			r := &reader{kind: k, name: ref.Kind, where: &where, path: where.Path("", ""), do: l.do, out: out, renew: renew, log: l.log}
			r.run(ctx)
			if r.opened {
				lost, n = false, 1
			}
			err = errNoKind
		}
		if ctx.Err() != nil {
			return
		}
		if !lost && (apierrors.IsNotFound(err) || errors.Is(err, errNoKind)) {
			lost = true
			l.log.Info("the API server does not have this kind; waiting for it", "object", ref.Kind+" of "+ref.APIGroup)
			select {
			case out <- batch{kind: k, missing: true}:
			case <-ctx.Done():
			}
		}
		wait(ctx, min(backoff(n), maxSearch))
	}
}

// found takes note that a kind can be read, and of where it lives if that had to be looked for.
func (l *loop) found(k kind, where *kube.Resource) {
	p := l.kinds[k]
	if where != nil {
		p.where = *where
	}
	if p.missing || p.refused != nil {
		p.missing, p.refused = false, nil
		l.judge()
	}
}

// refuse takes note that we may not read a kind.
func (l *loop) refuse(k kind, err error) {
	if p := l.kinds[k]; p.refused == nil {
		p.refused = err
		l.log.Warn("no right to read a kind that stages are for", "object", p.ref.Kind+" of "+p.ref.APIGroup, "err", err)
		l.judge()
	}
}

// noKind forgets the objects of a kind that the API server no longer has, or that has no stages left.
func (l *loop) noKind(k kind, missing bool) {
	p := l.kinds[k]
	p.synced = false
	for i := range l.t.e {
		if e := &l.t.e[i]; e.state != free && e.kind == k {
			l.dropped(uint32(i))
		}
	}
	if p.missing != missing {
		p.missing = missing
		l.judge()
	}
}
