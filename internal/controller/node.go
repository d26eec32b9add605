package controller

import (
	"hash/fnv"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"kwokctl/internal/stage"
)

// node is a managed node.
type node struct {
	name, uid string
	hosts     []any  // addresses, one per family
	set       uint16 // address set of its pods
	bucket    int    // in the ring of renewals
	lease     lease
	held      bool      // its lease is ours, or there are no leases
	wanted    bool      // it belongs to us, of all members
	leaving   bool      // we are giving it up
	since     time.Time // when it was first seen, or given up
	trying    bool      // an attempt at the lease is queued or under way
	again     bool      // make another attempt after that
	tries     int
	told      string // holder that was logged
	confirmed bool   // seen in this epoch
}

// selection says which nodes, and which objects at all, are managed.
type selection struct {
	all                         bool
	single                      string
	annotations                 labels.Selector // nil: any
	labels                      labels.Selector // nil: any
	skipAnnotations, skipLabels labels.Selector // nil: none
}

// selects reports whether a node is managed. Labels are selected by the server, but single nodes and
// annotations here.
func (s *selection) selects(n *stage.Node) bool {
	if s.skips(n.Meta()) || s.single != "" && n.Name != s.single {
		return false
	}
	return matches(s.annotations, n.Annotations) && matches(s.labels, n.Labels)
}

// matches holds to the rule that an empty map matches no selector but an absent one.
func matches(sel labels.Selector, m map[string]string) bool {
	return sel == nil || len(m) > 0 && sel.Matches(labels.Set(m))
}

// skips reports whether an object is disregarded.
func (s *selection) skips(m *stage.Meta) bool {
	return s.skipAnnotations != nil && matches(s.skipAnnotations, m.Annotations) ||
		s.skipLabels != nil && matches(s.skipLabels, m.Labels)
}

// hostsOf returns the addresses that pods of a node have as theirs: the first internal one, else the first
// external one, and the first of the other family.
func hostsOf(n *corev1.Node, fallback string) []any {
	var list []string
	for _, t := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP} {
		for _, a := range n.Status.Addresses {
			if a.Type == t && a.Address != "" {
				list = append(list, a.Address)
			}
		}
	}
	if len(list) == 0 {
		if fallback == "" {
			return nil
		}
		return []any{fallback}
	}
	hosts := []any{list[0]}
	if i := slices.IndexFunc(list, func(a string) bool { return isIPv6(a) != isIPv6(list[0]) }); i >= 0 {
		hosts = append(hosts, list[i])
	}
	return hosts
}

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6() && !a.Is4In6()
}

func cidrsOf(n *corev1.Node, fallback string) []string {
	switch {
	case len(n.Spec.PodCIDRs) > 0:
		return n.Spec.PodCIDRs
	case n.Spec.PodCIDR != "":
		return []string{n.Spec.PodCIDR}
	}
	return []string{fallback}
}

// newestPause after the newest node, no more of them are expected.
const newestPause = 500 * time.Millisecond

// bucketLength is how finely renewals are spread.
const bucketLength = 100 * time.Millisecond

// ring spreads the renewals of leases evenly over a quarter of their duration: a node's bucket is fixed by its name.
type ring struct {
	buckets [][]*node
	at      int
	due     time.Time // when it is the turn of the bucket at
	next    time.Time // it is not taken before this, see advance
}

func newRing(duration time.Duration, now time.Time) *ring {
	n := max(1, int(duration/4/bucketLength))
	return &ring{buckets: make([][]*node, n), due: now}
}

func (r *ring) add(n *node) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(n.name)) // never fails
	// FNV of names that differ in their last digits is uneven in its low bits.
	sum := h.Sum32() * 0x9e3779b1
	n.bucket = int(uint64(sum) * uint64(len(r.buckets)) >> 32)
	r.buckets[n.bucket] = append(r.buckets[n.bucket], n)
}

func (r *ring) remove(n *node) {
	b := r.buckets[n.bucket]
	if i := slices.Index(b, n); i >= 0 {
		r.buckets[n.bucket] = slices.Delete(b, i, i+1)
	}
}

