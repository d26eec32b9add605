package snapshot

import (
	"container/heap"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/version"
	sjson "sigs.k8s.io/json"
)

const (
	// settleTime is how long a change waits for those before it, which may come by another watch.
	settleTime = 200 * time.Millisecond
	// maxWaiting is how many changes may wait so. Beyond it they are written, in the order they are in by then.
	maxWaiting = 4096
)

// Record says what to record.
type Record struct {
	List
	// Snapshot ends the recording after the objects that are there.
	Snapshot bool
	// Warn is told what cannot be recorded, and of interruptions.
	Warn func(text string)
	// Begun is told how many objects were written, when from then on every change is.
	Begun func(objects int)
	// Progress is told, now and then, how many objects, changes and bytes were written.
	Progress func(objects, changes int, bytes int64)
}

// Recorded is what was recorded.
type Recorded struct {
	Objects, Changes int
	Length           time.Duration
}

// Run writes the objects of an API server to out, as they are at one moment, and then every change, as soon as it is
// known, until ctx ends; that is no error. Each change was there when those behind it came: changes of all kinds are
// put into the order of their revisions.
func (r Record) Run(ctx context.Context, kinds *Kinds, out *Output) (*Recorded, error) {
	chosen, err := kinds.Choose(r.Kinds)
	if err != nil {
		return nil, err
	}
	if r.Page == 0 {
		r.Page = DefaultPage
	}
	chosen = slices.DeleteFunc(chosen, func(k Kind) bool { return !r.records(k) })
	rec := &recorder{Record: r, kinds: kinds, out: out, start: time.Now(), last: map[string]map[string][]byte{},
		events: make(chan event, 64), watched: map[string]bool{}}
	rec.written.Writer = out
	rec.w = NewWriter(&rec.written)
	rec.w.Begin(rec.start, strings.TrimSpace("and recording of "+r.Source))
	revision, err := rec.objects(ctx, chosen)
	if err != nil {
		return nil, err
	}
	rec.done.Objects = rec.w.Count()
	if !r.Snapshot {
		r.Begun(rec.done.Objects)
		if err := rec.follow(ctx, chosen, revision); err != nil {
			return nil, err
		}
	}
	rec.done.Changes = rec.w.Count() - rec.done.Objects
	rec.done.Length = time.Since(rec.start)
	rec.w.End()
	return &rec.done, rec.w.Flush()
}

// records tells whether a kind that was not asked for by name is recorded.
func (r Record) records(k Kind) bool {
	if len(r.Namespaces) > 0 && !k.Namespaced && k.String() != "namespaces" {
		return false
	}
	return len(r.Kinds) > 0 || r.Simulate == nil || !r.Simulate.leavesOut(k)
}

type recorder struct {
	Record
	kinds   *Kinds
	out     *Output
	w       *Writer
	written counter
	start   time.Time
	done    Recorded
	last    map[string]map[string][]byte // by kind and name: the object as it was written last, as JSON
	events  chan event                   // from the watches
	waiting queue
	watched map[string]bool // kinds
	begin   func(Kind)      // watches one more
}

// objects writes the objects that are there and returns the revision at which they are so.
func (r *recorder) objects(ctx context.Context, chosen []Kind) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &lister{kinds: r.kinds, list: r.List, pages: make(chan page, 1), done: &Listed{}}
	go s.fetch(ctx, chosen)
	for p := range s.pages {
		if p.err != nil {
			return "", p.err
		}
		for _, item := range p.items {
			var err error
			object, name := r.clean(p.kind, item)
			if object == nil {
				continue
			}
			if err := r.remember(p.kind, name, object); err != nil {
				return "", err
			}
			if object, err = relative(p.kind, object, r.start); err != nil {
				return "", err
			}
			if err := r.w.Write(object); err != nil {
				return "", err
			}
		}
		r.Progress(r.w.Count(), 0, r.written.n)
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	for _, version := range r.kinds.Unread {
		r.Warn(version + " is not recorded: its server does not answer")
	}
	for _, missing := range s.done.Missing {
		r.Warn("not recorded: " + missing)
	}
	if s.done.Revision == "" {
		return "", fmt.Errorf("record: there is nothing to watch%s", because(s.done.Missing))
	}
	return s.done.Revision, r.flush()
}

// clean takes from an object what only its server can give it. It returns nil if the object is not meant.
func (r *recorder) clean(kind Kind, item any) (object map[string]any, name string) {
	object, _ = item.(map[string]any)
	meta, _ := object["metadata"].(map[string]any)
	own, _ := meta["name"].(string)
	namespace, _ := meta["namespace"].(string)
	if own == "" || !(Filter{Namespaces: r.Namespaces}).selects(kind, namespace, own, nil) { // the server has chosen by label
		return nil, ""
	}
	object["apiVersion"], object["kind"] = kind.GroupVersion().String(), kind.Kind
	for _, field := range []string{"resourceVersion", "managedFields", "selfLink"} {
		delete(meta, field)
	}
	if r.Simulate != nil && !r.Simulate.change(kind, object, meta) {
		return nil, ""
	}
	return object, namespace + "/" + own
}

