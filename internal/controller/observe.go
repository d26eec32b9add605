package controller

import (
	"kwokctl/internal/kube"
	"kwokctl/internal/stage"
)

// take takes a batch of events.
func (l *loop) take(b batch) {
	if b.leases != nil {
		l.takeLeases(b.leases)
		return
	}
	if b.filesRead {
		l.takeFiles(b.files)
		l.metricObjects.fixed = b.fixed
		l.takeMetrics()
		return
	}
	if b.metricsOf != "" {
		l.metricObjects.live[b.metricsOf] = b.metrics
		l.takeMetrics()
		return
	}
	if b.kind == classes {
		l.takeClasses(b)
		return
	}
	if b.kind == memberLeases {
		l.takeMembers(b)
		return
	}
	if b.refused != nil {
		l.refuse(b.kind, b.refused)
		return
	}
	if b.kind == stageObjects {
		l.takeStages(b)
		return
	}
	if p := l.kinds[b.kind]; b.missing || b.kind >= firstOther && p.stop == nil {
		l.noKind(b.kind, b.missing)
		return
	}
	if b.begin {
		l.begin(b.kind, b.where)
	}
	for _, e := range b.events {
		if e.gone {
			l.observeGone(b.kind, e.obj)
		} else {
			l.observe(b.kind, e.obj)
		}
	}
	if b.end {
		l.end(b.kind)
	}
}

// begin starts an epoch: what it does not confirm is gone.
func (l *loop) begin(k kind, where *kube.Resource) {
	l.found(k, where)
	for i := range l.t.e {
		if l.t.e[i].kind == k {
			l.t.e[i].flags &^= confirmed
		}
	}
	switch k {
	case pods:
		l.addr.begin()
		l.metrics.BeginPods()
	case nodes:
		l.metrics.BeginNodes()
		for _, n := range l.nodes {
			n.confirmed = n == l.others
		}
	}
}

// end closes an epoch.
func (l *loop) end(k kind) {
	for i := range l.t.e {
		e := &l.t.e[i]
		if e.state == free || e.kind != k {
			continue
		}
		if e.flags&confirmed == 0 {
			l.dropped(uint32(i))
		} else if e.addr != 0 {
			l.addr.take(e.set, e.addr)
		}
	}
	switch k {
	case pods:
		l.addr.end()
		l.metrics.EndPods()
	case nodes:
		l.metrics.EndNodes()
		for _, n := range l.nodes {
			if !n.confirmed {
				l.forgetNode(n, false)
			}
		}
	}
	if p := l.kinds[k]; !p.synced {
		p.synced = true
		l.log.Info("watching", "object", p.ref.Kind, "unsettled", l.t.live)
	}
	if l.kinds[nodes].synced && l.kinds[pods].synced && l.ready.CompareAndSwap(false, true) {
		close(l.complete)
	}
}

// observe takes a version of an object and decides what it is due to do.
func (l *loop) observe(k kind, o stage.Object) {
	m := o.Meta()
	u := l.t.parseUID(m.UID)
	i := l.t.find(u)
	version := number64(m.Version)
	if i != 0 {
		e := &l.t.e[i]
		e.flags |= confirmed
		if version < e.seen {
			return // history
		}
		e.seen = version
	}
	managed := l.learn(k, o)
	if i != 0 && l.t.e[i].state == flying {
		l.t.e[i].flags |= again
		l.keep(i, o)
		return
	}
	if e := &l.t.e[i]; i != 0 && (version < e.ours || version == e.ours && e.flags&retry != 0) {
		return // what we wrote is newer, or this is the half of a move of which the rest is to follow
	}
	if !managed || l.sel.skips(m) {
		l.settle(i, o)
		return
	}
	l.choose(k, i, u, o)
}

// learn takes from an object what does not depend on its stages, and reports whether its kind is managed at all.
func (l *loop) learn(k kind, o stage.Object) bool {
	if n, ok := o.(*stage.Node); ok {
		managed := l.observeNode(n)
		if managed {
			l.nodes[n.Name].confirmed = true
			l.metrics.SetNode(n.Node)
		}
		return managed
	}
	p, ok := o.(*stage.Pod)
	if !ok {
		return true
	}
	if p.Spec.NodeName == "" {
		return false
	}
	l.metrics.SetPod(p.Pod)
	if !p.Spec.HostNetwork && len(p.Status.PodIPs) > 0 {
		l.addr.each(l.setOf(p.Spec.NodeName), podIPs(p), func(c *cidr, n uint32) { c.take(n) })
	}
	return true
}
