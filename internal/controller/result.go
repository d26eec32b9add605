package controller

import (
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"kwokctl/internal/api"
	"kwokctl/internal/stage"
)

// transient reports whether the same step may succeed later.
func (r reply) transient() bool {
	return r.err != nil || r.code == http.StatusTooManyRequests || r.code >= 500
}

// finish takes the result of a job.
func (l *loop) finish(r *result) {
	l.inflight[r.lane]--
	l.adapt(r)
	switch {
	case r.try != nil:
		l.leased(r)
	case r.job.lease != nil:
		r.try = r.job.lease
		l.leased(r)
	case r.release != nil:
		l.released(r)
	case r.get != nil:
		l.fetched(r)
	default:
		l.moved(r)
	}
}

// moved takes the result of a move.
func (l *loop) moved(r *result) {
	i := r.entry
	e := &l.t.e[i]
	code := "ok"
	if !r.reply.ok() || r.err != nil {
		code = "error"
	}
	l.stats.moves.WithLabelValues(r.move.stage, code).Inc()
	l.stats.latency.Observe(l.now.Sub(r.began).Seconds())
	if l.log.Enabled(l.ctx, levelDebug) {
		l.log.Debug("played", "object", l.nameOf(i), "stage", r.move.stage, "result", code, "elapsed", l.now.Sub(r.began))
	}
	e.ours = max(e.ours, r.version)
	if r.err == nil && r.reply.ok() {
		l.succeeded(i, r)
		return
	}
	e.state = ready // no longer flying
	switch {
	case e.flags&gone != 0 || r.err == nil && r.reply.gone():
		l.dropped(i)
	case r.err == nil && (r.code == http.StatusConflict || r.stale()):
		l.look(i, time.Second)
	case r.err == nil && r.reply.transient():
		l.again(i, r)
	default:
		fault := r.err
		if fault == nil {
			fault = r.reply.fault()
		}
		if r.code == http.StatusNotFound && r.done < len(r.move.actions) && r.move.actions[r.done].Subresource != "" {
			fault = fmt.Errorf("spec.steps[].patch.subresource %q: %w", r.move.actions[r.done].Subresource, fault)
		}
		l.blame(e.kind, &stage.StageError{Stage: r.move.stage, Err: fault}, l.stub(i))
		if r.err == nil && r.code == http.StatusUnsupportedMediaType {
			l.setAside(e.kind, r.move.stage, "Unsupported", &stage.StageError{Stage: r.move.stage, Err: fmt.Errorf("spec.steps[].patch.type: %w", fault)})
		} else if l.bad[r.move.stage] <= 3 {
			l.failsOn(r.move.stage, l.nameOf(i), fault)
		}
		e.tries = min(e.tries+1, 16)
		if e.flags&again != 0 {
			e.flags &^= again
		}
		l.wait(i, 5*patience(e.tries))
	}
}

// failsOn announces that a stage cannot be played on an object. It goes on, on others and later.
func (l *loop) failsOn(name, object string, err error) {
	refer := corev1.ObjectReference{APIVersion: api.Version, Kind: "Stage", Name: name}
	if live := l.cat.live[name]; live != nil {
		refer.UID = types.UID(live.uid)
	}
	l.report.event(refer, "Warning", "StageFails", "on "+object+": "+err.Error())
}

// stub is enough of an object to name it.
func (l *loop) stub(i uint32) stage.Object {
	return stage.NewTree(map[string]any{"kind": l.kinds[l.t.e[i].kind].ref.Kind,
		"metadata": map[string]any{"namespace": l.t.words[l.t.e[i].namespace], "name": l.t.name(i)}})
}

func (l *loop) succeeded(i uint32, r *result) {
	e := &l.t.e[i]
	e.tries = 0
	e.flags &^= due
	e.state = written
	switch {
	case e.flags&gone != 0:
		l.dropped(i)
	case r.deleted:
		e.flags = e.flags&^again | deleted
		l.t.dropBody(i)
		l.w.add(i, l.w.tickOf(l.now.Add(echoTimeout)))
	case e.flags&again != 0 && e.seen >= e.ours:
		l.look(i, 0) // the event of our write was faster than its reply
	case e.flags&again == 0 && r.version <= e.seen: // nothing was written to it, or the server found it so already
		l.settle(i, nil)
	case e.flags&again == 0 && r.obj != nil: // immediateNextStage
		e.seen = r.version
		l.learn(e.kind, r.obj)
		l.choose(e.kind, i, e.uid, r.obj)
	default: // its event will come
		e.flags &^= again
		l.t.dropBody(i)
		l.w.add(i, l.w.tickOf(l.now.Add(echoTimeout)))
	}
}

// look chooses anew on the newest version: at once if it is here, else when it comes, at the latest after a time.
func (l *loop) look(i uint32, within time.Duration) {
	e := &l.t.e[i]
	if e.flags&again == 0 {
		l.t.dropBody(i)
		e.state = written
		l.w.add(i, l.w.tickOf(l.now.Add(within)))
		return
	}
	e.flags &^= again
	body := l.t.body(i)
	if body == nil {
		l.enqueue(i, rest2)
		return
	}
	o, err := decode(e.kind, body)
	if err != nil {
		l.t.dropBody(i)
		l.enqueue(i, rest2)
		return
	}
	e.state = ready
	l.choose(e.kind, i, e.uid, o)
}

// again repeats what is left of a move, later, unless there is a newer version to look at.
func (l *loop) again(i uint32, r *result) {
	e := &l.t.e[i]
	e.tries = min(e.tries+1, 16)
	after := max(r.after, patience(e.tries))
	if e.flags&again == 0 {
		l.rest[i] = r.move.actions[r.done:]
		e.flags |= retry
	}
	e.flags &^= again
	l.wait(i, after)
}

// fetched takes an object that was asked for.
func (l *loop) fetched(r *result) {
	i := r.entry
	e := &l.t.e[i]
	e.state = ready
	switch {
	case e.flags&gone != 0 || r.err == nil && r.reply.gone():
		l.dropped(i)
	case r.err != nil || !r.reply.ok():
		e.tries = min(e.tries+1, 16)
		e.flags |= fetch
		l.wait(i, max(r.after, patience(e.tries)))
	case e.flags&again != 0: // the watch was faster
		l.look(i, 0)
	case formatUID(l.t.parseUID(r.obj.Meta().UID)) != formatUID(e.uid):
		l.dropped(i) // another object of that name
	case number64(r.obj.Meta().Version) < max(e.seen, e.ours):
		e.flags |= fetch // the cache is behind: ask the store
		l.enqueue(i, rest2)
	default:
		e.seen = number64(r.obj.Meta().Version)
		l.learn(e.kind, r.obj)
		l.resume(i, r.obj)
	}
}

// resume goes on with an entry whose object had to be fetched.
func (l *loop) resume(i uint32, o stage.Object) {
	e := &l.t.e[i]
	mv := l.next(e.kind, i, o)
	if mv != nil && mv.Key == e.key && e.flags&due != 0 && l.ours(e) {
		l.play(i, o, rest2)
		return
	}
	l.choose(e.kind, i, e.uid, o)
}

// later makes another attempt at a lease after a time.
func (l *loop) later(after time.Duration, n *node) {
	l.delayed = append(l.delayed, delayedLease{l.now.Add(after), n})
}

func (l *loop) dueLeases() {
	rest := l.delayed[:0]
	for _, d := range l.delayed {
		if l.now.Before(d.at) {
			rest = append(rest, d)
		} else if l.nodes[d.n.name] == d.n {
			l.tryLease(d.n)
		}
	}
	l.delayed = rest
}
