package controller

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// oneLease is an API server with one lease, or none.
type oneLease struct {
	t      *testing.T
	as     *leaseTry // encodes it
	have   lease
	absent bool
	writes int
}

func (s *oneLease) Do(_ context.Context, r *request) reply {
	if s.absent {
		return reply{code: http.StatusNotFound}
	}
	if r.method == http.MethodPut {
		raw, err := open(r.body)
		if err != nil {
			s.t.Fatal(err)
		}
		var l coordinationv1.Lease
		if err := l.Unmarshal(raw); err != nil {
			s.t.Fatal(err)
		}
		if l.ResourceVersion != s.have.version {
			return reply{code: http.StatusConflict}
		}
		s.have = leaseOf(&l)
		s.have.version += "0"
		s.writes++
	}
	body, err := s.as.encode(&s.have)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{code: http.StatusOK, body: body}
}

func (s *oneLease) Open(context.Context, string, string) (io.ReadCloser, reply) { return nil, reply{} }

// TestRelease gives leases back: also those that were written after we last heard of them, and none of others.
func TestRelease(t *testing.T) {
	for name, tt := range map[string]struct {
		known, there lease
		absent       bool
		want         string // holder
		writes       int
	}{
		"as known":        {known: lease{version: "1", holder: "me"}, there: lease{version: "1", holder: "me"}, writes: 1},
		"renewed since":   {known: lease{version: "1", holder: "me"}, there: lease{version: "2", holder: "me"}, writes: 1},
		"taken, unheard":  {known: lease{version: "1", holder: "other"}, there: lease{version: "2", holder: "me"}, writes: 1},
		"made, unheard":   {there: lease{version: "1", holder: "me"}, writes: 1},
		"lost since":      {known: lease{version: "1", holder: "me"}, there: lease{version: "2", holder: "other"}, want: "other"},
		"never ours":      {known: lease{version: "1", holder: "other"}, there: lease{version: "1", holder: "other"}, want: "other"},
		"gone, and so on": {known: lease{version: "1", holder: "me"}, absent: true},
	} {
		try := &leaseTry{path: leasePath, node: "n", id: "me", have: tt.known, duration: time.Minute, now: time.Now}
		s := &oneLease{t: t, as: try, have: tt.there, absent: tt.absent}
		if err := try.release(t.Context(), s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s.have.holder != tt.want && !tt.absent || s.writes != tt.writes {
			t.Errorf("%s: held by %q after %d writes, want %q after %d", name, s.have.holder, s.writes, tt.want, tt.writes)
		}
	}
}

func TestLeases(t *testing.T) {
	b := newBench(t, 40)
	foreign := lease{version: "7", holder: "other", renewed: b.time, duration: 40 * time.Second}
	b.f.refuse = func(r *request) *reply {
		if r.method == "GET" && strings.HasPrefix(r.path, leasePath) {
			holder, s := "other", int32(40)
			renewed := metav1.NewMicroTime(foreign.renewed)
			body, _ := seal("coordination.k8s.io/v1", "Lease", &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "8"},
				Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &s, RenewTime: &renewed}})
			return &reply{code: 200, body: body}
		}
		return nil
	}
	b.take(batch{leases: map[string]lease{"n2": foreign}})
	b.epoch(nodes, newNode(1, 1), newNode(2, 2))
	b.epoch(pods)
	b.pass(100 * time.Millisecond)
	if !b.loop.nodes["n1"].held || b.loop.nodes["n2"].held {
		t.Fatal("want n1 held and n2 not")
	}
	if b.f.count("PUT /api/v1/nodes/n1/status") != 1 || b.f.count("PATCH /api/v1/nodes/n2/status") != 0 {
		t.Fatalf("got %v", b.f.requests)
	}
	b.pass(30 * time.Second)
	if n := b.f.count("PUT " + leasePath + "/n1"); n < 3 || n > 4 {
		t.Fatalf("%d renewals in 30 s", n)
	}
	b.pass(25 * time.Second) // the other one is gone
	if !b.loop.nodes["n2"].held || b.loop.nodes["n2"].lease.transitions != 1 {
		t.Fatalf("not taken over: %+v", b.loop.nodes["n2"])
	}
	if b.f.count("PUT /api/v1/nodes/n2/status") != 1 {
		t.Fatal("the node taken over is not played")
	}
}

// After a restart, nodes whose leases are ours are played at once; the leases are renewed in turn.
func TestOwnLeasesOfBefore(t *testing.T) {
	for name, others := range map[string][]event{"alone": nil, "of two": {{obj: memberLease("b", time.Now().AddDate(100, 0, 0))}}} {
		t.Run(name, func(t *testing.T) {
			const n = 100
			b := newBench(t, 40)
			b.take(batch{kind: memberLeases, begin: true})
			b.take(batch{kind: memberLeases, events: others})
			b.take(batch{kind: memberLeases, end: true})
			known := map[string]lease{}
			var all []any
			for i := range n {
				all = append(all, newNode(i, i+1))
				known[fmt.Sprint("n", i)] = lease{version: "7", holder: b.id, renewed: b.time.Add(-time.Hour), duration: 40 * time.Second}
			}
			b.epoch(nodes, all...)
			b.epoch(pods)
			b.take(batch{leases: known})
			wanted, held, _ := b.mine()
			if alone := others == nil; alone && held != n || !alone && held > 0 {
				t.Errorf("holds %d of %d before it wrote a lease", held, wanted)
			}
			b.pass(500 * time.Millisecond)
			if _, held, wrong := b.mine(); held != wanted || wrong > 0 {
				t.Errorf("holds %d of %d, and %d of others", held, wanted, wrong)
			}
			renewed := b.f.count("PUT " + leasePath)
			if others == nil && renewed > n/4 {
				t.Errorf("%d of %d leases are renewed in half a second", renewed, n)
			}
			b.pass(10 * time.Second)
			if got := b.f.count("PUT " + leasePath); got < wanted {
				t.Errorf("%d of %d leases are renewed in ten seconds", got, wanted)
			}
		})
	}
}

