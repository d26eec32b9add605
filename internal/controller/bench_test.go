package controller

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// BenchmarkPod is our own work for one pod, bound to Ready: from the bytes of its event to those of the request, and
// the event that comes back. Transport and server are not in it.
func BenchmarkPod(b *testing.B) {
	bench := newBench(b, 0)
	bench.opts.CIDR = "10.0.0.0/8"
	node := newNode(1, 1)
	bench.epoch(nodes, node)
	bench.epoch(pods)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		p := newPod(10_000+n, 2*n+10) // uids of nodes begin at 1000
		p.Labels = map[string]string{"app": "web", "pod-template-hash": "7887448d46"}
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
		raw, err := p.Marshal()
		if err != nil {
			b.Fatal(err)
		}
		o, err := decode(pods, raw)
		if err != nil {
			b.Fatal(err)
		}
		bench.take(batch{kind: pods, events: []event{{obj: o}}})
		bench.turn()
		bench.drain()
		done := bench.f.putPod(b, p.Name)
		done.Spec = p.Spec
		done.ResourceVersion = fmt.Sprint(2*n + 100_000_000)
		if raw, err = done.Marshal(); err != nil {
			b.Fatal(err)
		}
		if o, err = decode(pods, raw); err != nil {
			b.Fatal(err)
		}
		bench.take(batch{kind: pods, events: []event{{obj: o}}})
		bench.turn()
		bench.f.requests, bench.f.bodies = bench.f.requests[:0], bench.f.bodies[:0]
	}
}
