package controller

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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
	kind                 kind
	uid, namespace, name string
	stage                string
	actions              []stage.Action
}

// getJob reads an object, from the server's cache or from the store.
type getJob struct {
	kind            kind
	namespace, name string
	cached          bool
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
			r.perform(l.ctx, l.do)
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

func pathOf(k kind, namespace, name, subresource string) string {
	var b strings.Builder
	b.WriteString("/api/v1/")
	if k == pods {
		b.WriteString("namespaces/" + namespace + "/pods/" + name)
	} else {
		b.WriteString("nodes/" + name)
	}
	if subresource != "" {
		b.WriteString("/" + subresource)
	}
	return b.String()
}

// perform does one action after the other. A later one builds on the version the former made.
func (r *result) perform(ctx context.Context, do Doer) {
	for _, a := range r.move.actions {
		req, err := r.move.request(&a, r.lane)
		if err != nil {
			r.err = err
			return
		}
		r.reply = do.Do(ctx, req)
		switch {
		case a.Kind == stage.Event: // losing one is allowed
			r.reply = reply{code: http.StatusCreated}
		case !r.reply.ok():
			return
		case a.Kind == stage.Delete:
			r.deleted = true
		case a.Kind == stage.Patch:
			if v := number64(versionOf(r.reply.body)); v != 0 {
				r.version = v
			}
		}
		r.done++
	}
}

// request makes the request of an action.
func (m *moveJob) request(a *stage.Action, in lane) (*request, error) {
	r := &request{lane: in, path: pathOf(m.kind, m.namespace, m.name, a.Subresource), accept: metaOnly, as: a.As}
	var err error
	switch {
	case a.Kind == stage.Event:
		return m.event(a, in)
	case a.Kind == stage.Delete:
		zero, uid := int64(0), types.UID(m.uid)
		opts := &metav1.DeleteOptions{GracePeriodSeconds: &zero}
		if uid != "" {
			opts.Preconditions = &metav1.Preconditions{UID: &uid}
		}
		r.method, r.ctype = http.MethodDelete, protobuf
		r.body, err = seal("v1", "DeleteOptions", opts)
	case a.Kind == stage.Apply:
		return nil, errors.New("apply: not supported yet")
	case a.Put != nil:
		r.method, r.ctype = http.MethodPut, protobuf
		r.body, err = seal("v1", "Pod", a.Put)
	default:
		r.method, r.ctype = http.MethodPatch, a.Type
		r.path += "?fieldValidation=Ignore"
		r.body, err = m.patch(a)
	}
	return r, err
}

// patch is the JSON of a patch, with the uid so that it can never hit another object of the same name.
func (m *moveJob) patch(a *stage.Action) ([]byte, error) {
	data := a.Data
	if obj, ok := data.(map[string]any); ok && m.uid != "" {
		with := map[string]any{}
		for k, v := range obj {
			with[k] = v
		}
		meta := map[string]any{"uid": m.uid}
		if old, ok := obj["metadata"].(map[string]any); ok {
			for k, v := range old {
				meta[k] = v
			}
		}
		with["metadata"] = meta
		data = with
	}
	return json.Marshal(data)
}

func (m *moveJob) event(a *stage.Action, in lane) (*request, error) {
	namespace := m.namespace
	if namespace == "" {
		namespace = "default"
	}
	now := metav1.Now()
	kindName := map[kind]string{pods: "Pod", nodes: "Node"}[m.kind]
	body, err := seal("v1", "Event", &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: m.name + ".", Namespace: namespace},
		InvolvedObject: corev1.ObjectReference{Kind: kindName, APIVersion: "v1", Namespace: m.namespace, Name: m.name,
			UID: types.UID(m.uid)},
		Type: a.Event.Type, Reason: a.Event.Reason, Message: a.Event.Message, Count: 1,
		FirstTimestamp: now, LastTimestamp: now, Source: corev1.EventSource{Component: "kwok_controller"},
	})
	return &request{lane: in, method: http.MethodPost, path: "/api/v1/namespaces/" + namespace + "/events", ctype: protobuf,
		accept: metaOnly, body: body}, err
}

func (r *result) fetch(ctx context.Context, do Doer) {
	path := pathOf(r.get.kind, r.get.namespace, r.get.name, "")
	if r.get.cached {
		path += "?resourceVersion=0"
	}
	r.reply = do.Do(ctx, &request{lane: r.lane, method: http.MethodGet, path: path})
	if !r.reply.ok() {
		return
	}
	raw, err := open(r.reply.body)
	if err == nil {
		r.obj, _, err = decode(r.get.kind, raw)
	}
	r.err = err
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
