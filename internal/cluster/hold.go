package cluster

import (
	"context"
	"errors"
	"time"

	"kwokctl/runtimes"
)

// resumeTime is how long components may take to come back after they were held.
const resumeTime = time.Minute

// Hold calls do while nothing but etcd and the API server runs, so that nobody acts on objects. What it stops for that
// is started again, whatever do returns.
func (h Home) Hold(ctx context.Context, name string, do func(*Cluster) error) (err error) {
	c, release, err := h.locked(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	if err := c.Running(ctx); err != nil {
		return err
	}
	list, err := c.Status(ctx)
	if err != nil {
		return err
	}
	var running, acting []runtimes.Spec
	for i, s := range list {
		if s.State == runtimes.Stopped {
			continue
		}
		running = append(running, c.specs[i])
		if !core(c.specs[i]) {
			acting = append(acting, c.specs[i])
		}
	}
	defer func() {
		undo, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), resumeTime, &TimeoutError{"start components again", resumeTime})
		defer cancel()
		if back := c.rt.Start(undo, running, nil); back != nil {
			err = errors.Join(err, cause(undo, back))
		}
	}()
	if _, err := c.rt.Stop(ctx, acting, false); err != nil {
		return cause(ctx, err)
	}
	return cause(ctx, do(c))
}
