package controller

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"kwokctl/internal/stage"
)

func number64(version string) uint64 {
	n, _ := strconv.ParseUint(version, 10, 64) // anything else is older than everything
	return n
}

// nodeOf returns the node whose lease guards an object.
func nodeOf(o stage.Object) string {
	switch o := o.(type) {
	case *stage.Pod:
		return o.Spec.NodeName
	case *stage.Node:
		return o.Name
	}
	return othersLease
}

func podIPs(p *stage.Pod) []string {
	var ips []string
	for _, ip := range p.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	if len(ips) == 0 && p.Status.PodIP != "" {
		ips = []string{p.Status.PodIP}
	}
	return ips
}

func (l *loop) nameOf(i uint32) string {
	e := &l.t.e[i]
	return l.kinds[e.kind].ref.Kind + " " + l.t.words[e.namespace] + "/" + l.t.name(i)
}

// setOf returns the address set of a node's pods.
func (l *loop) setOf(name string) uint16 {
	if n := l.nodes[name]; n != nil {
		return n.set
	}
	return l.addr.set([]string{l.opts.CIDR})
}

// ours reports whether the node of an entry is managed and its lease ours.
func (l *loop) ours(e *entry) bool {
	n := l.nodes[l.t.words[e.node]]
	return n != nil && n.held
}

// keep stores the newest version of an object for its move.
func (l *loop) keep(i uint32, o stage.Object) {
	var body []byte
	var err error
	switch o := o.(type) {
	case *stage.Pod:
		body, err = o.Pod.Marshal()
	case *stage.Node:
		body, err = o.Node.Marshal()
	default:
		body, err = json.Marshal(o.Tree())
	}
	if err != nil {
		l.t.dropBody(i) // it will be fetched
		return
	}
	l.t.keep(i, body)
}

// settle forgets an object at rest. Its address stays taken if it has one.
func (l *loop) settle(i uint32, o stage.Object) {
	if i == 0 {
		return
	}
	l.dropRest(i)
	e := &l.t.e[i]
	if e.addr != 0 {
		l.addr.free(e.set, e.addr)
		if p, ok := o.(*stage.Pod); ok && !p.Spec.HostNetwork {
			l.addr.each(l.setOf(p.Spec.NodeName), podIPs(p), func(c *cidr, n uint32) { c.take(n) })
		}
	}
	l.t.remove(i)
}

// dropped forgets an object that is gone, and gives back its address.
func (l *loop) dropped(i uint32) {
	e := &l.t.e[i]
	if e.state == flying {
		e.flags |= gone
		return
	}
	if e.addr != 0 {
		l.addr.free(e.set, e.addr)
	}
	l.dropRest(i)
	l.t.remove(i)
}

func (l *loop) dropRest(i uint32) {
	if e := &l.t.e[i]; e.flags&retry != 0 {
		e.flags &^= retry
		delete(l.rest, i)
	}
}

// observeGone takes the deletion of an object.
func (l *loop) observeGone(k kind, o stage.Object) {
	m := o.Meta()
	p, ok := o.(*stage.Pod)
	if ok {
		l.metrics.DropPod(p.Pod)
	}
	if ok && !p.Spec.HostNetwork {
		l.addr.each(l.setOf(p.Spec.NodeName), podIPs(p), func(c *cidr, n uint32) { c.give(n) })
	}
	if n := l.nodes[m.Name]; k == nodes && n != nil && n.uid == m.UID {
		// A node that only left our selection is deleted for us as well: whether it lives tells its lease.
		l.forgetNode(n, true)
	}
	if i := l.t.find(l.t.parseUID(m.UID)); i != 0 {
		l.dropped(i)
	}
}

// needless reports whether the server is removing an object already, or somebody's finalizer holds it: deleting it
// again changes nothing.
func needless(o stage.Object) bool {
	m := o.Meta()
	return m.Deleting && m.GracePeriod != nil && *m.GracePeriod == 0
}

// act plays the move of an entry that a lane has room for.
func (l *loop) act(i uint32, in lane) {
	e := &l.t.e[i]
	if !l.ours(e) {
		e.key = 0
		l.park(i, l.t.words[e.node])
		return
	}
	if acts, ok := l.rest[i]; ok && e.flags&retry != 0 {
		delete(l.rest, i)
		e.flags &^= retry
		l.fly(i, acts, in)
		return
	}
	body := l.t.body(i)
	if body == nil {
		l.fetch(i, in)
		return
	}
	o, err := decode(e.kind, body)
	if err != nil { // our own bytes: cannot happen, and the server knows better
		l.t.dropBody(i)
		l.fetch(i, in)
		return
	}
	mv := l.next(e.kind, i, o)
	switch {
	case mv == nil:
		l.settle(i, o)
	case mv.Key == e.key || mv.After <= 0:
		if mv.Key != e.key {
			e.key, e.stage = mv.Key, uint16(mv.Index)
		}
		l.play(i, o, in)
	default: // its stage no longer matches
		e.flags &^= due
		e.key, e.stage = mv.Key, uint16(mv.Index)
		l.wait(i, mv.After)
	}
}

