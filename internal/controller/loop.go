package controller

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"kwokctl/internal/api"
	"kwokctl/internal/expr"
	"kwokctl/internal/kubelet"
	"kwokctl/internal/stage"
)

// loop owns all state of the players. One goroutine runs it, so there are no locks; readers hand it batches and
// senders hand it results.
type loop struct {
	ctx   context.Context
	log   *slog.Logger
	opts  api.KwokOptions
	sel   selection
	do    Doer
	find  finder
	stats *stats
	clock func() time.Time
	dice  *stage.Dice
	now   time.Time // of this turn

	kinds   []*player
	cat     catalog
	funcs   expr.Funcs // of templates
	report  *reporter
	readers sync.WaitGroup // of kinds other than nodes and pods
	playing bool           // readers may be started

	rules         *kubelet.Rules   // what the nodes' HTTP side answers
	metrics       *kubelet.Metrics // of the nodes
	metricObjects metricObjects

	t    *table
	w    *wheel
	addr *addresses
	subj subject // what the functions of templates see

	nodes        map[string]*node
	others       *node          // stands for all objects that are on no node; nil: there are no stages for any
	classes      map[string]any // by name, as far as templates look at them
	classesKnown chan struct{}  // nil: none does; closed when all were read

	parked map[string]uint32 // lists of entries that wait for a node, by its name

	id            string
	leaseDuration time.Duration
	ring          *ring // nil: no leases
	leaseQueue    []*node
	newcomers     []*node   // played, but without a lease so far; oldest first
	newest        time.Time // when the last of them was first seen
	leasesRead    bool
	known         map[string]lease // read at start, of nodes not yet seen
	rivals        map[rival]int    // other controllers, with how many nodes they were seen to hold
	group         string           // of the controllers that share the nodes
	members       members
	lacking       int           // nodes that belong to us and are held by others
	surveyed      time.Time     // when that was last looked at
	listed        time.Time     // when all leases were last asked for
	list          chan struct{} // asks for them
	obsolete      chan string   // leases of members that are long gone
	started       time.Time
	failed        chan error // why we cannot go on
	delayed       []delayedLease

	queue    [lanes]uint32 // lists of entries that are ready
	waiting  [lanes]int    // their lengths
	inflight [lanes]int
	limit    [lanes]int
	rest     map[uint32][]stage.Action // what a failed move has left to do
	bad      map[string]int            // failures of stages, for the log

	batches  chan batch
	results  chan *result
	ping     chan chan struct{}
	staged   chan struct{} // closed when it is known which stages there are
	ready    atomic.Bool   // first epochs are complete
	complete chan struct{} // closed then

	measured      time.Time
	late          time.Duration // the most in this measuring period
	halved, grown time.Time     // when the normal lane was last changed
}

// delayedLease is an attempt to make later.
type delayedLease struct {
	at time.Time
	n  *node
}

const (
	idleTicks   = 20               // of the wheel, between two looks at what is due without it
	echoTimeout = 30 * time.Second // after which we ask for what the watch did not bring
)

