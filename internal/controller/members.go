package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"slices"
	"time"

	"kwokctl/internal/api"
	"kwokctl/internal/stage"
)

// members are the controllers that share nodes: those that select the same ones. Each keeps a lease of its own, which
// says that it is there. A node belongs to the one whose hash with the node's name is the highest, so that little moves
// when one comes or goes; the lease of the node stays the lock.
type members struct {
	by      map[string]member // by name of the lease
	reading bool              // an epoch is under way
	live    []string          // sorted, ourselves among them
	changed time.Time         // when live last did
}

// member is what the lease of a controller says.
type member struct {
	id      string
	until   time.Time // it is gone then, unless it renews
	renewed time.Time
	started time.Time // the process that renewed it
}

const (
	memberLabel = "kwok.x-k8s.io/members" // with what the members select, hashed
	startedNote = "kwok.x-k8s.io/started" // when the process of the member was
	microTime   = "2006-01-02T15:04:05.000000Z"
	// forgotten is how long a controller must be gone for its lease to be deleted.
	forgotten = time.Hour
	// surveyTime is how often we look for nodes that we could take; while some are held by others, more often.
	surveyTime, surveyLacking = time.Second, 250 * time.Millisecond
)

func short12(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// groupOf names the controllers that select the same nodes.
func groupOf(o *api.KwokOptions) string {
	return short12(fmt.Sprintf("%v\n%s\n%s\n%s\n%s\n%s", o.ManageAllNodes, o.ManageSingleNode, o.ManageNodesWithAnnotationSelector,
		o.ManageNodesWithLabelSelector, o.DisregardStatusWithAnnotationSelector, o.DisregardStatusWithLabelSelector))
}

// memberName is the name of our own lease.
func (l *loop) memberName() string { return "kwok-controller-" + short12(l.group+" "+l.id) }

func (l *loop) memberPath() string { return othersPath + "/" + l.memberName() }

// beMember keeps our own lease. It begins when we know what there is, so that nobody leaves us nodes before.
func (l *loop) beMember(ctx context.Context) {
	select {
	case <-l.complete:
	case <-ctx.Done():
		return
	}
	tries := 0
	for ctx.Err() == nil {
		rep := l.tellMembers(ctx, l.clock(), l.leaseDuration)
		pause := l.leaseDuration / 4
		if tries++; rep.ok() {
			tries = 0
		} else if pause = min(pause, backoff(tries)); tries == 5 {
			l.log.Warn("cannot tell other controllers that we are here", "err", rep.fault())
		}
		select {
		case name := <-l.obsolete:
			l.do.Do(ctx, &request{lane: vital, method: http.MethodDelete, path: othersPath + "/" + name})
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// tellMembers writes our own lease.
func (l *loop) tellMembers(ctx context.Context, renewed time.Time, duration time.Duration) reply {
	text, _ := json.Marshal(map[string]any{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", // strings and numbers
		"metadata": map[string]any{"name": l.memberName(), "labels": map[string]any{memberLabel: l.group},
			"annotations": map[string]any{startedNote: l.started.UTC().Format(microTime)}},
		"spec": map[string]any{"holderIdentity": l.id, "leaseDurationSeconds": int(duration / time.Second),
			"renewTime": renewed.UTC().Format(microTime)}})
	return l.do.Do(ctx, &request{lane: vital, method: http.MethodPatch, path: l.memberPath() + "?force=true&fieldManager=" + fieldManager,
		ctype: stage.ApplyPatch, accept: metaOnlyAny, body: text})
}

// leave says that we are gone: our lease has run out. It stays, as all objects do when a cluster is stopped.
func (l *loop) leave() {
	if l.ring == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), releaseTime/3)
	defer cancel()
	l.tellMembers(ctx, l.clock().Add(-l.leaseDuration), time.Second) // if it cannot be told, it runs out
}

// readMembers watches the leases of all members.
func (l *loop) readMembers(ctx context.Context) {
	(&reader{kind: memberLeases, name: "Lease", path: othersPath, query: url.Values{"labelSelector": {memberLabel + "=" + l.group}},
		do: l.do, out: l.batches, log: l.log}).run(ctx)
}

// takeMembers takes a batch of events of members' leases.
func (l *loop) takeMembers(b batch) {
	m := &l.members
	if b.begin {
		clear(m.by)
		m.reading = true
	}
	for _, e := range b.events {
		name := e.obj.Meta().Name
		delete(m.by, name)
		if c := memberOf(e.obj); !e.gone && c.id != "" {
			m.by[name] = c
			if name == l.memberName() {
				l.checkName(c)
			}
		}
	}
	m.reading = m.reading && !b.end
	l.share()
}

// checkName ends us if our name is also that of a controller that was there before and still is: with one name we would
// both believe to hold the same leases.
func (l *loop) checkName(c member) {
	if c.started.IsZero() || !c.started.Before(l.started.Truncate(time.Microsecond)) || !c.renewed.After(l.started) {
		return // it is us, or was, or came later and will end
	}
	select {
	case l.failed <- fmt.Errorf("another controller of the name %s runs since %s: start this one with another --id", l.id, c.started.Format(time.RFC3339)):
	default: // said already
	}
}

func memberOf(o stage.Object) member {
	var lease struct {
		Spec struct {
			HolderIdentity       string
			LeaseDurationSeconds int64
			RenewTime            time.Time
		}
	}
	text, err := json.Marshal(o.Tree())
	if err == nil {
		err = json.Unmarshal(text, &lease)
	}
	if err != nil {
		return member{}
	}
	s := lease.Spec
	started, _ := time.Parse(microTime, o.Meta().Annotations[startedNote]) // none is the zero time
	return member{s.HolderIdentity, s.RenewTime.Add(time.Duration(s.LeaseDurationSeconds) * time.Second), s.RenewTime, started}
}

// share works out who is there, and, if that changed, which nodes are ours: we give up the others.
func (l *loop) share() {
	m := &l.members
	if m.reading {
		return
	}
	live := []string{l.id}
	for name, c := range m.by {
		if l.now.Before(c.until) {
			live = append(live, c.id)
		} else if l.now.Sub(c.until) > forgotten {
			select {
			case l.obsolete <- name:
				delete(m.by, name)
			default:
			}
		}
	}
	slices.Sort(live)
	if live = slices.Compact(live); slices.Equal(live, m.live) {
		return
	}
	l.log.Info("controllers share the nodes", "members", live)
	m.live, m.changed = live, l.now
	l.addr.foreign = nil
	if len(live) > 1 {
		l.addr.foreign = func(block uint32) bool { return !l.wants(fmt.Sprint("addresses ", block)) }
	}
	for _, n := range l.nodes {
		n.wanted = l.wants(n.name)
		if n.leaving = n.held && !n.wanted; n.leaving {
			l.tryLease(n)
		}
	}
	l.survey()
}

// wants reports whether something belongs to us, of all members.
func (l *loop) wants(name string) bool {
	best, most := "", uint64(0)
	for _, id := range l.members.live {
		h := fnv.New64a()
		_, _ = h.Write([]byte(id + "\n" + name)) // never fails
		sum := h.Sum64()
		sum = (sum ^ sum>>33) * 0xff51afd7ed558ccd // FNV alone is uneven for names that differ at their end
		if sum ^= sum >> 33; best == "" || sum > most {
			best, most = id, sum
		}
	}
	return best == l.id || best == ""
}

// survey looks for nodes that we could take, and asks for the leases if others hold some of ours.
func (l *loop) survey() {
	if !l.leasesRead {
		return
	}
	l.surveyed, l.lacking = l.now, 0
	for _, n := range l.nodes {
		l.consider(n)
	}
	every := l.leaseDuration / 4
	if l.lacking > 0 && l.now.Sub(l.members.changed) < 2*l.leaseDuration { // they are being given up, or run out
		every = min(every, time.Second)
	}
	if (l.lacking > 0 || len(l.members.live) > 1) && l.now.Sub(l.listed) >= every {
		l.listed = l.now
		select {
		case l.list <- struct{}{}:
		default: // asked already
		}
	}
}

// consider takes a node that is not ours but could be: that belongs to us and is free, or that whoever it belongs to
// leaves alone for too long.
func (l *loop) consider(n *node) {
	if n.held || n.trying || n.tries > 0 || !l.leasesRead {
		return
	}
	// Ours since before a restart, or as a snapshot has it: it is renewed in its turn, not with all others at once.
	if n.lease.holder == l.id && n.wanted && l.alone() {
		n.held = true
		l.unpark(n)
		return
	}
	free := n.lease.version == "" || n.lease.acquirable(l.id, l.now)
	neglected := n.since
	if n.lease.renewed.After(neglected) {
		neglected = n.lease.renewed
	}
	switch {
	case free && (n.wanted || l.now.Sub(neglected) > 2*l.leaseDuration):
		l.tryLease(n)
	case n.wanted:
		l.lacking++
		l.heldBy(n, n.lease.holder)
	}
}

// leaseJob is the next thing to do about the lease of a node: to have it, or to give it up.
func (l *loop) leaseJob(n *node) job {
	if n.leaving {
		n.held = false
		return job{lane: vital, release: l.leaseTry(n)}
	}
	return job{lane: vital, lease: l.leaseTry(n)}
}

// released takes the result of giving a lease up.
func (l *loop) released(r *result) {
	if r.err != nil {
		l.log.Debug("release lease", "object", r.release.node, "err", r.err)
	}
	n := l.nodes[r.release.node]
	if n == nil || n.uid != r.release.uid || !n.trying {
		return
	}
	n.trying, n.again = false, false
	if r.err != nil && n.leaving {
		n.tries++
		l.later(backoff(n.tries), n)
		return
	}
	n.tries, n.leaving, n.since, n.lease = 0, false, l.now, lease{}
	l.consider(n) // it may have become ours meanwhile
}

// takeLeases takes all leases of nodes, as they were just read.
func (l *loop) takeLeases(all map[string]lease) {
	l.known, l.leasesRead = all, true
	for _, n := range l.nodes {
		if n != l.others && !n.held && !n.trying {
			n.lease = all[n.name]
		}
		delete(all, n.name)
	}
	l.survey()
}

// thaw gives up what we believe to hold after we were stopped for so long that others may have taken it.
func (l *loop) thaw(asleep time.Duration) {
	l.log.Warn("stopped for a while; node leases are claimed anew", "elapsed", asleep)
	for _, n := range l.nodes {
		if n.held && !n.leaving {
			n.held = false
			l.tryLease(n)
		}
	}
}
