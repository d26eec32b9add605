package controller

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kwokctl/internal/stage"
)

// event is one change of a pod or node.
type event struct {
	gone bool
	obj  stage.Object
}

// batch is what a reader hands to the loop. An epoch is a complete account of what there is: begin, events, end.
type batch struct {
	kind       kind
	begin, end bool
	events     []event
	leases     map[string]lease // all leases there are, once
}

// reader watches one kind and never stops: it resumes where it was, or begins a new epoch when it cannot.
type reader struct {
	kind  kind
	path  string // of the collection
	query url.Values
	do    Doer
	out   chan<- batch
	log   *slog.Logger

	version string // resume here; "" begins an epoch
	paged   bool   // the server cannot stream the initial state
}

// maxBatch bounds a batch.
const maxBatch = 256

var errExpired = errors.New("version too old")

// backoff is the time before try n, from 20 ms up to a second.
func backoff(n int) time.Duration { return min(20*time.Millisecond<<min(n, 10), time.Second) }

// run reads until ctx ends.
func (r *reader) run(ctx context.Context) {
	failed := 0
	for ctx.Err() == nil {
		began := time.Now()
		err := r.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errExpired) {
			r.version = ""
		}
		lasted := time.Since(began)
		r.log.Debug("watch ended", "object", r.kind.String(), "elapsed", lasted, "err", err)
		if lasted > 5*time.Second {
			failed = 0
		}
		if failed++; failed == 2 {
			r.log.Info("waiting for the API server", "object", r.kind.String(), "err", err)
		}
		if !wait(ctx, backoff(failed)) {
			return
		}
	}
}

// wait waits, and reports whether ctx is still alive.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// once opens one watch and reads it to its end.
func (r *reader) once(ctx context.Context) error {
	q := url.Values{"watch": {"true"}, "allowWatchBookmarks": {"true"}}
	for k, v := range r.query {
		q[k] = v
	}
	initial := r.version == ""
	if initial && r.paged {
		if err := r.list(ctx); err != nil {
			return err
		}
		initial = false
	}
	if initial {
		q.Set("sendInitialEvents", "true")
		q.Set("resourceVersionMatch", "NotOlderThan")
	} else {
		q.Set("resourceVersion", r.version)
	}
	body, rep := r.do.Open(ctx, r.path+"?"+q.Encode())
	if body == nil {
		if rep.code == http.StatusGone {
			return errExpired
		}
		if initial && (rep.code == http.StatusUnprocessableEntity || rep.code == http.StatusBadRequest) {
			r.paged = true
		}
		return rep.fault()
	}
	defer body.Close()
	if initial && !r.send(ctx, batch{kind: r.kind, begin: true}) {
		return ctx.Err()
	}
	return r.stream(ctx, body)
}

