package snapshot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	sjson "sigs.k8s.io/json"

	"kwokctl/internal/kube"
)

// event is news of one object or, with all, of which objects of a kind there are.
type event struct {
	kind     Kind
	name     string         // namespace/name
	object   map[string]any // nil: it is gone
	all      map[string]bool
	revision uint64
	number   uint64 // among those of its kind
	at       time.Time
}

// queue is a heap of events by revision.
type queue []event

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].revision, q[j].revision), q[i].at.Compare(q[j].at), cmp.Compare(q[i].number, q[j].number)) < 0
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}

// watcher follows one kind.
type watcher struct {
	*recorder
	kind     Kind
	revision string // up to which all is known; "": nothing is
	number   uint64
}

// run follows the kind until ctx ends, whatever becomes of the server.
func (w *watcher) run(ctx context.Context) {
	const first, most = 100 * time.Millisecond, 5 * time.Second
	warned, pause := "", first
	for ctx.Err() == nil {
		err := w.once(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			warned, pause = "", first
			continue
		case apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
			w.revision = "" // it has to be listed anew
			continue
		case apierrors.IsNotFound(err): // its definition was removed, or is not served yet
			w.revision = ""
			w.send(ctx, event{all: map[string]bool{}, revision: ^uint64(0)})
		case apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err):
			w.Warn(fmt.Sprintf("%s is not recorded: %s", w.kind, reason(err)))
			return
		case warned != err.Error():
			warned = err.Error()
			w.Warn(fmt.Sprintf("watch %s: %v; trying again", w.kind, err))
		}
		if kube.Pause(ctx, pause) != nil {
			return
		}
		pause = min(2*pause, most)
	}
}

func (w *watcher) once(ctx context.Context) error {
	query, namespace := url.Values{}, ""
	if w.Labels != nil {
		query.Set("labelSelector", w.Labels.String())
	}
	if len(w.Namespaces) == 1 && w.kind.Namespaced {
		namespace = w.Namespaces[0]
	}
	if w.revision == "" {
		if err := w.list(ctx, namespace, query); err != nil {
			return err
		}
	}
	return w.kinds.client.Watch(ctx, w.kind.resource(), namespace, w.revision, query, func(kind string, text json.RawMessage) error {
		var item any
		if err := sjson.UnmarshalCaseSensitivePreserveInts(text, &item); err != nil {
			return err
		}
		revision := revisionOf(item)
		if kind != "BOOKMARK" {
			object, name := w.clean(w.kind, item)
			if object != nil {
				e := event{name: name, object: object, revision: number(revision)}
				if kind == "DELETED" {
					e.object = nil
				}
				w.send(ctx, e)
			}
		}
		w.revision = revision
		return ctx.Err()
	})
}

// list sends all objects as if each had just changed, and then which there are.
func (w *watcher) list(ctx context.Context, namespace string, query url.Values) error {
	all, at, next := map[string]bool{}, "", ""
	for {
		q := url.Values{"limit": {strconv.Itoa(w.Page)}}
		for key, values := range query {
			q[key] = values
		}
		if next != "" {
			q.Set("continue", next)
		}
		list, _, err := w.kinds.page(ctx, w.kind, namespace, q)
		if err != nil {
			return err
		}
		at, next = list.Metadata.ResourceVersion, list.Metadata.Continue
		for _, item := range list.Items {
			if object, name := w.clean(w.kind, item); object != nil {
				all[name] = true
				w.send(ctx, event{name: name, object: object, revision: number(at)})
			}
		}
		if next == "" {
			break
		}
	}
	w.send(ctx, event{all: all, revision: number(at)})
	if at == "" {
		return errors.New("a list has no revision")
	}
	w.revision = at
	return nil
}

func (w *watcher) send(ctx context.Context, e event) {
	w.number++
	e.kind, e.at, e.number = w.kind, time.Now(), w.number
	select {
	case w.events <- e:
	case <-ctx.Done():
	}
}

func revisionOf(item any) string {
	object, _ := item.(map[string]any)
	meta, _ := object["metadata"].(map[string]any)
	revision, _ := meta["resourceVersion"].(string)
	return revision
}

// number is a revision as a number; those of another form all count as equal, and leave the order to the time.
func number(revision string) uint64 {
	n, err := strconv.ParseUint(revision, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