func (r *recorder) remember(kind Kind, name string, object map[string]any) error {
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	if r.last[kind.String()] == nil {
		r.last[kind.String()] = map[string][]byte{}
	}
	r.last[kind.String()][name] = text
	return nil
}

// follow writes changes until ctx ends, and then those that are on their way.
func (r *recorder) follow(ctx context.Context, chosen []Kind, revision string) error {
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	r.begin = func(kind Kind) {
		r.watched[kind.String()] = true
		w := &watcher{recorder: r, kind: kind}
		go w.run(watching)
	}
	for _, kind := range chosen {
		r.watched[kind.String()] = true
		w := &watcher{recorder: r, kind: kind, revision: revision}
		go w.run(watching)
	}
	ended := ctx.Done()
	var last <-chan time.Time
	for {
		var due <-chan time.Time
		if len(r.waiting) > 0 {
			due = time.After(time.Until(r.waiting[0].at.Add(settleTime)))
		}
		select {
		case e := <-r.events:
			heap.Push(&r.waiting, e)
			if len(r.waiting) <= maxWaiting {
				continue
			}
		case <-due:
		case <-ended:
			ended, last = nil, time.After(settleTime+settleTime/2)
			continue
		case <-last:
			for len(r.waiting) > 0 {
				if err := r.write(heap.Pop(&r.waiting).(event)); err != nil {
					return err
				}
			}
			return nil
		}
		if err := r.writeDue(); err != nil {
			return err
		}
	}
}

// writeDue writes the changes that have waited long enough.
func (r *recorder) writeDue() error {
	for now := time.Now(); len(r.waiting) > 0; {
		if head := r.waiting[0]; len(r.waiting) <= maxWaiting && head.at.Add(settleTime).After(now) {
			break
		}
		if err := r.write(heap.Pop(&r.waiting).(event)); err != nil {
			return err
		}
	}
	if changes := r.w.Count() - r.done.Objects; changes > r.done.Changes {
		r.done.Changes = changes
		r.Progress(r.done.Objects, changes, r.written.n)
		return r.flush()
	}
	return nil
}

// flush hands on what was written. Should it be the last, it is known to be whole.
func (r *recorder) flush() error {
	r.w.puts(markWhole)
	if err := r.w.Flush(); err != nil {
		return err
	}
	return r.out.Flush()
}

// write writes what an event changed.
func (r *recorder) write(e event) error {
	own := r.last[e.kind.String()]
	switch {
	case e.all != nil: // what is not among them is gone
		for _, name := range slices.Sorted(maps.Keys(own)) {
			if !e.all[name] {
				delete(own, name)
				if err := r.append(e, name, methodDelete, nil); err != nil {
					return err
				}
			}
		}
		return nil
	case e.object == nil:
		if own[e.name] == nil {
			return nil
		}
		delete(own, e.name)
		return r.append(e, e.name, methodDelete, nil)
	}
	old := own[e.name]
	if err := r.remember(e.kind, e.name, e.object); err != nil {
		return err
	}
	now := r.last[e.kind.String()][e.name]
	r.discover(e, now)
	if old == nil {
		return r.append(e, e.name, methodCreate, e.object)
	}
	if same(old, now) {
		return nil
	}
	text, ok, err := difference(e.kind, old, now)
	if err != nil {
		return err
	}
	if !ok { // to create an object that is there replaces it
		return r.append(e, e.name, methodCreate, e.object)
	}
	var patch map[string]any
	if err := sjson.UnmarshalCaseSensitivePreserveInts(text, &patch); err != nil {
		return err
	}
	return r.append(e, e.name, methodPatch, patch)
}

// discover begins to watch a custom kind that is new.
func (r *recorder) discover(e event, text []byte) {
	if e.kind.Resource != "customresourcedefinitions" || len(r.Kinds) > 0 || r.kinds.define(text) != nil {
		return
	}
	var newest Kind
	for _, kind := range r.kinds.byType {
		if kind.String() == strings.TrimPrefix(e.name, "/") && version.CompareKubeAwareVersionStrings(kind.Version, newest.Version) > 0 {
			newest = kind
		}
	}
	if newest.Resource != "" && !r.watched[newest.String()] && r.records(newest) {
		r.begin(newest)
	}
}

// append writes one change.
func (r *recorder) append(e event, name, method string, template map[string]any) error {
	c := change{Method: method, After: max(r.done.Length, e.at.Sub(r.start))}
	r.done.Length = c.After // none is before the one before
	c.Resource.Group, c.Resource.Version, c.Resource.Resource = e.kind.Group, e.kind.Version, e.kind.Resource
	c.Target.Namespace, c.Target.Name, _ = strings.Cut(name, "/")
	if template != nil {
		var err error
		if template, err = relative(e.kind, template, r.start); err != nil {
			return err
		}
	}
	return r.w.Write(c.document(template))
}
