//go:build linux || darwin

package process

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"kwokctl/runtimes"
)

// component is one component under supervision, from the request that brought it to the one that ends it. Its run
// is a single goroutine; what others may read of it is on the board.
type component struct {
	spec    runtimes.Spec
	program string
	gated   bool
	fork    forker
	periods Periods
	board   *board
	log     *slog.Logger
	file    *logFile

	end     chan struct{} // closed: end it, with grace
	kill    chan struct{} // closed: end it at once
	retry   chan struct{} // ends the pause before a restart
	done    chan struct{} // closed: it has ended for good
	endOnce sync.Once
	killOne sync.Once
	forced  bool // it had to be killed after its grace; once done is closed
	leaving bool // a request to end it has come; of the supervisor, under its mutex
}

func newComponent(spec runtimes.Spec, self string, fork forker, periods Periods, b *board, log *slog.Logger) *component {
	c := &component{
		spec: spec, program: self, gated: spec.Program == "", fork: fork, periods: periods, board: b,
		log:  log.With("component", spec.Name),
		file: newLogFile(logPath(spec.Dir, spec.Name), logMax),
		end:  make(chan struct{}), kill: make(chan struct{}),
		retry: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if spec.Program != "" {
		c.program = spec.Program
		if !filepath.IsAbs(c.program) {
			c.program = filepath.Join(spec.Dir, c.program)
		}
	}
	return c
}

// finish asks the component to end; it has when done is closed. A second call may add kill.
func (c *component) finish(kill bool) {
	if kill {
		c.killOne.Do(func() { close(c.kill) })
	}
	c.endOnce.Do(func() { close(c.end) })
}

func (c *component) ending() bool {
	select {
	case <-c.end:
		return true
	default:
		return false
	}
}

// ending is how one process of a component ended.
type ending struct {
	code   *int // nil: it could not even be started
	reason string
	tail   []string
	up     time.Duration
}

// run starts the component again and again until it is told to end.
func (c *component) run() {
	defer close(c.done)
	defer c.file.close()
	var h history
	for {
		e := c.once()
		if c.ending() {
			c.set(func(s *entry) {
				s.process = identity{}
				s.status = runtimes.Status{Name: c.spec.Name, State: runtimes.Stopped, Restarts: s.status.Restarts}
			})
			return
		}
		pause, loop := h.next(time.Now(), e.up, c.periods)
		if !c.rest(e, pause, loop) {
			continue // the next round sees that it is to end
		}
		c.set(func(s *entry) { // in one step: to whoever watches, Exited twice would be two exits
			s.status.Restarts++
			s.status.State = runtimes.Waiting
		})
	}
}

// rest records an exit and waits until it is time for the next start. It returns false when that is never.
func (c *component) rest(e ending, pause time.Duration, loop bool) bool {
	select {
	case <-c.retry: // left over from the pause before
	default:
	}
	restarts := 0
	c.set(func(s *entry) {
		s.process = identity{}
		s.status.State = runtimes.Exited
		if loop {
			s.status.State = runtimes.CrashLoop
		}
		s.status.PID, s.status.ExitCode, s.status.Reason, s.status.Tail = 0, e.code, e.reason, e.tail
		s.status.LastExit = e.reason
		restarts = s.status.Restarts
	})
	c.file.mark("%s exited: %s; restart %d in %s", c.spec.Name, e.reason, restarts+1, pause)
	c.log.Warn("component exited", "reason", e.reason, "restart", restarts+1, "pause", pause)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.retry:
	case <-c.end:
		return false
	}
	return true
}

// once runs one process of the component, from its launch to its end.
func (c *component) once() ending {
	if c.ending() {
		return ending{}
	}
	c.set(func(s *entry) { s.status.State = runtimes.Waiting })
	// A program with a gate is launched ahead of time, but not before what it needs has been let through its own
	// gate: whoever is nearer to the root of the tree is to have the processors for itself.
	launch := c.board.ready
	if c.gated {
		launch = c.board.running
	}
	if !c.await(launch, nil) {
		return ending{}
	}
	p, err := spawn(c.fork, c.spec, c.program, c.gated, c.file)
	if err != nil {
		return ending{reason: err.Error()}
	}
	defer p.shut()
	if c.gated {
		c.launched(p, runtimes.Waiting)
		if !c.await(c.board.ready, p.exited) {
			p.shut() // it may hold back signals, but not before a gate that is shut
			return c.terminate(p)
		}
		p.open()
	}
	c.launched(p, runtimes.Starting)
	return c.attend(p)
}

func (c *component) launched(p *child, state runtimes.State) {
	c.set(func(s *entry) {
		s.process = p.id
		s.status.State, s.status.PID, s.status.Started, s.status.Took = state, p.id.PID, p.began, 0
		s.status.Reason = ""
	})
}

