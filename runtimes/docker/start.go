package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"kwokctl/runtimes"
)

// tailLines is how many lines of a log are asked for, more than are shown: many may say nothing.
const tailLines = 400

// tellTime is how long an engine may take to tell of a death that we have seen the signs of.
const tellTime = time.Second

// Start implements runtimes.Runtime. It does not wait for one to be ready before it starts the next: each waits inside
// for what it needs.
func (r *Runtime) Start(ctx context.Context, specs []runtimes.Spec, observe func(runtimes.Status)) error {
	e, err := r.openOrChoose(ctx)
	if err != nil {
		return err
	}
	defer e.Close()
	began := time.Now()
	for tries := len(specs); ; tries-- {
		w := &watch{r: r, e: e, specs: specs, observe: observe, began: began, ready: map[string]bool{}}
		err := w.start(ctx)
		var died *runtimes.ExitError
		switch {
		case tries == 0:
			return ended(ctx, err)
		case errors.As(err, &died) && runs(w.before[died.Component]):
			// A stop of before, whose kwokctl was killed, goes on in the engine, and ended it just now.
		case errors.Is(err, errLostAddress) && !anyRuns(w.before): // those that run know the others by addresses that they lose
			if err := r.removeContainers(ctx, e); err != nil {
				return ended(ctx, err)
			}
			e.Addresses = nil
			if err := r.save(e.state); err != nil {
				return err
			}
		default:
			return ended(ctx, err)
		}
	}
}

// start starts components and waits until all are ready.
func (w *watch) start(ctx context.Context) error {
	r, e, specs := w.r, w.e, w.specs
	for _, s := range specs {
		w.tell(runtimes.Status{Name: s.Name, State: runtimes.Starting})
	}
	if err := r.install(ctx, e, specs); err != nil {
		return err
	}
	have, err := r.containers(ctx, e)
	if err != nil {
		return err
	}
	w.before = have
	if !slices.ContainsFunc(specs, func(s runtimes.Spec) bool { return runs(have[s.Name]) }) {
		if err := r.copyFiles(ctx, e, specs); err != nil {
			return err
		}
	} // else all have them: they go in before the first is started, and engines replace files by removing them first
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	deaths := e.Events(ctx, client.EventsListOptions{Filters: e.ours().Add("type", string(events.ContainerEventType)).Add("event", "die", "died")})
	if have, err = r.containers(ctx, e); err != nil { // some may have been made by install
		return err
	}
	now, later := able(specs, have)
	// Those that others wait for have the engine for themselves: it is busy with each, and the start of the API server
	// is what takes longest.
	rest, first := unneeded(now)
	for _, wave := range [][]runtimes.Spec{first, rest} {
		if err := each(wave, func(s runtimes.Spec) error { return r.startOne(ctx, e, s) }); err != nil {
			return err
		}
	}
	if have, err = r.containers(ctx, e); err != nil {
		return err
	}
	w.host, w.later = host(have, now), later
	return w.wait(ctx, deaths, now)
}

// able splits specs into those that can be started now and those that must be started when what they need is ready,
// since their images do not know how to wait.
func able(specs []runtimes.Spec, have map[string]container.Summary) (now, later []runtimes.Spec) {
	for _, s := range specs {
		if s.Image != "" && len(s.Needs) > 0 && !runs(have[s.Name]) {
			later = append(later, s)
		} else {
			now = append(now, s)
		}
	}
	return now, later
}

// runs tells whether the engine keeps a container running.
func runs(c container.Summary) bool {
	return c.State == container.StateRunning || c.State == container.StateRestarting
}

// anyRuns tells whether a component runs.
func anyRuns(have map[string]container.Summary) bool {
	for _, c := range have {
		if runs(c) && c.Labels[guestLabel] == "" {
			return true
		}
	}
	return false
}

