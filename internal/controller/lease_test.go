package controller

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
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
