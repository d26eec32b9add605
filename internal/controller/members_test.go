package controller

import (
	"fmt"
	"testing"
	"time"

	"kwokctl/internal/stage"
)

func memberLease(id string, until time.Time) stage.Object {
	return stage.NewTree(map[string]any{"metadata": map[string]any{"name": "kwok-controller-" + id, "uid": id},
		"spec": map[string]any{"holderIdentity": id, "leaseDurationSeconds": 40, "renewTime": until.Add(-40 * time.Second).Format(time.RFC3339Nano)}})
}

// mine returns the nodes that belong to the bench's controller, those that it holds, and those it may not take.
func (b *bench) mine() (wanted, held, wrong int) {
	for _, n := range b.nodes {
		if n == b.others {
			continue
		}
		if n.wanted {
			wanted++
		}
		if n.held {
			held++
		}
		if n.held && !n.wanted {
			wrong++
		}
	}
	return wanted, held, wrong
}

func TestMembersShareNodes(t *testing.T) {
	const n = 600
	b := newBench(t, 40)
	b.populate(n)
	for range 30 {
		b.turn()
		b.drain()
	}
	if _, held, _ := b.mine(); held != n {
		t.Fatalf("alone it holds %d of %d", held, n)
	}
	b.take(batch{kind: memberLeases, begin: true})
	b.take(batch{kind: memberLeases, events: []event{{obj: memberLease(b.id, b.now.Add(time.Minute))}, {obj: memberLease("b", b.now.Add(10*time.Second))}}})
	if wanted, _, _ := b.mine(); wanted != n {
		t.Errorf("before all members are known it wants %d of %d", wanted, n)
	}
	b.take(batch{kind: memberLeases, end: true})
	for range 30 {
		b.turn()
		b.drain()
	}
	wanted, held, wrong := b.mine()
	if held != wanted || wrong > 0 || wanted < n*43/100 || wanted > n*57/100 {
		t.Errorf("of two it wants %d of %d, holds %d, %d of them others'", wanted, n, held, wrong)
	}
	before := map[string]bool{}
	for name, n := range b.nodes {
		before[name] = n.wanted
	}
	b.take(batch{kind: memberLeases, events: []event{{obj: memberLease("c", b.now.Add(time.Hour))}}})
	for name, n := range b.nodes {
		if n.wanted && !before[name] {
			t.Fatalf("%s moves between two that stay", name)
		}
	}
	if wanted, _, _ = b.mine(); wanted < n*26/100 || wanted > n*41/100 {
		t.Errorf("of three it wants %d of %d", wanted, n)
	}
	own, blocks := 0, 1000
	for block := range blocks {
		if !b.addr.foreign(uint32(block)) {
			own++
		}
	}
	if own < blocks*26/100 || own > blocks*41/100 {
		t.Errorf("of three it has %d of %d blocks of addresses", own, blocks)
	}
	b.pass(11 * time.Second) // the lease of b runs out
	b.take(batch{kind: memberLeases, events: []event{{gone: true, obj: memberLease("c", b.now)}}})
	if wanted, _, _ := b.mine(); wanted != n || b.addr.foreign != nil {
		t.Errorf("alone again it wants %d of %d", wanted, n)
	}
}

// Two controllers of one name would both believe to hold all leases: the later one ends.
func TestSameNameEnds(t *testing.T) {
	b := newBench(t, 40)
	seen := func(started, renewed time.Duration) error {
		b.take(batch{kind: memberLeases, events: []event{{obj: stage.NewTree(map[string]any{
			"metadata": map[string]any{"name": b.memberName(), "annotations": map[string]any{startedNote: b.started.Add(started).UTC().Format(microTime)}},
			"spec":     map[string]any{"holderIdentity": b.id, "leaseDurationSeconds": 40, "renewTime": b.started.Add(renewed).Format(time.RFC3339Nano)}})}}})
		select {
		case err := <-b.failed:
			return err
		default:
			return nil
		}
	}
	for _, tt := range []struct {
		what             string
		started, renewed time.Duration
		fails            bool
	}{
		{"ourselves", 0, time.Second, false},
		{"ourselves before a restart", -time.Hour, -time.Second, false},
		{"one that came later", time.Second, 2 * time.Second, false},
		{"one that was there and still is", -time.Hour, time.Second, true},
	} {
		if err := seen(tt.started, tt.renewed); (err != nil) != tt.fails {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

// While members hold others' blocks, addresses come from our own, and from theirs only when there is none left.
func TestAddressesOfMembers(t *testing.T) {
	a := newAddresses()
	set := a.set([]string{"10.0.0.0/22"})
	a.foreign = func(block uint32) bool { return block%2 == 1 }
	seen := map[uint32]bool{}
	for i := range 1022 {
		n, err := a.alloc(set)
		if err != nil || seen[n] {
			t.Fatalf("address %d: offset %d, %v", i, n, err)
		}
		seen[n] = true
		if foreign := a.foreign(n / 64); foreign != (i >= 511) {
			t.Fatalf("address %d is in block %d", i, n/64)
		}
	}
	if _, err := a.alloc(set); err == nil {
		t.Error("an address too many")
	}
}

// A controller that was stopped does nothing before it has its leases again: others may have taken them.
func TestThawClaimsAnew(t *testing.T) {
	b := newBench(t, 40)
	b.take(batch{leases: map[string]lease{}})
	b.epoch(nodes, newNode(1, 1))
	b.epoch(pods)
	b.turn()
	b.drain()
	b.time = b.time.Add(90 * time.Second)
	before := b.f.count("PUT /api/v1")
	b.wake()
	b.take(batch{kind: pods, events: []event{{obj: wrap(newPod(1, 50))}}})
	if got := b.f.count("PUT /api/v1"); got != before {
		t.Errorf("%d writes before the lease is ours again", got-before)
	}
	b.turn()
	b.drain()
	b.turn()
	b.drain()
	if got := b.f.count("PUT /api/v1"); got == before {
		t.Error("the pod is not played", fmt.Sprint(b.f.requests))
	}
}