func (r *reader) send(ctx context.Context, b batch) bool {
	select {
	case r.out <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

// stream reads frames: a length of four bytes and an event.
func (r *reader) stream(ctx context.Context, body io.Reader) (err error) {
	in := bufio.NewReaderSize(body, 64<<10)
	var frame []byte
	b := batch{kind: r.kind}
	defer func() {
		if len(b.events) > 0 { // they are before the version we resume from
			r.send(ctx, b)
		}
	}()
	for {
		var size [4]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return fmt.Errorf("read watch: %w", err)
		}
		n := int(binary.BigEndian.Uint32(size[:]))
		if n > 64<<20 {
			return fmt.Errorf("read watch: frame of %d bytes", n)
		}
		if cap(frame) < n {
			frame = make([]byte, n+n/4)
		}
		frame = frame[:n]
		if _, err := io.ReadFull(in, frame); err != nil {
			return fmt.Errorf("read watch: %w", err)
		}
		if err := r.take(frame, &b); err != nil {
			return err
		}
		if b.end || len(b.events) >= maxBatch || len(b.events) > 0 && in.Buffered() < 4 {
			full := b
			b = batch{kind: r.kind}
			if !r.send(ctx, full) {
				return ctx.Err()
			}
		}
	}
}

// take decodes a frame into the batch.
func (r *reader) take(frame []byte, b *batch) error {
	typ, err := part(frame, 1)
	if err != nil {
		return err
	}
	ext, err := part(frame, 2)
	if err != nil {
		return err
	}
	sealed, err := part(ext, 1)
	if err != nil {
		return err
	}
	raw, err := open(sealed)
	if err != nil {
		return err
	}
	if string(typ) == "ERROR" {
		s := &metav1.Status{}
		if err := s.Unmarshal(raw); err == nil && (s.Code == http.StatusGone || s.Reason == metav1.StatusReasonExpired) {
			return errExpired
		}
		return fmt.Errorf("read watch: %s", s.Message)
	}
	obj, end, err := decode(r.kind, raw)
	if err != nil {
		return err
	}
	if string(typ) == "BOOKMARK" {
		b.end = end
		r.version = obj.Meta().Version
		return nil
	}
	// While the initial state streams in, there is no version to resume from: the events come in any order.
	if r.version != "" {
		r.version = obj.Meta().Version
	}
	b.events = append(b.events, event{gone: string(typ) == "DELETED", obj: obj})
	return nil
}

// decode reads a pod or node. end tells the bookmark that closes the initial state.
func decode(k kind, raw []byte) (obj stage.Object, end bool, err error) {
	switch k {
	case pods:
		p := &corev1.Pod{}
		if err := p.Unmarshal(raw); err != nil {
			return nil, false, fmt.Errorf("decode pod: %w", err)
		}
		p.ManagedFields = nil
		return stage.NewPod(p), p.Annotations[metav1.InitialEventsAnnotationKey] == "true", nil
	default:
		n := &corev1.Node{}
		if err := n.Unmarshal(raw); err != nil {
			return nil, false, fmt.Errorf("decode node: %w", err)
		}
		n.ManagedFields = nil
		return stage.NewNode(n), n.Annotations[metav1.InitialEventsAnnotationKey] == "true", nil
	}
}

// list reads the initial state page by page.
func (r *reader) list(ctx context.Context) error {
	if !r.send(ctx, batch{kind: r.kind, begin: true}) {
		return ctx.Err()
	}
	q := url.Values{"limit": {"500"}}
	for k, v := range r.query {
		q[k] = v
	}
	for {
		rep := r.do.Do(ctx, &request{lane: normal, method: http.MethodGet, path: r.path + "?" + q.Encode()})
		if !rep.ok() {
			if rep.code == http.StatusGone {
				return errExpired
			}
			return rep.fault()
		}
		b := batch{kind: r.kind}
		next, err := r.page(rep.body, &b)
		if err != nil {
			return err
		}
		b.end = next == ""
		if !r.send(ctx, b) {
			return ctx.Err()
		}
		if b.end {
			return nil
		}
		q.Set("continue", next)
	}
}

func (r *reader) page(body []byte, b *batch) (next string, err error) {
	raw, err := open(body)
	if err != nil {
		return "", err
	}
	if r.kind == pods {
		var l corev1.PodList
		if err := l.Unmarshal(raw); err != nil {
			return "", fmt.Errorf("decode pods: %w", err)
		}
		for i := range l.Items {
			l.Items[i].ManagedFields = nil
			b.events = append(b.events, event{obj: stage.NewPod(&l.Items[i])})
		}
		next, r.version = l.Continue, l.ResourceVersion
	} else {
		var l corev1.NodeList
		if err := l.Unmarshal(raw); err != nil {
			return "", fmt.Errorf("decode nodes: %w", err)
		}
		for i := range l.Items {
			l.Items[i].ManagedFields = nil
			b.events = append(b.events, event{obj: stage.NewNode(&l.Items[i])})
		}
		next, r.version = l.Continue, l.ResourceVersion
	}
	if next != "" {
		r.version = "" // not before the last page
	}
	return next, nil
}
