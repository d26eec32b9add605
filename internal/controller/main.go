// Package controller watches a cluster and plays stages on its nodes and pods.
package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"kwokctl/internal/kube"
)

const levelDebug = slog.LevelDebug

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }

// Main runs the controller until ctx ends or a signal comes, and returns the exit status: 0 done, 1 failed, 2
// misused. args are without the program's name.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := run(ctx, args, stdout, stderr)
	var usage usageError
	switch {
	case err == nil || errors.Is(err, pflag.ErrHelp):
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "kwok: %v\n", err)
		return 2
	}
	fmt.Fprintf(stderr, "kwok: %v\n", err)
	return 1
}

// CheckArgs tells what is wrong with arguments of Main, as far as they alone tell.
func CheckArgs(args []string) error {
	f, err := parse(args, io.Discard)
	if err == nil {
		_, err = parseLevel(f.verbosity)
	}
	return err
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f, err := parse(args, stdout)
	if err != nil {
		return err
	}
	if f.printVersion {
		fmt.Fprintf(stdout, "kwok version v%s %s (%s/%s)\n", f.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	}
	level, err := parseLevel(f.verbosity)
	if err != nil {
		return usageError{err}
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	cfg, err := f.load(log)
	if err != nil {
		return err
	}
	cfg.tell(log)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	rest, err := kube.Connect(f.kubeconfigFile(), f.master)
	if err != nil {
		return err
	}
	rest.UserAgent = "kwok/" + f.version
	do, err := newClient(rest)
	if err != nil {
		return err
	}
	find, err := kube.New(rest)
	if err != nil {
		return err
	}
	if err := cfg.certify(rest, log); err != nil {
		return err
	}
	if cfg.id == "" {
		cfg.id = identity(rest.Host, cfg)
	}
	if cfg.opts.EnableProfilingHandler && cfg.opts.EnableContentionProfiling {
		runtime.SetBlockProfileRate(1)
	}
	boundMemory()
	return play(ctx, cfg, do, find, log)
}

// play runs the loop, its readers and the server until ctx ends.
func play(ctx context.Context, cfg config, do Doer, find *kube.Client, log *slog.Logger) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newLoop(inner, cfg, do, find, newStats(), log, time.Now)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	if cfg.opts.ServerAddress != "" {
		ln, err := net.Listen("tcp", cfg.opts.ServerAddress)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", cfg.opts.ServerAddress, err)
		}
		wg.Go(func() {
			if err := l.serve(inner, ln, cfg, find); err != nil {
				select {
				case l.failed <- err:
				default: // there is a reason to end already
				}
			}
		})
	}
	log.Info("started", "id", cfg.id, "lease", l.leaseDuration)
	l.launchAll()
	wg.Go(func() { l.readFiles(inner, cfg) })
	if l.ring != nil {
		l.readers.Go(func() { l.beMember(inner) })
	}
	wg.Go(func() { l.report.run(inner) })
	renewNodes, renewPods := l.kinds[nodes].renew, l.kinds[pods].renew
	wg.Go(func() { l.read(inner, renewNodes, renewPods) })
	done := make(chan struct{})
	go func() { defer close(done); l.run() }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-l.failed:
	}
	cancel()
	<-done // from here on the state is ours
	l.readers.Wait()
	l.releaseAll()
	l.leave()
	return err
}

// read starts the readers: leases and nodes first, because the addresses of pods mean nothing without their nodes.
func (l *loop) read(ctx context.Context, renewNodes, renewPods <-chan struct{}) {
	var wg sync.WaitGroup
	defer wg.Wait()
	if l.ring != nil {
		wg.Go(func() { l.readLeases(ctx) })
		wg.Go(func() { l.readMembers(ctx) })
	}
	select {
	case <-l.staged:
	case <-ctx.Done():
		return
	}
	nodeQuery, podQuery := url.Values{}, url.Values{"fieldSelector": {"spec.nodeName!="}}
	if l.sel.single != "" {
		nodeQuery.Set("fieldSelector", "metadata.name="+l.sel.single)
		podQuery.Set("fieldSelector", "spec.nodeName="+l.sel.single)
	}
	if l.sel.labels != nil {
		nodeQuery.Set("labelSelector", l.sel.labels.String())
	}
	seen := make(chan struct{})
	between := make(chan batch)
	wg.Go(func() {
		(&reader{kind: nodes, name: "Node", path: "/api/v1/nodes", query: nodeQuery, do: l.do, out: between,
			renew: renewNodes, log: l.log}).run(ctx)
	})
	wg.Go(func() { forward(ctx, between, l.batches, seen) })
	select {
	case <-seen:
	case <-ctx.Done():
		return
	}
	(&reader{kind: pods, name: "Pod", path: "/api/v1/pods", query: podQuery, do: l.do, out: l.batches,
		renew: renewPods, log: l.log}).run(ctx)
}

// forward hands batches on and closes seen after the first epoch.
func forward(ctx context.Context, in <-chan batch, out chan<- batch, seen chan struct{}) {
	first := true
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-in:
			select {
			case out <- b:
			case <-ctx.Done():
				return
			}
			if b.end && first {
				first = false
				close(seen)
			}
		}
	}
}

// readLeases reads all leases, however long it takes, and again when that is asked for.
func (l *loop) readLeases(ctx context.Context) {
	for n := 0; ; n++ {
		all, err := listLeases(ctx, l.do)
		if err != nil {
			if !wait(ctx, backoff(n)) {
				return
			}
			continue
		}
		select {
		case l.batches <- batch{leases: all}:
		case <-ctx.Done():
			return
		}
		n = 0
		select {
		case <-l.list:
		case <-ctx.Done():
			return
		}
	}
}

// releaseTime bounds how long shutting down may take for giving leases back.
const releaseTime = 1500 * time.Millisecond

// releaseAll gives all leases back, so that another replica may go on at once.
func (l *loop) releaseAll() {
	if l.ring == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), releaseTime)
	defer cancel()
	work := make(chan *node)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for n := range work {
				if ctx.Err() == nil {
					_ = l.leaseTry(n).release(ctx, l.do) // else it expires
				}
			}
		})
	}
	for _, n := range l.nodes {
		if n.held || n.trying { // of the latter it is not known yet whether they are held
			work <- n
		}
	}
	close(work)
	wg.Wait()
}
