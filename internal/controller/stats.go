package controller

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// measureEvery is how often the lengths of the queues are taken.
const measureEvery = time.Second

// stats are the metrics of the controller.
type stats struct {
	registry *prometheus.Registry
	moves    *prometheus.CounterVec
	leases   *prometheus.CounterVec
	rejected prometheus.Counter
	lost     prometheus.Counter
	failed   prometheus.Counter
	circles  *prometheus.CounterVec
	latency  prometheus.Histogram
	lag      prometheus.Gauge
	queue    *prometheus.GaugeVec
	inflight *prometheus.GaugeVec
	entries  prometheus.Gauge
	nodes    prometheus.Gauge
	bodies   prometheus.Gauge
}

func newStats() *stats {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "kwok_" + name, Help: help})
	}
	s := &stats{registry: prometheus.NewRegistry(),
		moves: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kwok_stage_transitions_total",
			Help: "Stages played, by name and result."}, []string{"stage", "result"}),
		leases: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kwok_lease_attempts_total",
			Help: "Attempts to hold a node lease, by result."}, []string{"result"}),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{Name: "kwok_stages_rejected_total",
			Help: "Stages set aside because they do not compile, or break limits."}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{Name: "kwok_events_lost_total",
			Help: "Events that were not written because there were too many."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "kwok_metric_errors_total",
			Help: "Failures in the metrics of nodes: series left out, and usages that count nothing."}),
		circles: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kwok_objects_slowed_total",
			Help: "Objects slowed down because they moved in circles, by the stage they moved to."}, []string{"stage"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kwok_write_duration_seconds",
			Help: "Time from sending a move to its result.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15)}),
		lag: gauge("lag_seconds", "The latest a move came after it was due, in the last second."),
		queue: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kwok_queue_length",
			Help: "Objects ready for a sender, by lane."}, []string{"lane"}),
		inflight: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kwok_requests_in_flight",
			Help: "Requests under way, by lane."}, []string{"lane"}),
		entries: gauge("unsettled_objects", "Objects that wait for something."),
		nodes:   gauge("managed_nodes", "Nodes that are managed."),
		bodies:  gauge("body_bytes", "Bytes of objects kept for their next move."),
	}
	s.registry.MustRegister(s.moves, s.leases, s.rejected, s.lost, s.failed, s.circles, s.latency, s.lag, s.queue, s.inflight, s.entries, s.nodes,
		s.bodies, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return s
}

// observe takes the lengths of the loop's queues.
func (s *stats) observe(l *loop) {
	if l.now.Sub(l.measured) < measureEvery {
		return
	}
	l.measured = l.now
	for i, name := range [lanes]string{"vital", "normal", "custom", "retry"} {
		n := l.waiting[i]
		if lane(i) == vital {
			n += len(l.leaseQueue)
		}
		s.queue.WithLabelValues(name).Set(float64(n))
		s.inflight.WithLabelValues(name).Set(float64(l.inflight[i]))
	}
	s.entries.Set(float64(l.t.live))
	managed := len(l.nodes)
	if l.others != nil {
		managed--
	}
	s.nodes.Set(float64(managed))
	s.bodies.Set(float64(l.t.bodySize))
	s.lag.Set(l.late.Seconds())
	l.late = 0
}