// advance calls renew with the nodes whose turn it is. When it is late it catches up at twice the rate, so that what was
// spread evenly stays spread.
func (r *ring) advance(now time.Time, renew func(*node)) {
	if now.Before(r.due) || now.Before(r.next) {
		return
	}
	for _, n := range r.buckets[r.at] {
		renew(n)
	}
	r.at = (r.at + 1) % len(r.buckets)
	r.due, r.next = r.due.Add(bucketLength), now.Add(bucketLength/2)
	if now.Sub(r.due) > bucketLength*time.Duration(len(r.buckets)) {
		r.due = now // asleep for longer than a round: everything is due anyway
	}
}

// observeNode learns from a version of a node, and reports whether it is managed.
func (l *loop) observeNode(o *stage.Node) bool {
	n := l.nodes[o.Name]
	if !l.sel.selects(o) {
		if n != nil {
			l.forgetNode(n, true)
		}
		return false
	}
	if n != nil && n.uid != string(o.UID) { // recreated
		l.forgetNode(n, false)
		n = nil
	}
	isNew := n == nil
	if isNew {
		n = &node{name: o.Name, uid: string(o.UID), wanted: l.wants(o.Name), since: l.now, held: l.ring == nil}
		l.nodes[n.name] = n
	}
	n.hosts = hostsOf(o.Node, l.opts.NodeIP)
	n.set = l.addr.set(cidrsOf(o.Node, l.opts.CIDR))
	if isNew && l.ring != nil {
		n.lease = l.known[n.name]
		delete(l.known, n.name)
		l.ring.add(n)
		if l.presume(n) {
			n.held = true
			l.newcomers, l.newest = append(l.newcomers, n), l.now
		} else {
			l.consider(n)
		}
	}
	if n.held {
		l.unpark(n)
	}
	return true
}

// forgetNode stops managing a node; release gives its lease back, if it still exists.
func (l *loop) forgetNode(n *node, release bool) {
	delete(l.nodes, n.name)
	l.metrics.DropNode(n.name)
	if l.ring != nil {
		l.ring.remove(n)
	}
	if release && n.held && n.lease.version != "" {
		l.send(job{lane: vital, release: l.leaseTry(n)})
	}
}

func (l *loop) leaseTry(n *node) *leaseTry {
	path := leasePath
	if n == l.others {
		path = othersPath
	}
	return &leaseTry{path: path, node: n.name, uid: n.uid, have: n.lease, id: l.id, duration: l.leaseDuration, now: l.clock}
}

// tryLease queues an attempt at the lease of a node. None is made before all leases have been read.
func (l *loop) tryLease(n *node) {
	if !l.leasesRead {
		return // read leases queue them
	}
	if n.trying {
		n.again = true
		return
	}
	n.trying = true
	l.leaseQueue = append(l.leaseQueue, n)
}

// spares reports whether the renewal of a lease is left to the next round: at the second half of its duration it is early
// enough, when objects wait for the server.
func (l *loop) spares(n *node) bool {
	return l.waiting[vital]+l.waiting[normal] > maxLimit && l.now.Sub(n.lease.renewed) < l.leaseDuration*3/8
}

// presume reports whether a new node may be played before its lease is made: when it has none and nobody is known who
// could make one. Of all that a new node needs the lease is the least urgent, as its status counts as a heartbeat.
func (l *loop) presume(n *node) bool {
	return l.leasesRead && n.wanted && n.lease.version == "" && l.alone()
}

// alone reports whether nobody is known who could have our nodes.
func (l *loop) alone() bool { return len(l.members.live) <= 1 && len(l.rivals) == 0 }

