package controller

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kwokctl/internal/api"
	"kwokctl/internal/kube"
	"kwokctl/internal/stage"
)

// event is one change of an object.
type event struct {
	gone bool
	obj  stage.Object
}

// batch is what a reader hands to the loop. An epoch is a complete account of what there is: begin, events, end.
type batch struct {
	kind       kind
	begin, end bool
	events     []event
	where      *kube.Resource   // with begin: where the kind lives, if that had to be found
	missing    bool             // the API server does not have the kind
	refused    error            // we have no right to read it
	leases     map[string]lease // all leases there are
	files      []*api.Stage     // all Stages in files, when those changed
	fixed      []api.Object     // with filesRead: the Metrics and usages in files
	filesRead  bool
	metricsOf  string // the kind of metrics
	metrics    []*liveMetric
}

// reader watches one kind and never stops: it resumes where it was, or begins a new epoch when it cannot.
type reader struct {
	kind  kind
	name  string
	where *kube.Resource
	path  string // of the collection
	query url.Values
	do    Doer
	out   chan<- batch
	renew <-chan struct{} // asks for a new epoch
	log   *slog.Logger

	opened  bool      // a watch or a list was answered
	version string    // resume here; "" begins an epoch
	fresh   time.Time // when the last epoch was begun
}

// maxBatch bounds a batch.
const maxBatch = 256

// resyncTime after an epoch another one is begun: whatever was missed, by a fault of the server or of ours, is found.
const resyncTime = 10 * time.Minute

var (
	errExpired = errors.New("version too old")
	errNoKind  = errors.New("no such kind")
	errRenew   = errors.New("a new epoch is asked for")
)

// backoff is the time before try n, from 20 ms up to a second.
func backoff(n int) time.Duration { return min(20*time.Millisecond<<min(n, 10), time.Second) }

// After so many refusals we seem to have no right to a kind, and ask for it seldom.
const (
	maxRefusals  = 10
	maxForbidden = 15 * time.Second
)

// run reads until ctx ends, or until the server no longer has the kind.
func (r *reader) run(ctx context.Context) {
	failed := 0
	for ctx.Err() == nil {
		began := time.Now()
		err := r.renewable(ctx)
		if ctx.Err() != nil || errors.Is(err, errNoKind) && r.where != nil {
			return
		}
		if errors.Is(err, errExpired) || errors.Is(err, errRenew) {
			r.version = ""
		}
		lasted := time.Since(began)
		r.log.Debug("watch ended", "object", r.name, "elapsed", lasted, "err", err)
		if lasted > 5*time.Second || errors.Is(err, errRenew) {
			failed = 0
		}
		if failed++; failed == 2 {
			r.log.Info("waiting for the API server", "object", r.name, "err", err)
		}
		pause := backoff(failed)
		if forbidden(err) && failed > maxRefusals {
			pause = maxForbidden
			r.send(ctx, batch{kind: r.kind, refused: err})
		}
		if !wait(ctx, pause) {
			return
		}
	}
}

// renewable is once, cut short when a new epoch is asked for or due.
func (r *reader) renewable(ctx context.Context) error {
	inner, cancel := context.WithCancelCause(ctx)
	if r.version == "" {
		r.fresh = time.Now()
	}
	due := time.NewTimer(resyncTime - time.Since(r.fresh))
	defer due.Stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-r.renew:
			cancel(errRenew)
		case <-due.C:
			cancel(errRenew)
		case <-inner.Done():
		}
	})
	err := r.once(inner)
	cancel(nil)
	wg.Wait()
	if cause := context.Cause(inner); errors.Is(cause, errRenew) {
		return cause
	}
	return err
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

// once reads all there is, if we are to begin with that, opens one watch and reads it to its end.
func (r *reader) once(ctx context.Context) error {
	if r.version == "" {
		if err := r.list(ctx); err != nil {
			return err
		}
	}
	accept := protobufWatch
	if r.kind.json() {
		accept = r.kind.accept()
	}
	body, err := r.open(ctx, url.Values{"watch": {"true"}, "allowWatchBookmarks": {"true"}, "resourceVersion": {r.version}}, accept)
	if err != nil {
		return err
	}
	defer body.Close()
	return r.stream(ctx, body)
}

// open asks for the collection.
func (r *reader) open(ctx context.Context, q url.Values, accept string) (io.ReadCloser, error) {
	maps.Copy(q, r.query)
	body, rep := r.do.Open(ctx, r.path+"?"+q.Encode(), accept)
	switch {
	case body != nil:
		r.opened = true
		return body, nil
	case rep.code == http.StatusGone:
		return nil, errExpired
	case rep.code == http.StatusNotFound:
		return nil, errNoKind
	}
	return nil, rep.fault()
}