// await returns true when met holds for all that the component needs, false when it ended or is to end before.
func (c *component) await(met func([]string) (bool, <-chan struct{}), exited <-chan struct{}) bool {
	for {
		ok, changed := met(c.spec.Needs)
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-exited:
			return false
		case <-c.end:
			return false
		}
	}
}

// attend watches a process that does its work.
func (c *component) attend(p *child) ending {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	answers := make(chan error)
	go newProber(c.spec.Dir, c.spec.Probe, c.periods).run(ctx, answers)
	var h health
	for {
		select {
		case <-p.exited:
			return c.ended(p)
		case <-c.end:
			return c.terminate(p)
		case err := <-answers:
			needs, _ := c.board.ready(c.spec.Needs)
			h.judge(time.Now(), err, needs)
			c.report(p, &h, err)
			if h.hung(time.Now(), c.periods.Hung) {
				return c.breakOff(p)
			}
		}
	}
}

// report puts what the latest answer means on the board.
func (c *component) report(p *child, h *health, err error) {
	switch now := c.board.state(c.spec.Name); {
	case h.wasReady && h.fails == 0 && now != runtimes.Ready:
		c.set(func(s *entry) {
			s.status.State, s.status.Reason = runtimes.Ready, ""
			if s.status.Took == 0 {
				s.status.Took = time.Since(p.began)
			}
		})
		c.log.Info("component ready", "elapsed", time.Since(p.began))
	case h.wasReady && h.fails >= 2 && now != runtimes.NotReady:
		c.set(func(s *entry) { s.status.State, s.status.Reason = runtimes.NotReady, err.Error() })
		c.log.Warn("component does not answer", "err", err)
	case err != nil && now == runtimes.Starting:
		c.board.remark(c.spec.Name, err.Error())
	}
}

// breakOff ends a process that hangs, after it had time to tell where.
func (c *component) breakOff(p *child) ending {
	c.log.Warn("component hangs; ending it", "pid", p.id.PID)
	c.file.mark("%s does not answer for %s; goroutines follow", c.spec.Name, c.periods.Hung)
	p.signal(syscall.SIGQUIT)
	timer := time.NewTimer(c.periods.Dump)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
	case <-c.end:
	}
	p.signal(syscall.SIGKILL)
	<-p.exited
	e := c.ended(p)
	e.reason = fmt.Sprintf("no answer for %s, %s", c.periods.Hung, e.reason)
	return e
}

// terminate ends a process with grace, or without when kill is closed.
func (c *component) terminate(p *child) ending {
	select {
	case <-c.kill:
	default:
		p.signal(syscall.SIGTERM)
	}
	timer := time.NewTimer(c.periods.Grace)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-c.kill:
	case <-timer.C:
		c.forced = true
		c.log.Warn("component did not end in time; killing it", "grace", c.periods.Grace)
		c.file.mark("%s did not end within %s; killed", c.spec.Name, c.periods.Grace)
	}
	p.signal(syscall.SIGKILL)
	<-p.exited
	return c.ended(p)
}

func (c *component) ended(p *child) ending {
	code := p.code
	return ending{code: &code, reason: p.reason, tail: p.out.lines(), up: time.Since(p.began)}
}

func (c *component) set(change func(*entry)) { c.board.set(c.spec.Name, change) }

// health judges the answers of one process.
type health struct {
	wasReady bool
	fails    int       // since the last good answer
	since    time.Time // of the first of them for which the process itself can be blamed
}

// judge takes one answer. While something it needs is not ready itself, silence is not the process's own fault.
func (h *health) judge(now time.Time, err error, needsReady bool) {
	if err == nil {
		h.wasReady, h.fails = true, 0
		return
	}
	h.fails++
	if h.fails == 1 || !needsReady {
		h.since = now
	}
}

// hung tells whether there was no answer for so long. Several probes must have failed, lest a supervisor that was
// stopped itself blames its children for the time.
func (h *health) hung(now time.Time, most time.Duration) bool {
	return h.wasReady && h.fails >= 5 && now.Sub(h.since) >= most
}

// history decides when an exited component is started again.
type history struct {
	exits []time.Time // within the crash window
	pause time.Duration
	loop  bool // once in a crash loop, it is in one until it was up for long
}

func (h *history) next(now time.Time, up time.Duration, p Periods) (pause time.Duration, loop bool) {
	const many = 5
	if up >= p.Stable {
		*h = history{}
	}
	recent := h.exits[:0]
	for _, t := range h.exits {
		if now.Sub(t) < p.CrashWindow {
			recent = append(recent, t)
		}
	}
	h.exits = append(recent, now)
	h.loop = h.loop || len(h.exits) >= many
	switch {
	case h.loop:
		h.pause = p.BackoffMost
	case h.pause == 0:
		h.pause = p.BackoffFirst
	default:
		h.pause = min(2*h.pause, p.BackoffMost)
	}
	return h.pause, h.loop
}