// makeLeases has leases made for new nodes: when no more come, all are played and no renewal waits, but in good time
// whatever else there is to do.
func (l *loop) makeLeases() {
	quiet := l.now.Sub(l.newest) > newestPause && l.waiting[vital]+l.waiting[normal]+l.inflight[normal] == 0
	for len(l.newcomers) > 0 {
		n := l.newcomers[0]
		if l.now.Sub(n.since) < l.leaseDuration/2 && (!quiet || len(l.leaseQueue) >= l.limit[vital]) {
			return
		}
		l.newcomers = l.newcomers[1:]
		if l.nodes[n.name] == n && n.held && n.lease.version == "" {
			l.tryLease(n)
		}
	}
}

// leased takes the result of an attempt.
func (l *loop) leased(r *result) {
	n := l.nodes[r.try.node]
	if n == nil || n.uid != r.try.uid {
		return
	}
	n.trying = false
	if n.again {
		n.again = false
		l.later(0, n)
	}
	if r.err != nil {
		l.stats.leases.WithLabelValues("error").Inc()
		l.leaseFailed(n, r.err)
		return
	}
	n.tries, n.lease = 0, r.lease
	held := r.lease.holder == l.id
	if held {
		l.stats.leases.WithLabelValues("held").Inc()
		if !n.held {
			l.tookOver(n)
		}
		return
	}
	l.stats.leases.WithLabelValues("foreign").Inc()
	n.held = false
	l.heldBy(n, r.lease.holder)
}

// rival is what tells who has a node from us: of all its nodes, the first is enough to know. Kinds that are on no node
// have a lease of their own, and may have another holder.
type rival struct {
	holder string
	others bool
}

// heldBy says that a node is another controller's.
func (l *loop) heldBy(n *node, holder string) {
	if n.told == holder {
		return
	}
	n.told = holder
	who := rival{holder, n == l.others}
	if l.rivals[who]++; l.rivals[who] > 1 {
		l.log.Debug("node is held by another controller", "object", n.name, "holder", holder)
		return
	}
	l.log.Warn("node is held by another controller; it is taken over when its lease runs out", "object", n.name, "holder", holder,
		"duration", n.lease.duration)
	refer := corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: n.name, UID: types.UID(n.uid)}
	if n == l.others {
		refer = corev1.ObjectReference{APIVersion: "coordination.k8s.io/v1", Kind: "Lease", Namespace: "kube-system", Name: n.name}
	}
	l.report.event(refer, "Warning", "HeldByAnotherController",
		"controller "+l.id+" leaves it, and maybe others, to "+holder+", whose lease has not run out")
}

// tookOver begins to play a node.
func (l *loop) tookOver(n *node) {
	if n.told != "" {
		level, who := slog.LevelDebug, rival{n.told, n == l.others}
		if l.rivals[who] > 0 { // the first of that one's
			level = slog.LevelInfo
			delete(l.rivals, who)
		}
		l.log.Log(l.ctx, level, "node is taken over from another controller", "object", n.name, "holder", n.told)
	}
	n.held, n.told = true, ""
	l.unpark(n)
}

// leaseFailed tries again soon, while the lease still lasts.
func (l *loop) leaseFailed(n *node, err error) {
	if n.tries++; n.tries == 5 {
		l.log.Warn("cannot renew lease", "object", n.name, "err", err)
	}
	if n.held && n.lease.renewed.Add(n.lease.duration).Before(l.now) && n.lease.version != "" {
		// Nobody else can have it without us hearing of it at the next write; go on playing.
		l.stats.leases.WithLabelValues("late").Inc()
	}
	l.later(backoff(n.tries+1), n)
}

// park keeps an entry until the node it is on becomes ours.
func (l *loop) park(i uint32, node string) {
	list, ok := l.parked[node]
	if !ok {
		list = l.t.list()
		l.parked[node] = list
	}
	l.t.push(list, i)
	l.t.e[i].state = parked
}

// unpark looks again at what waited for the node to become ours.
func (l *loop) unpark(n *node) {
	list, ok := l.parked[n.name]
	if !ok {
		return
	}
	for i := l.t.first(list); i != 0; i = l.t.first(list) {
		l.enqueue(i, l.t.e[i].kind.lane())
	}
	delete(l.parked, n.name)
	l.t.dropList(list)
}
