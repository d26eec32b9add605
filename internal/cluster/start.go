package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"kwokctl/internal/components"
	"kwokctl/internal/download"
	"kwokctl/internal/files"
	"kwokctl/internal/kube"
	"kwokctl/runtimes"
)

// mostTurn is how long a start keeps others waiting: what takes longer does not wait for a processor.
const mostTurn = time.Minute

// start brings the components up and makes the cluster usable. When it fails, it stops what it started.
func (c *Cluster) start(ctx context.Context, wait Wait, observe Observe) (err error) {
	if err := c.beforeStart(ctx, observe); err != nil {
		return err
	}
	done, err := c.home.turn(ctx, mostTurn)
	if err != nil {
		return cause(ctx, err)
	}
	defer done()
	late := lateness{seen: map[string]runtimes.State{}, next: observe}
	if wait.Ready > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, wait.Ready, &TimeoutError{"wait for cluster " + c.Name, wait.Ready})
		defer cancel()
	}
	before, _ := c.Status(ctx)
	defer func() {
		if err == nil {
			return
		}
		err = late.explain(cause(ctx, err))
		if !slices.ContainsFunc(before, func(s runtimes.Status) bool { return s.State != runtimes.Stopped }) {
			undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
			defer cancel()
			_, stopErr := c.rt.Stop(undo, c.specs, true) // an orderly end takes those that live longer when others are dead
			err = errors.Join(err, stopErr)
		}
	}()
	return c.launch(ctx, wait, late.note)
}

// launch starts the components and applies their manifests, as soon as that can be.
func (c *Cluster) launch(ctx context.Context, wait Wait, note Observe) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	applied := make(chan error, 1)
	var once sync.Once
	apply := func() {
		once.Do(func() {
			go func() {
				err := c.apply(ctx)
				if err != nil { // there are components that wait for what cannot be applied
					giveUp(err)
				}
				applied <- err
			}()
		})
	}
	first, then := c.waves()
	if err := c.rt.Start(ctx, first, func(s runtimes.Status) {
		note(s)
		if s.Name == "kube-apiserver" && s.State == runtimes.Ready {
			apply()
		}
	}); err != nil {
		return cause(ctx, err)
	}
	apply() // the API server may have been up before
	if err := <-applied; err != nil {
		return err
	}
	if len(then) > 0 {
		if err := c.rt.Start(ctx, c.specs, note); err != nil {
			return err
		}
	}
	if wait.Ready > 0 {
		if err := c.usable(ctx, note); err != nil {
			return err
		}
	}
	return c.settled(ctx)
}

// beforeStart looks at what a start needs: files, ports and programs.
func (c *Cluster) beforeStart(ctx context.Context, observe Observe) error {
	if err := files.Repair(c.Dir, func(path string, was, now os.FileMode) {
		c.home.Log.Warn("file was open to others; repaired", "path", path, "was", was.String(), "now", now.String())
	}); err != nil {
		return err
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	if err := c.checkPorts(ctx); err != nil {
		return err
	}
	if slices.ContainsFunc(c.specs, func(s runtimes.Spec) bool { return s.Image != "" || !download.Plain(s.Program) }) { // they may have been removed
		if err := errors.Join(c.home.fetch(ctx, c.Name, c.Config, observe), c.plan(nil)); err != nil {
			return err
		}
	}
	return nil
}

// apply sends the manifests of the components, when the API server is in reach.
func (c *Cluster) apply(ctx context.Context) error {
	if err := c.reach(ctx); err != nil {
		return err
	}
	var plan components.Plan
	if err := c.plan(&plan); err != nil {
		return err
	}
	config, err := kube.Connect(c.Kubeconfig(), "")
	if err != nil {
		return err
	}
	return kube.Apply(ctx, config, plan.Manifests)
}

// turn waits until fewer clusters start than the machine has processors, and returns how to give the turn back, which
// happens by itself after most. Twenty at once get in each other's way: each takes the processors from those that are
// nearly ready, until all are late.
func (h Home) turn(ctx context.Context, most time.Duration) (done func(), err error) {
	all, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	locks := make(chan *files.Lock) // nil: it could not be had
	errs := make([]error, max(2, runtime.NumCPU()))
	for i := range errs {
		go func() {
			path := filepath.Join(h.Dir, "locks", fmt.Sprintf(".start-%d.lock", i))
			var lock *files.Lock
			lock, errs[i] = files.Acquire(all, path, "kwokctl", func(holder string, since time.Time) {
				if i == 0 && h.Waiting != nil && time.Since(began) > time.Second { // one tells, when it takes long
					h.Waiting("its turn to start", holder, since)
				}
			})
			locks <- lock
		}()
	}
	var own *files.Lock
	for range errs {
		lock := <-locks
		if own == nil && lock != nil {
			own, lock = lock, nil
			cancel()
		}
		_ = lock.Release()
	}
	if own == nil {
		return nil, errs[0]
	}
	release := sync.OnceFunc(func() { _ = own.Release() }) // whatever became of the file, the next one finds another
	timer := time.AfterFunc(most, release)
	return func() { timer.Stop(); release() }, nil
}
