package controller

import (
	"context"
	"fmt"
	"net/http"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const leasePath = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"

// lease is what we know of a node's lease. It is passed by value between the loop and its senders.
type lease struct {
	version     string
	uid         string
	holder      string
	renewed     time.Time
	duration    time.Duration
	transitions int32
	owned       bool // has an owner reference
}

// leaseTry is one attempt to create, take over or renew the lease of a node.
type leaseTry struct {
	path      string // of the collection
	node, uid string
	have      lease
	id        string // ours
	duration  time.Duration
	now       func() time.Time
}

// acquirable reports whether we may write the lease.
func (l *lease) acquirable(id string, now time.Time) bool {
	return l.holder == "" || l.holder == id || l.renewed.IsZero() || l.duration == 0 || l.renewed.Add(l.duration).Before(now)
}

// run does what the attempt needs: one request as a rule, up to four when somebody else wrote in between. It
// returns the lease as it is now; held if its holder is us.
func (t *leaseTry) run(ctx context.Context, do Doer) (lease, error) {
	have := t.have
	for range 3 {
		if have.version != "" && !have.acquirable(t.id, t.now()) {
			return have, nil
		}
		rep, wrote := t.write(ctx, do, have)
		switch {
		case rep.ok():
			wrote.version = versionOf(rep.body)
			return wrote, nil
		case rep.code == http.StatusConflict:
			got, rep := t.get(ctx, do)
			if rep.code == http.StatusNotFound {
				have = lease{}
				continue
			}
			if !rep.ok() {
				return have, rep.fault()
			}
			have = got
		case rep.code == http.StatusNotFound && have.version != "":
			have = lease{}
		default:
			return have, rep.fault()
		}
	}
	return have, fmt.Errorf("write lease of %s: too many conflicts", t.node)
}

// write creates or updates the lease so that it is ours from now on.
func (t *leaseTry) write(ctx context.Context, do Doer, have lease) (reply, lease) {
	now := t.now()
	next := lease{version: have.version, uid: have.uid, holder: t.id, renewed: now, duration: t.duration,
		transitions: have.transitions, owned: true}
	if have.version != "" && have.holder != t.id {
		next.transitions++
	}
	body, err := t.encode(&next)
	if err != nil {
		return reply{err: err}, have
	}
	r := &request{lane: vital, method: http.MethodPost, path: t.path, ctype: protobuf, accept: metaOnly, body: body}
	if have.version != "" {
		r.method, r.path = http.MethodPut, t.path+"/"+t.node
	}
	return do.Do(ctx, r), next
}

func (t *leaseTry) get(ctx context.Context, do Doer) (lease, reply) {
	rep := do.Do(ctx, &request{lane: vital, method: http.MethodGet, path: t.path + "/" + t.node})
	if !rep.ok() {
		return lease{}, rep
	}
	raw, err := open(rep.body)
	if err != nil {
		return lease{}, reply{err: err}
	}
	var l coordinationv1.Lease
	if err := l.Unmarshal(raw); err != nil {
		return lease{}, reply{err: err}
	}
	return leaseOf(&l), rep
}

func leaseOf(l *coordinationv1.Lease) lease {
	have := lease{version: l.ResourceVersion, uid: string(l.UID), owned: len(l.OwnerReferences) > 0}
	if h := l.Spec.HolderIdentity; h != nil {
		have.holder = *h
	}
	if d := l.Spec.LeaseDurationSeconds; d != nil {
		have.duration = time.Duration(*d) * time.Second
	}
	if r := l.Spec.RenewTime; r != nil {
		have.renewed = r.Time
	}
	if n := l.Spec.LeaseTransitions; n != nil {
		have.transitions = *n
	}
	return have
}

// encode makes the whole object. The empty managedFields entry stops the server tracking fields of the lease.
func (t *leaseTry) encode(l *lease) ([]byte, error) {
	seconds := int32(l.duration / time.Second)
	renewed := metav1.NewMicroTime(l.renewed)
	obj := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: t.node, ResourceVersion: l.version, UID: types.UID(l.uid),
			ManagedFields: []metav1.ManagedFieldsEntry{{}}},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &l.holder, LeaseDurationSeconds: &seconds, RenewTime: &renewed},
	}
	if t.uid != "" {
		obj.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: t.node, UID: types.UID(t.uid)}}
	}
	if l.transitions > 0 {
		obj.Spec.LeaseTransitions = &l.transitions
	}
	return seal("coordination.k8s.io/v1", "Lease", obj)
}

// release empties the holder, so that another replica may take the node at once. A write of ours that was under way when
// we were told to end may have come first: then it is what is there that is given back.
func (t *leaseTry) release(ctx context.Context, do Doer) error {
	have := t.have
	for range 3 {
		if have.holder == t.id && have.version != "" {
			next := have
			next.holder = ""
			body, err := t.encode(&next)
			if err != nil {
				return err
			}
			rep := do.Do(ctx, &request{lane: vital, method: http.MethodPut, path: t.path + "/" + t.node, ctype: protobuf, accept: metaOnly, body: body})
			switch {
			case rep.ok() || rep.code == http.StatusNotFound:
				return nil
			case rep.code != http.StatusConflict:
				return rep.fault()
			}
		}
		got, rep := t.get(ctx, do)
		switch {
		case rep.code == http.StatusNotFound:
			return nil
		case !rep.ok():
			return rep.fault()
		case got.holder != t.id:
			return nil
		}
		have = got
	}
	return nil
}

// listLeases reads all leases, once, at start.
func listLeases(ctx context.Context, do Doer) (map[string]lease, error) {
	all := map[string]lease{}
	next := ""
	for {
		rep := do.Do(ctx, &request{lane: vital, method: http.MethodGet, path: leasePath + "?limit=500&continue=" + next})
		if !rep.ok() {
			return nil, rep.fault()
		}
		raw, err := open(rep.body)
		if err != nil {
			return nil, err
		}
		var l coordinationv1.LeaseList
		if err := l.Unmarshal(raw); err != nil {
			return nil, fmt.Errorf("decode leases: %w", err)
		}
		for i := range l.Items {
			all[l.Items[i].Name] = leaseOf(&l.Items[i])
		}
		if next = l.Continue; next == "" {
			return all, nil
		}
	}
}