func (r *reader) send(ctx context.Context, b batch) bool {
	select {
	case r.out <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

// stream reads the events of a watch.
func (r *reader) stream(ctx context.Context, body io.Reader) (err error) {
	in := bufio.NewReaderSize(body, 64<<10)
	var f frames = &protobufFrames{in: in}
	if r.kind.json() {
		f = &jsonFrames{in}
	}
	b := batch{kind: r.kind}
	defer func() {
		if len(b.events) > 0 { // they are before the version we resume from
			r.send(ctx, b)
		}
	}()
	for {
		typ, raw, err := f.next()
		if err != nil {
			return err
		}
		if err := r.take(typ, raw, &b); err != nil {
			return err
		}
		if len(b.events) >= maxBatch || len(b.events) > 0 && f.waits() {
			full := b
			b = batch{kind: r.kind}
			if !r.send(ctx, full) {
				return ctx.Err()
			}
		}
	}
}

// take decodes an event into the batch.
func (r *reader) take(typ string, raw []byte, b *batch) error {
	if typ == "ERROR" {
		s := &metav1.Status{}
		read := s.Unmarshal
		if r.kind.json() {
			read = func(text []byte) error { return json.Unmarshal(text, s) }
		}
		if err := read(raw); err == nil && (s.Code == http.StatusGone || s.Reason == metav1.StatusReasonExpired) {
			return errExpired
		}
		return fmt.Errorf("read watch: %s", s.Message)
	}
	obj, err := decode(r.kind, raw)
	if err != nil {
		return err
	}
	r.version = obj.Meta().Version
	if typ == "BOOKMARK" {
		return nil
	}
	b.events = append(b.events, event{gone: typ == "DELETED", obj: obj})
	return nil
}

// pageLength is how many objects are asked for at once. The API server answers pages from its cache, for half of what a
// stream of single events (sendInitialEvents) costs it: that copies each object.
const pageLength = "1000"

// list reads all there is, page by page.
func (r *reader) list(ctx context.Context) error {
	q := url.Values{"limit": {pageLength}}
	for {
		body, err := r.open(ctx, q, r.kind.accept())
		if err != nil {
			return err
		}
		text, err := io.ReadAll(body)
		_ = body.Close() // read to its end
		if err != nil {
			return fmt.Errorf("read list: %w", err)
		}
		events, next, err := r.page(text)
		if err != nil {
			return err
		}
		b := batch{kind: r.kind, begin: !q.Has("continue"), where: r.where}
		for chunk := range slices.Chunk(events, maxBatch) {
			b.events = chunk
			if !r.send(ctx, b) {
				return ctx.Err()
			}
			b = batch{kind: r.kind}
		}
		b.events, b.end = nil, next == ""
		if (b.begin || b.end) && !r.send(ctx, b) { // a page may be empty
			return ctx.Err()
		}
		if next == "" {
			return nil
		}
		q.Set("continue", next)
	}
}

// page decodes a page and returns where the next one begins. From the last one on there is a version to resume from.
func (r *reader) page(body []byte) (events []event, next string, err error) {
	var meta metav1.ListMeta
	if r.kind.json() {
		events, meta, err = r.pageJSON(body)
	} else {
		events, meta, err = r.pageProtobuf(body)
	}
	if err == nil && meta.ResourceVersion == "" { // every list has one; an empty answer would mean that all are gone
		err = errors.New("read list: it has no resourceVersion")
	}
	if err == nil && meta.Continue == "" {
		r.version = meta.ResourceVersion
	}
	return events, meta.Continue, err
}

func (r *reader) pageJSON(body []byte) (events []event, meta metav1.ListMeta, err error) {
	var l struct {
		APIVersion, Kind string
		Metadata         metav1.ListMeta
		Items            []json.RawMessage
	}
	if err := json.Unmarshal(body, &l); err != nil {
		return nil, meta, fmt.Errorf("decode list: %w", err)
	}
	for _, item := range l.Items {
		obj, err := decode(r.kind, item)
		if err != nil {
			return nil, meta, err
		}
		if tree := obj.Tree(); tree["kind"] == nil { // lists of built-in kinds say it once, for all
			tree["apiVersion"], tree["kind"] = l.APIVersion, strings.TrimSuffix(l.Kind, "List")
			obj = stage.NewTree(tree)
		}
		events = append(events, event{obj: obj})
	}
	return events, l.Metadata, nil
}

// pageProtobuf reads the message of any list: its metadata, and the items one by one.
func (r *reader) pageProtobuf(body []byte) (events []event, meta metav1.ListMeta, err error) {
	msg, err := open(body)
	if err != nil {
		return nil, meta, err
	}
	head, err := part(msg, 1)
	if err != nil {
		return nil, meta, err
	}
	if err := meta.Unmarshal(head); err != nil {
		return nil, meta, fmt.Errorf("decode list: %w", err)
	}
	err = parts(msg, func(number protowire.Number, item []byte) error {
		if number != 2 {
			return nil
		}
		obj, err := decode(r.kind, item)
		events = append(events, event{obj: obj})
		return err
	})
	return events, meta, err
}
