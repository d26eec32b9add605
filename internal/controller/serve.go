package controller

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kwokctl/internal/kube"
	"kwokctl/internal/kubelet"
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

// serve answers on a listener until ctx ends: with TLS also as the kubelets of all nodes.
func (l *loop) serve(ctx context.Context, ln net.Listener, cfg config, client *kube.Client) error {
	plain := l.handler()
	mux := http.NewServeMux()
	mux.Handle("/", plain)
	(&kubelet.Server{Rules: l.rules, Off: !l.opts.EnableDebuggingHandlers, Log: l.log}).Register(mux)
	guard := &kubelet.Guard{API: client, CAs: cfg.cas, Log: l.log}
	return kubelet.Serve(ctx, ln, plain, cfg.cert, guard.Protect(mux), l.log)
}
