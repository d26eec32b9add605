//go:build linux || darwin

package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"kwokctl/runtimes"
)

var _ runtimes.Runtime = (*Runtime)(nil)

// Available returns nil: processes can be run on every system this file is compiled for.
func (r *Runtime) Available(context.Context) error { return nil }

// Install launches the supervisor, so that Start need not wait for that. It ends by itself if no Start follows.
func (r *Runtime) Install(ctx context.Context, _ []runtimes.Spec) error { return r.ensure(ctx) }

// Uninstall has nothing to remove: all there is lies in the cluster directory.
func (r *Runtime) Uninstall(context.Context, []runtimes.Spec) error { return nil }

// Start implements runtimes.Runtime. It starts the supervisor if there is none.
func (r *Runtime) Start(ctx context.Context, specs []runtimes.Spec, observe func(runtimes.Status)) error {
	for tries := 0; ; tries++ {
		if err := r.ensure(ctx); err != nil {
			return err
		}
		stream, err := newClient(r.dir).open(ctx, http.MethodPost, "/start", startRequest{Specs: specs})
		if (errors.Is(err, errNobody) || errors.Is(err, errExited)) && tries < 5 {
			// It ended between the two steps. Its lock tells when it is gone.
			if err := r.awaitEnd(ctx); err != nil {
				return err
			}
			continue
		}
		if errors.Is(err, errNobody) {
			return fmt.Errorf("start: the supervisor ends again and again; log: %s", filepath.Join(r.dir, logsDir, ownLog))
		}
		if err != nil {
			return err
		}
		defer stream.Close()
		return follow(ctx, json.NewDecoder(stream), r.dir, observe)
	}
}

// follow reads the events of one start request up to its result.
func follow(ctx context.Context, in *json.Decoder, dir string, observe func(runtimes.Status)) error {
	for {
		var e startEvent
		if err := in.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("start: the supervisor has gone: %w; log: %s", err, filepath.Join(dir, logsDir, ownLog))
		}
		switch {
		case e.Done:
			return nil
		case e.Exit != nil:
			return e.Exit
		case e.Error != "":
			return errors.New(e.Error)
		case e.Status != nil && observe != nil:
			observe(*e.Status)
		}
	}
}

// awaitEnd waits until the present supervisor has ended.
func (r *Runtime) awaitEnd(ctx context.Context) error {
	f, err := lock(ctx, filepath.Join(r.dir, lockName))
	if err != nil {
		return err
	}
	return f.Close()
}

// Status implements runtimes.Runtime.
func (r *Runtime) Status(ctx context.Context, specs []runtimes.Spec) ([]runtimes.Status, error) {
	reply, err := r.ask(ctx)
	if err != nil && !errors.Is(err, errNobody) {
		return nil, err
	}
	known := map[string]runtimes.Status{}
	for _, s := range reply.Components {
		known[s.Name] = s
	}
	if err != nil {
		for name, saved := range loadState(r.dir, r.log).Components {
			if saved.Process.PID > 0 {
				known[name] = runtimes.Status{Name: name, State: runtimes.Stopped, Reason: "nobody stopped it: it ended with its supervisor, or with the machine"}
			}
		}
	}
	list := make([]runtimes.Status, 0, len(specs))
	for _, spec := range specs {
		s, ok := known[spec.Name]
		if !ok {
			s = runtimes.Status{Name: spec.Name, State: runtimes.Stopped}
		}
		list = append(list, s)
	}
	return list, nil
}

// ask gets the status of the supervisor, errNobody when there is none. One that is just starting or ending is
// waited for.
func (r *Runtime) ask(ctx context.Context) (statusReply, error) {
	c := newClient(r.dir)
	for began := time.Now(); ; {
		var reply statusReply
		err := c.call(ctx, r.wait, http.MethodGet, "/status", nil, &reply)
		if !errors.Is(err, errNobody) {
			return reply, err
		}
		held, err := locked(filepath.Join(r.dir, lockName))
		most := r.wait
		if err == nil && !held { // one that was launched holds this lock until it listens, whatever became of its launcher
			held, err = locked(filepath.Join(r.dir, launchName))
			most *= 5
		}
		switch {
		case err != nil:
			return reply, err
		case !held:
			return reply, errNobody
		case time.Since(began) > most:
			return reply, c.silent(most)
		}
		if !runtimes.Pause(ctx, 10*time.Millisecond) { // neither listening nor gone: this takes no longer than a blink
			return reply, ctx.Err()
		}
	}
}

// Stop implements runtimes.Runtime. When nothing is left to run, the supervisor is gone too. With kill it works even
// if the supervisor hangs.
func (r *Runtime) Stop(ctx context.Context, specs []runtimes.Spec, kill bool) ([]string, error) {
	now, err := r.ask(ctx)
	if errors.Is(err, errNobody) {
		// Its lock is free, so it has ended or does so now. If it was killed, its children do so too.
		all := append(loadState(r.dir, r.log).processes(), supervisorOf(r.dir))
		return nil, bury(all, time.Second, 5*time.Second)
	}
	var hangs *silentError
	if errors.As(err, &hangs) && kill {
		return r.killAll(hangs)
	}
	if err != nil {
		return nil, err
	}
	req := stopRequest{Kill: kill}
	for _, spec := range specs {
		req.Names = append(req.Names, spec.Name)
	}
	most := 10 * time.Second
	if !kill {
		most += time.Duration(len(specs)) * 20 * time.Second // each of them may use up its grace
	}
	var reply stopReply
	err = newClient(r.dir).call(ctx, most, http.MethodPost, "/stop", req, &reply)
	if errors.As(err, &hangs) && kill {
		return r.killAll(hangs)
	}
	if err != nil && !errors.Is(err, errNobody) {
		return nil, err
	}
	if err == nil && !reply.Exiting {
		return reply.Killed, nil
	}
	// It ends, be it for this request or another one, or because it was killed; then its children still die.
	if !ended(now.Supervisor, 5*time.Second) {
		return reply.Killed, fmt.Errorf("stop: supervisor (pid %d) does not end", now.Supervisor.PID)
	}
	return reply.Killed, bury(loadState(r.dir, r.log).processes(), time.Second, 5*time.Second)
}

// killAll ends a supervisor that does not answer, and with it its children.
func (r *Runtime) killAll(e *silentError) ([]string, error) {
	h, err := e.id.open()
	if err != nil {
		return nil, fmt.Errorf("stop: %w; and it cannot be identified: %w", e, err)
	}
	defer h.close()
	all := append(childrenOf(e.id.PID), loadState(r.dir, r.log).processes()...)
	if err := h.kill(); err != nil {
		return nil, fmt.Errorf("stop: kill supervisor (pid %d): %w", e.id.PID, err)
	}
	if !h.wait(5 * time.Second) {
		return nil, fmt.Errorf("stop: supervisor (pid %d) does not end", e.id.PID)
	}
	return nil, bury(all, time.Second, 5*time.Second)
}