// TestRenewalsBehindTheStart reads nodes and, later or never, pods: renewals wait for that, but not for ever.
func TestRenewalsBehindTheStart(t *testing.T) {
	for name, read := range map[string]bool{"soon": true, "never": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 40)
			known := map[string]lease{}
			var all []any
			for i := range 100 {
				all = append(all, newNode(i, i+1))
				known[fmt.Sprint("n", i)] = lease{version: "7", holder: b.id, renewed: b.time.Add(-time.Hour), duration: 40 * time.Second}
			}
			b.take(batch{leases: known})
			b.epoch(nodes, all...)
			b.pass(5 * time.Second)
			if got := b.f.count("PUT " + leasePath); got != 0 {
				t.Errorf("%d leases are renewed before the pods are read", got)
			}
			if read {
				b.epoch(pods)
			} else {
				b.pass(5 * time.Second)
			}
			b.pass(5 * time.Second)
			if got := b.f.count("PUT " + leasePath); got < 30 || got > 70 {
				t.Errorf("%d of 100 leases are renewed in half a round", got)
			}
			b.pass(5500 * time.Millisecond)
			if got := b.f.count("PUT " + leasePath); got < 100 {
				t.Errorf("%d of 100 leases are renewed in a round", got)
			}
		})
	}
}

// TestSparedRenewals renews leases half as often while pods wait for the server, and none later than at half of its time.
func TestSparedRenewals(t *testing.T) {
	renewals := func(waiting int) int {
		b := newBench(t, 40)
		known := map[string]lease{}
		var all []any
		for i := range 100 {
			all = append(all, newNode(i, i+1))
			known[fmt.Sprint("n", i)] = lease{version: "7", holder: b.id, renewed: b.time, duration: 40 * time.Second}
		}
		b.take(batch{leases: known})
		b.epoch(nodes, all...)
		var wait []any
		for i := range waiting {
			wait = append(wait, newPod(i, i+1))
		}
		b.feed(pods, wait...) // none is played before all are read
		b.pass(31 * time.Second)
		before := b.f.count("PUT " + leasePath)
		for range 40 {
			b.pass(time.Second)
			for _, n := range b.nodes {
				if age := b.time.Sub(n.lease.renewed); age > 20500*time.Millisecond {
					t.Fatalf("a lease is %s old", age)
				}
			}
		}
		return b.f.count("PUT "+leasePath) - before
	}
	if got := renewals(0); got < 390 || got > 410 {
		t.Errorf("idle: %d renewals of 100 leases in 40 s", got)
	}
	if got := renewals(2 * maxLimit); got < 190 || got > 210 {
		t.Errorf("busy: %d renewals of 100 leases in 40 s", got)
	}
}

func TestEvenRenewals(t *testing.T) {
	r := newRing(40*time.Second, time.Unix(0, 0))
	for i := range 5000 {
		r.add(&node{name: fmt.Sprint("node-", i)})
	}
	for _, b := range r.buckets {
		if len(b) > 100 { // mean 50
			t.Fatalf("%d renewals in 100 ms", len(b))
		}
	}
	start := r.due
	for _, tt := range []struct{ from, to, least, most int }{ // in buckets
		{0, 20, 20 * 35, 20 * 65},
		{40, 50, 20 * 35, 22 * 65}, // late by 20: at twice the rate
		{50, 70, 28 * 35, 32 * 65}, // until it has caught up
		{200, 201, 1 * 35, 4 * 65}, // asleep for more than a round
	} {
		got := 0
		for now := start.Add(time.Duration(tt.from) * bucketLength); now.Before(start.Add(time.Duration(tt.to) * bucketLength)); now = now.Add(time.Millisecond) {
			r.advance(now, func(*node) { got++ })
		}
		if got < tt.least || got > tt.most {
			t.Errorf("from %d to %d: %d renewals, want %d to %d", tt.from, tt.to, got, tt.least, tt.most)
		}
	}
}

// A server that is slower than the renewals come must not make more of them, and pods make way until they are done.
func TestLateRenewals(t *testing.T) {
	const n = 400
	b := newBench(t, 40)
	b.populate(n)
	b.pass(2 * time.Second)
	if got := b.f.count("POST " + leasePath); got != n {
		t.Fatalf("%d leases of %d", got, n)
	}
	b.limit[vital] = 0 // the server answers nothing
	b.pass(25 * time.Second)
	if !b.room(normal) {
		t.Error("pods stand still")
	}
	b.inflight[normal] = minLimit
	if b.room(normal) {
		t.Error("pods do not make way for renewals that are late")
	}
	b.inflight[normal] = 0
	b.feed(nodes, newNode(n, n+1)) // comes while others wait
	b.pass(21 * time.Second)
	if !b.nodes[fmt.Sprint("n", n)].trying {
		t.Error("a new node gets no lease while others are renewed")
	}
	b.limit[vital] = vitalLimit
	before := b.f.count("PUT " + leasePath)
	b.pass(tickLength)
	if got := b.f.count("PUT "+leasePath) - before; got < n || got > n+n/50 { // the bucket that is due now comes on top
		t.Errorf("%d renewals of %d late ones", got, n)
	}
	if got := b.f.count("POST " + leasePath); got != n+1 {
		t.Errorf("%d leases of %d", got, n+1)
	}
}
