package controller

import "time"

// lane is a queue of requests with its own limit. Lower ones go first.
type lane uint8

const (
	vital  lane = iota // leases and nodes: what runs on a node that is lost is lost too
	normal             // pods
	custom             // all other kinds
	rest2              // retries
	lanes
)

// Limits of what is in flight.
const (
	vitalLimit  = 64
	minLimit    = 4
	startLimit  = 32
	maxLimit    = 64
	customLimit = 16
	retryLimit  = 4
)

func (l *loop) enqueue(i uint32, to lane) {
	l.t.push(l.queue[to], i)
	l.t.e[i].state = ready
	l.waiting[to]++
}

// dequeue takes the first of a lane, 0 if there is none.
func (l *loop) dequeue(from lane) uint32 {
	i := l.t.first(l.queue[from])
	if i == 0 {
		l.waiting[from] = 0 // entries that left by other ways were counted too
		return 0
	}
	l.t.unlink(i)
	l.waiting[from]--
	return i
}

// gate reports whether moves of a kind may be played: pods not before all addresses in use are known.
func (l *loop) gate(k kind) bool {
	return k.json() || l.kinds[nodes].synced && (k == nodes || l.kinds[pods].synced)
}

// dispatch fills the lanes, most urgent first.
func (l *loop) dispatch() {
	for l.room(vital) && len(l.leaseQueue) > 0 {
		n := l.leaseQueue[0]
		l.leaseQueue = l.leaseQueue[1:]
		if l.nodes[n.name] == n {
			l.send(l.leaseJob(n))
		}
	}
	for to := range lanes {
		if !l.open(to) {
			continue
		}
		for l.room(to) {
			i := l.dequeue(to)
			if i == 0 {
				break
			}
			l.act(i, to)
		}
	}
}

// room reports whether a lane may have one more in flight. When leases are late all others make way: a pod that waits is
// slow, a node that loses its lease takes its pods with it.
func (l *loop) room(in lane) bool {
	limit := l.limit[in]
	if in != vital && len(l.leaseQueue) > max(l.limit[vital], len(l.nodes)/4) {
		limit = min(limit, minLimit)
	}
	return l.inflight[in] < limit
}

// open reports whether moves of a lane may be played.
func (l *loop) open(to lane) bool {
	switch to {
	case custom:
		return true
	case vital:
		return l.gate(nodes)
	}
	return l.gate(pods)
}

// adapt sizes the lane of ordinary writes: more in flight while the server keeps up, half when it does not.
func (l *loop) adapt(r *result) {
	if r.lane != normal {
		return
	}
	if r.reply.transient() {
		if l.now.Sub(l.halved) > time.Second {
			l.limit[normal], l.halved = max(minLimit, l.limit[normal]/2), l.now
		}
		return
	}
	if l.inflight[normal]+1 >= l.limit[normal] && l.now.Sub(l.grown) > time.Second {
		l.limit[normal], l.grown = min(maxLimit, l.limit[normal]+1), l.now
	}
}
