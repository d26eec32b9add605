package controller

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	paged   bool      // the server cannot stream the initial state
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
	accept := protobufWatch
	if r.kind.json() {
		accept = "application/json"
	}
	body, rep := r.do.Open(ctx, r.path+"?"+q.Encode(), accept)
	if body == nil {
		switch rep.code {
		case http.StatusGone:
			return errExpired
		case http.StatusNotFound:
			return errNoKind
		}
		if initial && (rep.code == http.StatusUnprocessableEntity || rep.code == http.StatusBadRequest) {
			r.paged = true
		}
		return rep.fault()
	}
	defer body.Close()
	r.opened = true
	if initial && !r.send(ctx, batch{kind: r.kind, begin: true, where: r.where}) {
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
		if b.end || len(b.events) >= maxBatch || len(b.events) > 0 && f.waits() {
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
	obj, end, err := decode(r.kind, raw)
	if err != nil {
		return err
	}
	if typ == "BOOKMARK" {
		b.end = end
		r.version = obj.Meta().Version
		return nil
	}
	// While the initial state streams in, there is no version to resume from: the events come in any order.
	if r.version != "" {
		r.version = obj.Meta().Version
	}
	b.events = append(b.events, event{gone: typ == "DELETED", obj: obj})
	return nil
}

// list reads the initial state page by page.
func (r *reader) list(ctx context.Context) error {
	if !r.send(ctx, batch{kind: r.kind, begin: true, where: r.where}) {
		return ctx.Err()
	}
	q := url.Values{"limit": {"500"}}
	for k, v := range r.query {
		q[k] = v
	}
	for {
		rep := r.do.Do(ctx, &request{lane: normal, method: http.MethodGet, path: r.path + "?" + q.Encode(), accept: r.kind.accept()})
		if !rep.ok() {
			switch rep.code {
			case http.StatusGone:
				return errExpired
			case http.StatusNotFound:
				return errNoKind
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
	if r.kind.json() {
		next, err = r.pageJSON(body, b)
	} else {
		next, err = r.pageProtobuf(body, b)
	}
	if next != "" {
		r.version = "" // not before the last page
	}
	return next, err
}

func (r *reader) pageJSON(body []byte, b *batch) (next string, err error) {
	var l struct {
		APIVersion, Kind string
		Metadata         metav1.ListMeta
		Items            []json.RawMessage
	}
	if err := json.Unmarshal(body, &l); err != nil {
		return "", fmt.Errorf("decode list: %w", err)
	}
	for _, item := range l.Items {
		obj, _, err := decode(r.kind, item)
		if err != nil {
			return "", err
		}
		if tree := obj.Tree(); tree["kind"] == nil { // lists of built-in kinds say it once, for all
			tree["apiVersion"], tree["kind"] = l.APIVersion, strings.TrimSuffix(l.Kind, "List")
			obj = stage.NewTree(tree)
		}
		b.events = append(b.events, event{obj: obj})
	}
	r.version = l.Metadata.ResourceVersion
	return l.Metadata.Continue, nil
}

func (r *reader) pageProtobuf(body []byte, b *batch) (next string, err error) {
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
		r.version = l.ResourceVersion
		return l.Continue, nil
	}
	var l corev1.NodeList
	if err := l.Unmarshal(raw); err != nil {
		return "", fmt.Errorf("decode nodes: %w", err)
	}
	for i := range l.Items {
		l.Items[i].ManagedFields = nil
		b.events = append(b.events, event{obj: stage.NewNode(&l.Items[i])})
	}
	r.version = l.ResourceVersion
	return l.Continue, nil
}