func (r *Runtime) startOne(ctx context.Context, e *engine, s runtimes.Spec) error {
	one, cancel, err := step(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	_, err = e.ContainerStart(one, r.container(s.Name), client.ContainerStartOptions{})
	return r.notStarted(s.Name, err)
}

// watch follows components until all are ready.
type watch struct {
	r       *Runtime
	e       *engine
	specs   []runtimes.Spec
	observe func(runtimes.Status)
	began   time.Time
	ready   map[string]bool
	before  map[string]container.Summary // what was there, and ran perhaps, before anything was started
	host    string                       // container that all are asked from
	later   []runtimes.Spec              // those that wait to be started
	answers chan answer
	asked   chan error // why an asking ended before all had answered
}

func (w *watch) tell(s runtimes.Status) {
	if w.observe != nil {
		w.observe(s)
	}
}

// wait returns when all are ready, or one has died before it was, or twice. Some are started already.
func (w *watch) wait(ctx context.Context, deaths client.EventsResult, started []runtimes.Spec) error {
	w.answers, w.asked = make(chan answer), make(chan error, 2*len(w.specs)+1)
	go w.ask(ctx, started)
	var fault error // why nobody is asked any more, perhaps since the container they are asked from has just died
	var given <-chan time.Time
	died := map[string]bool{}   // those that were ready and exited: the engine restarts them, and they are waited for, once
	var steady <-chan time.Time // until when they must be ready again
	for len(w.ready) < len(w.specs) || steady != nil {
		select {
		case <-steady:
			steady = nil
		case a := <-w.answers:
			if a.Error == "" && !w.ready[a.Name] {
				w.ready[a.Name] = true
				if died[a.Name] {
					steady = time.After(runtimes.Steady)
				}
				w.tell(runtimes.Status{Name: a.Name, State: runtimes.Ready, Started: w.began, Took: time.Since(w.began)})
				if err := w.next(ctx); err != nil {
					return ended(ctx, err)
				}
			}
		case m := <-deaths.Messages:
			name := m.Actor.Attributes[componentLabel]
			if name == "" || m.Actor.Attributes[guestLabel] != "" {
				continue
			}
			if _, dead := w.dead(ctx, name); !dead {
				continue // podman tells late: it is of the run before
			}
			if w.ready[name] && !died[name] && !runs(w.before[name]) {
				died[name] = true
				delete(w.ready, name)
				again := slices.IndexFunc(w.specs, func(s runtimes.Spec) bool { return s.Name == name })
				go w.ask(ctx, w.specs[again:again+1])
				continue
			}
			code, _ := strconv.Atoi(m.Actor.Attributes["exitCode"])
			return w.exit(ctx, name, code)
		case err := <-deaths.Err:
			return ended(ctx, wrap("watch containers", err))
		case fault = <-w.asked:
			given = time.After(tellTime)
		case <-given:
			if died := w.anyDead(ctx); died != nil {
				return died
			}
			return ended(ctx, fault)
		}
	}
	if anyRuns(w.before) { // and may have answered while it was being stopped
		return w.anyDead(ctx)
	}
	return nil
}

// next starts those that waited for nothing but what is ready now.
func (w *watch) next(ctx context.Context) error {
	var now, later []runtimes.Spec
	for _, s := range w.later {
		if slices.ContainsFunc(s.Needs, func(name string) bool { return !w.ready[name] }) {
			later = append(later, s)
		} else {
			now = append(now, s)
		}
	}
	w.later = later
	if len(now) == 0 {
		return nil
	}
	err := each(now, func(s runtimes.Spec) error { return w.r.startOne(ctx, w.e, s) })
	if err == nil {
		go w.ask(ctx, now)
	}
	return err
}

// ended puts the reason for which ctx ended in place of an error that follows from it.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// ask hands on the answers of components that were started.
func (w *watch) ask(ctx context.Context, specs []runtimes.Spec) {
	list := make([]question, len(specs))
	for i, s := range specs {
		list[i] = question{s.Name, s.Probe}
	}
	ready := 0
	err := w.r.ask(ctx, w.e, w.host, "watch", list, func(a answer) {
		if a.Error == "" {
			ready++
		}
		select {
		case w.answers <- a:
		case <-ctx.Done():
		}
	})
	if err == nil && ready < len(specs) {
		err = errors.New("ask components: no answer")
	}
	if err != nil {
		w.asked <- err
	}
}

// anyDead returns the error for a component that has died, if one has.
func (w *watch) anyDead(ctx context.Context) error {
	for _, s := range w.specs {
		if code, dead := w.dead(ctx, s.Name); dead {
			return w.exit(ctx, s.Name, code)
		}
	}
	return nil
}

// dead tells whether a component has died since it was started, and with what exit status.
func (w *watch) dead(ctx context.Context, name string) (code int, dead bool) {
	if slices.ContainsFunc(w.later, func(l runtimes.Spec) bool { return l.Name == name }) {
		return 0, false
	}
	c, err := w.e.ContainerInspect(ctx, w.r.container(name), client.ContainerInspectOptions{})
	if err != nil || c.Container.State == nil {
		return 0, false
	}
	state := c.Container.State
	if runs(w.before[name]) { // the engine restarts it, unless it was stopped
		return state.ExitCode, state.Status != container.StateRunning && state.Status != container.StateRestarting
	}
	return state.ExitCode, state.Status != container.StateRunning || c.Container.RestartCount > 0
}

// exit is the error for a component that died before it was ready.
func (w *watch) exit(ctx context.Context, name string, code int) error {
	reason := exitReason(code)
	w.tell(runtimes.Status{Name: name, State: runtimes.Exited, ExitCode: &code, Reason: reason})
	return &runtimes.ExitError{
		Component: name, Reason: reason, Tail: w.r.tail(ctx, w.e, name),
		Log: "container " + w.r.container(name),
	}
}

func exitReason(code int) string {
	if code > 128 && code < 128+65 {
		return fmt.Sprintf("killed by signal %d", code-128)
	}
	return fmt.Sprintf("exit status %d", code)
}

// tail returns the last lines of a component's log; what cannot be had is left out.
func (r *Runtime) tail(ctx context.Context, e *engine, component string) []string {
	in, err := e.ContainerLogs(ctx, r.container(component), client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(tailLines)})
	if err != nil {
		return nil
	}
	defer in.Close()
	var b bytes.Buffer
	_, _ = stdcopy.StdCopy(&b, &b, in)
	return runtimes.Tail(b.String())
}

// Logs implements runtimes.Runtime.
func (r *Runtime) Logs(ctx context.Context, s runtimes.Spec, w io.Writer, follow bool) error {
	e, err := r.open(ctx)
	if err != nil {
		return err
	}
	if e == nil {
		return nil // it never ran
	}
	defer e.Close()
	in, err := e.ContainerLogs(ctx, r.container(s.Name), client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: follow})
	if missing(err) {
		return nil
	}
	if err != nil {
		return wrap("read log of "+s.Name, err)
	}
	defer in.Close()
	if _, err = stdcopy.StdCopy(w, w, in); err != nil && ctx.Err() == nil {
		return fmt.Errorf("copy log of %s: %w", s.Name, err)
	}
	return nil
}