// play works out what the move does and sends it.
func (l *loop) play(i uint32, o stage.Object, in lane) {
	e := &l.t.e[i]
	mv := l.kinds[e.kind].life.Move(int(e.stage))
	l.subj = subject{entry: i, obj: o}
	acts, err := mv.Actions(o, l.now)
	l.subj = subject{}
	if err != nil {
		l.blame(e.kind, err, o)
		l.retryLater(i, o, 0)
		return
	}
	if needless(o) {
		acts = slices.DeleteFunc(acts, func(a stage.Action) bool { return a.Kind == stage.Delete })
	}
	if len(acts) == 0 {
		l.stats.moves.WithLabelValues(mv.Stage, "unchanged").Inc()
		l.settle(i, o)
		return
	}
	l.t.dropBody(i)
	l.fly(i, acts, in)
}

// retryLater waits before another look at an object whose move failed before anything was sent.
func (l *loop) retryLater(i uint32, o stage.Object, after time.Duration) {
	e := &l.t.e[i]
	e.tries = min(e.tries+1, 16)
	l.keep(i, o)
	l.wait(i, max(after, patience(e.tries)))
}

// patience is the time before try n: 0.1 s, doubling up to 30 s.
func patience(n uint8) time.Duration {
	return min(100*time.Millisecond<<min(n, 10), 30*time.Second)
}

// fly hands actions to a sender.
func (l *loop) fly(i uint32, acts []stage.Action, in lane) {
	e := &l.t.e[i]
	e.state = flying
	e.flags &^= again
	e.turn++
	p := l.kinds[e.kind]
	mv := p.life.Move(int(e.stage))
	refer := l.referTo(i)
	l.send(job{lane: in, entry: i, move: &moveJob{kind: e.kind, refer: refer, path: p.path(refer.Namespace, refer.Name),
		actions: acts, stage: mv.Stage, immediate: mv.Immediate}})
}

// referTo is how events and requests name an object.
func (l *loop) referTo(i uint32) corev1.ObjectReference {
	e := &l.t.e[i]
	p := l.kinds[e.kind]
	return corev1.ObjectReference{APIVersion: p.ref.APIGroup, Kind: p.ref.Kind, Namespace: l.t.words[e.namespace],
		Name: l.t.name(i), UID: types.UID(formatUID(e.uid))}
}

// fetch asks for an object whose body is not at hand.
func (l *loop) fetch(i uint32, in lane) {
	e := &l.t.e[i]
	e.state = flying
	e.flags &^= again
	l.send(job{lane: in, entry: i, get: &getJob{kind: e.kind, path: l.kinds[e.kind].path(l.t.words[e.namespace], l.t.name(i)),
		cached: e.flags&fetch == 0}})
	e.flags &^= fetch
}

// subject is the object whose template is being rendered.
type subject struct {
	entry uint32
	obj   stage.Object
}

// templateFuncs are the functions of templates that know about nodes and addresses.
func (l *loop) templateFuncs() map[string]any {
	nodeIPs := func(name any) []any {
		if n := l.nodes[text(name)]; n != nil {
			return n.hosts
		}
		if l.opts.NodeIP != "" {
			return []any{l.opts.NodeIP}
		}
		return nil
	}
	podIPs := func(node, host any, _ ...any) ([]any, error) {
		if h, ok := host.(bool); ok && h {
			return nodeIPs(node), nil
		}
		return l.takeAddress(text(node))
	}
	return map[string]any{
		"NodeIP":      func() string { return l.opts.NodeIP },
		"NodeName":    func() string { return l.opts.NodeName },
		"NodePort":    func() int { return l.opts.NodePort },
		"NodeIPsWith": nodeIPs,
		"NodeIPWith":  func(name any) string { return head(nodeIPs(name)) },
		"PodIPsWith":  podIPs,
		"PodIPWith": func(node, host any, more ...any) (string, error) {
			ips, err := podIPs(node, host, more...)
			return head(ips), err
		},
		classFunc: func(name any) any {
			if c, ok := l.classes[text(name)]; ok {
				return c
			}
			return map[string]any{}
		},
		"PodIP": func() (string, error) {
			ips, err := l.takeAddress("")
			return head(ips), err
		},
	}
}

func text(x any) string {
	s, _ := x.(string)
	return s
}

func head(list []any) string {
	if len(list) == 0 {
		return ""
	}
	return text(list[0])
}

// takeAddress returns the addresses of the pod being rendered. They are taken for its uid, not for a rendering.
func (l *loop) takeAddress(node string) ([]any, error) {
	p, ok := l.subj.obj.(*stage.Pod)
	if !ok {
		return nil, nil
	}
	if ips := podIPs(p); len(ips) > 0 && !p.Spec.HostNetwork {
		return asList(ips), nil
	}
	e := &l.t.e[l.subj.entry]
	if e.addr == 0 {
		set := l.setOf(node)
		if len(l.addr.sets[set]) == 0 { // no CIDR that can be read
			if l.opts.NodeIP == "" {
				return nil, nil
			}
			return []any{l.opts.NodeIP}, nil
		}
		n, err := l.addr.alloc(set)
		if err != nil {
			return nil, err
		}
		e.addr, e.set = n, set
	}
	return l.addr.texts(e.set, e.addr), nil
}

func asList(s []string) []any {
	var list []any
	for _, x := range s {
		list = append(list, x)
	}
	return list
}
