package controller

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kwokctl/internal/stage"
)

// job is work for a sender; one of its parts is set.
type job struct {
	lane    lane
	entry   uint32
	move    *moveJob
	get     *getJob
	lease   *leaseTry
	release *leaseTry
}

// moveJob performs the actions of a move, in order.
type moveJob struct {
	kind      kind
	refer     corev1.ObjectReference
	path      string
	stage     string
	immediate bool
	actions   []stage.Action
}

// getJob reads an object, from the server's cache or from the store.
type getJob struct {
	kind   kind
	path   string
	cached bool
}

// result is what a sender hands back.
type result struct {
	job
	reply
	began   time.Time
	version uint64 // of the last write
	done    int    // actions performed
	deleted bool
	obj     stage.Object
	try     *leaseTry
	lease   lease
	err     error
}

// send starts a sender. Their number is bounded by the lanes.
func (l *loop) send(j job) {
	l.inflight[j.lane]++
	r := &result{job: j, began: l.now}
	go func() {
		defer func() {
			if p := recover(); p != nil { // a bug in one step must not end the program
				r.err = fmt.Errorf("panic: %v", p)
				r.reply.err = r.err
			}
			select {
			case l.results <- r:
			case <-l.ctx.Done():
			}
		}()
		switch {
		case j.move != nil:
			r.perform(l.ctx, &sender{l.do, l.find, l.report})
		case j.get != nil:
			r.fetch(l.ctx, l.do)
		case j.lease != nil:
			r.try = j.lease
			r.lease, r.err = j.lease.run(l.ctx, l.do)
		case j.release != nil:
			r.err = j.release.release(l.ctx, l.do)
		}
	}()
}

// sender is what a goroutine that sends may use.
type sender struct {
	do     Doer
	find   finder
	report *reporter
}

// perform does one action after the other. A later one builds on the version the former made.
func (r *result) perform(ctx context.Context, s *sender) {
	m := r.move
	for n, a := range m.actions {
		if a.Kind == stage.Event {
			s.report.event(m.refer, a.Event.Type, a.Event.Reason, a.Event.Message)
			r.reply = reply{code: http.StatusCreated}
			r.done++
			continue
		}
		if a.Kind == stage.Apply {
			r.reply, r.err = s.apply(ctx, m, &a, r.lane)
			if r.err != nil || !r.reply.ok() {
				return
			}
			r.done++
			continue
		}
		req, err := m.request(&a, r.lane)
		if err != nil {
			r.err = err
			return
		}
		whole := m.immediate && n == len(m.actions)-1 && a.Kind == stage.Patch
		if whole {
			req.accept = m.kind.accept()
		}
		r.reply = s.do.Do(ctx, req)
		if !r.reply.ok() {
			return
		}
		r.done++
		if a.Kind == stage.Delete {
			r.deleted = true
			continue
		}
		if whole {
			r.whole()
			continue
		}
		if v := number64(versionOf(r.reply.body)); v != 0 {
			r.version = v
		}
	}
}

// whole takes the object in the reply to a write.
func (r *result) whole() {
	obj, err := r.move.kind.object(r.reply.body)
	if err != nil {
		return // its event will bring it
	}
	if v := number64(obj.Meta().Version); v != 0 {
		r.version, r.obj = v, obj
	}
}

// accept is the encoding in which we like to read an object of a kind.
func (k kind) accept() string {
	if k.json() {
		return "application/json"
	}
	return protobuf
}

// object reads the body of a reply.
func (k kind) object(body []byte) (stage.Object, error) {
	if k.json() {
		obj, err := decode(k, body)
		return obj, err
	}
	raw, err := open(body)
	if err != nil {
		return nil, err
	}
	obj, err := decode(k, raw)
	return obj, err
}

// request makes the request of an action on the object itself.
func (m *moveJob) request(a *stage.Action, in lane) (*request, error) {
	r := &request{lane: in, path: m.path, accept: metaOnly, as: a.As}
	if m.kind.json() {
		r.accept = metaOnlyAny
	}
	if a.Subresource != "" {
		r.path += "/" + a.Subresource
	}
	var err error
	switch {
	case a.Kind == stage.Delete:
		zero := int64(0)
		r.method, r.ctype = http.MethodDelete, protobuf
		r.body, err = seal("v1", "DeleteOptions", &metav1.DeleteOptions{GracePeriodSeconds: &zero,
			Preconditions: &metav1.Preconditions{UID: &m.refer.UID}})
	case a.Put != nil:
		r.method, r.ctype = http.MethodPut, protobuf
		r.body, err = seal("v1", m.refer.Kind, a.Put)
	default:
		r.method, r.ctype = http.MethodPatch, a.Type
		r.path += "?fieldValidation=Ignore"
		r.body, err = m.patch(a)
	}
	return r, err
}

// patch is the JSON of a patch, with the uid so that it can never hit another object of the same name.
func (m *moveJob) patch(a *stage.Action) ([]byte, error) {
	obj, ok := a.Data.(map[string]any)
	if !ok {
		return m.operations(a)
	}
	with := make(map[string]any, len(obj)+1)
	for k, v := range obj {
		with[k] = v
	}
	meta := map[string]any{"uid": m.refer.UID}
	if old, ok := obj["metadata"].(map[string]any); ok {
		for k, v := range old {
			meta[k] = v
		}
	}
	with["metadata"] = meta
	return json.Marshal(with)
}

// operations is a JSON patch that fails on another object, and on other finalizers than it was made for.
func (m *moveJob) operations(a *stage.Action) ([]byte, error) {
	test := func(path string, value any) map[string]any {
		return map[string]any{"op": "test", "path": path, "value": value}
	}
	all := []any{test("/metadata/uid", m.refer.UID)}
	if len(a.Finalizers) > 0 {
		all = append(all, test("/metadata/finalizers", a.Finalizers))
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	ops, err := json.Marshal(a.Data)
	if err != nil {
		return nil, err
	}
	return append(append(text[:len(text)-1], ','), ops[1:]...), nil
}

// stale reports whether a JSON patch met another object than it was made for.
func (r *result) stale() bool {
	if r.code != http.StatusUnprocessableEntity || r.done >= len(r.move.actions) {
		return false
	}
	s := statusOf(r.body)
	return r.move.actions[r.done].Type == stage.JSONPatch && s != nil && strings.Contains(s.Message, "test")
}

func (r *result) fetch(ctx context.Context, do Doer) {
	path := r.get.path
	if r.get.cached {
		path += "?resourceVersion=0"
	}
	r.reply = do.Do(ctx, &request{lane: r.lane, method: http.MethodGet, path: path, accept: r.get.kind.accept()})
	if r.reply.ok() {
		r.obj, r.err = r.get.kind.object(r.reply.body)
	}
}

func formatUID(u [16]byte) string {
	var s [36]byte
	hex.Encode(s[:], u[:4])
	s[8] = '-'
	hex.Encode(s[9:], u[4:6])
	s[13] = '-'
	hex.Encode(s[14:], u[6:8])
	s[18] = '-'
	hex.Encode(s[19:], u[8:10])
	s[23] = '-'
	hex.Encode(s[24:], u[10:])
	return string(s[:])
}