func newLoop(ctx context.Context, cfg config, do Doer, find finder, st *stats, log *slog.Logger, clock func() time.Time) *loop {
	l := &loop{ctx: ctx, log: log, opts: cfg.opts, sel: cfg.sel, do: do, find: find, stats: st, clock: clock, now: clock(),
		dice: stage.NewDice(cfg.seed), kinds: ownPlayers(), t: newTable(), addr: newAddresses(),
		nodes: map[string]*node{}, parked: map[string]uint32{}, id: cfg.id,
		leaseDuration: time.Duration(cfg.opts.NodeLeaseDurationSeconds) * time.Second,
		rest:          map[uint32][]stage.Action{}, bad: map[string]int{}, rivals: map[rival]int{},
		batches: make(chan batch, 8), results: make(chan *result, 128), ping: make(chan chan struct{}),
		staged: make(chan struct{}), report: newReporter(do, st, log), group: groupOf(&cfg.opts), complete: make(chan struct{}),
		list: make(chan struct{}, 1), obsolete: make(chan string, 1), started: clock(), rules: &kubelet.Rules{}, failed: make(chan error, 1)}
	l.members = members{by: map[string]member{}, live: []string{cfg.id}, changed: l.now}
	l.w = newWheel(l.t, l.now)
	l.limit = [lanes]int{vitalLimit, startLimit, customLimit, retryLimit}
	for i := range l.queue {
		l.queue[i] = l.t.list()
	}
	if l.leaseDuration > 0 {
		l.ring = newRing(l.leaseDuration, l.now)
	}
	l.rules.SetFiles(cfg.rules)
	l.metrics = kubelet.NewMetrics(log, clock, st.failed.Inc)
	l.metricObjects = metricObjects{fixed: cfg.metrics, live: map[string][]*liveMetric{}}
	l.takeMetrics()
	l.funcs = expr.Base(cfg.version, l.now).With(expr.Funcs(l.templateFuncs()))
	l.cat = newCatalog(cfg)
	if !l.cat.fromCluster {
		l.restage()
	}
	return l
}

// run turns until ctx ends.
func (l *loop) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var at int64 // tick at which it fires
	for {
		select {
		case <-l.ctx.Done():
			return
		case b := <-l.batches:
			l.wake()
			l.take(b)
		case r := <-l.results:
			l.wake()
			l.finish(r)
		case <-timer.C:
			l.wake()
			at = 0
		case c := <-l.ping:
			close(c)
		}
		l.turn()
		if next := l.w.next(idleTicks); next != at {
			at = next
			timer.Reset(l.w.timeOf(at).Sub(l.clock()))
		}
	}
}

// wake looks at the clock.
func (l *loop) wake() {
	now := l.clock()
	asleep := now.Sub(l.now)
	l.now = now
	if l.ring != nil && asleep > l.leaseDuration/2 {
		l.thaw(asleep)
	}
}

// turn does what has become due and hands out work.
func (l *loop) turn() {
	l.w.advance(l.now, func(i uint32) { l.fire(i) })
	if l.ring != nil && l.leasesRead {
		if !l.ready.Load() && l.now.Sub(l.started) < l.leaseDuration/4 {
			l.ring.due = l.now.Add(bucketLength) // renewals have time, and would slow down what there is to read
		}
		l.ring.advance(l.now, func(n *node) {
			// One that still waits from the round before is not due twice: a backlog would feed itself.
			if n.held && n.lease.version != "" && !n.trying && !l.spares(n) {
				l.tryLease(n)
			}
		})
		l.dueLeases()
		l.makeLeases()
		if pause := l.now.Sub(l.surveyed); pause > surveyTime || l.lacking > 0 && pause > surveyLacking {
			l.share() // who is there may have changed by time alone
			l.survey()
		}
	}
	if !l.cat.changed.IsZero() && !l.now.Before(l.cat.due()) {
		l.restage()
	}
	l.dispatch()
	l.stats.observe(l)
}

// next asks the lifecycle of a kind.
func (l *loop) next(k kind, i uint32, o stage.Object) *stage.Move {
	mv, err := l.kinds[k].life.Next(o, l.now, l.dice.Roll(o.Meta(), l.t.e[i].turn))
	if err != nil {
		l.blame(k, err, o)
	}
	return mv
}

