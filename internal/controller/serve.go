package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// aliveWithin is how soon the loop must answer to count as alive.
const aliveWithin = 5 * time.Second

// handler answers what supervisors and Prometheus ask.
func (l *loop) handler() http.Handler {
	mux := http.NewServeMux()
	live := func(w http.ResponseWriter, r *http.Request) {
		if !l.alive(r.Context()) {
			http.Error(w, "the loop does not turn", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "ok")
	}
	mux.HandleFunc("/healthz", live)
	mux.HandleFunc("/livez", live)
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !l.ready.Load() {
			http.Error(w, "nodes and pods are not all read yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "ok")
	})
	if l.opts.EnableDebuggingHandlers && l.opts.EnableProfilingHandler {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	mux.Handle("/metrics/", l.metrics)
	mux.Handle("/discovery/prometheus", l.metrics)
	mux.Handle("/metrics", promhttp.HandlerFor(l.stats.registry, promhttp.HandlerOpts{}))
	return mux
}

// alive reports whether the loop answers in time.
func (l *loop) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, aliveWithin)
	defer cancel()
	answer := make(chan struct{})
	select {
	case l.ping <- answer:
	case <-ctx.Done():
		return false
	}
	select {
	case <-answer:
		return true
	case <-ctx.Done():
		return false
	}
}

// serve answers on a listener until ctx ends.
func serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}