// choose finds the next move of an object and arranges for it.
func (l *loop) choose(k kind, i uint32, u [16]byte, o stage.Object) {
	mv := l.next(k, i, o)
	if mv == nil {
		l.settle(i, o)
		return
	}
	m := o.Meta()
	if i == 0 {
		i = l.t.add(u, k, m.Namespace, m.Name)
		l.t.e[i].seen = number64(m.Version)
		l.t.e[i].flags |= confirmed
	}
	e := &l.t.e[i]
	e.node = l.t.intern(nodeOf(o))
	l.dropRest(i)
	same := e.key == mv.Key && e.flags&deleted == 0
	if same && e.state == waiting {
		l.keep(i, o) // it keeps its time
		return
	}
	if same && e.flags&due != 0 {
		mv.After, mv.Index = 0, int(e.stage)
	} else {
		e.flags &^= due
	}
	e.key, e.stage = mv.Key, uint16(mv.Index)
	if e.state == ready && mv.After <= 0 && l.t.e[e.next].prev == i && e.next != i {
		l.keep(i, o) // it keeps its place in the queue
		return
	}
	e.tries = 0
	e.flags &^= again | fetch | deleted
	if !l.ours(e) {
		l.keep(i, o)
		e.key = 0 // its time begins when the node is ours
		l.park(i, l.t.words[e.node])
		return
	}
	l.arrange(i, o, mv.After)
}

// arrange plays a move now or later.
func (l *loop) arrange(i uint32, o stage.Object, after time.Duration) {
	if pause := l.throttle(i); pause > after {
		after = pause
	}
	if after > 0 {
		l.keep(i, o)
		l.wait(i, after)
		return
	}
	to := l.t.e[i].kind.lane()
	if l.room(to) && l.waiting[to] == 0 && l.gate(l.t.e[i].kind) {
		l.t.unlink(i)
		l.play(i, o, to)
		return
	}
	l.keep(i, o)
	l.enqueue(i, to)
}

// throttle slows an object that moves in circles: more than 100 moves in ten seconds become one per second.
func (l *loop) throttle(i uint32) time.Duration {
	e := &l.t.e[i]
	now := uint32(l.now.Unix())
	if now-e.window >= 10 {
		e.window, e.count = now, 0
	}
	if e.count < 100 {
		e.count++
		return 0
	}
	if e.count == 100 {
		e.count++
		name := l.kinds[e.kind].life.Move(int(e.stage)).Stage
		l.stats.circles.WithLabelValues(name).Inc()
		l.log.Warn("object moves in circles", "object", l.nameOf(i), "stage", name)
		l.report.event(l.referTo(i), "Warning", "MovesInCircles",
			"more than 100 stages in 10 seconds, the last of them "+name+"; from now on one per second")
	}
	e.window = now
	return time.Second
}

func (l *loop) wait(i uint32, after time.Duration) {
	l.t.e[i].state = waiting
	l.w.add(i, l.w.tickOf(l.now.Add(after+tickLength-1)))
}

// fire takes an entry whose time has come.
func (l *loop) fire(i uint32) {
	e := &l.t.e[i]
	l.late = max(l.late, l.now.Sub(l.w.timeOf(e.due)))
	switch e.state {
	case written: // its event has not come
		e.flags |= fetch
		l.t.dropBody(i)
		l.enqueue(i, rest2)
	case waiting:
		e.flags |= due
		to := e.kind.lane()
		if e.flags&retry != 0 || e.tries > 0 {
			to = rest2
		}
		l.enqueue(i, to)
	}
}

// blame counts failures of stages; the first of each are logged. A stage that keeps breaking limits is set aside.
func (l *loop) blame(k kind, err error, o stage.Object) {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range all.Unwrap() {
			l.blame(k, one, o)
		}
		return
	}
	var s *stage.StageError
	if !errors.As(err, &s) {
		s = &stage.StageError{Err: err}
	}
	l.stats.moves.WithLabelValues(s.Stage, "error").Inc()
	level := slog.LevelDebug
	if l.bad[s.Stage]++; l.bad[s.Stage] <= 3 {
		level = slog.LevelWarn
	}
	m := o.Meta()
	l.log.Log(l.ctx, level, "stage fails", "object", m.Kind+" "+m.Namespace+"/"+m.Name, "err", err)
	l.breach(k, s)
}
