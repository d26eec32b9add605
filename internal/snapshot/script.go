package snapshot

import (
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// reorder is how many changes are held back to be put into the order of their times: upstream writes them in about
// this order.
const reorder = 1024

// entry is an object or a change of a recording, of a kind that is known.
type entry struct {
	line   int
	kind   Kind
	name   string // of the object
	space  string // its namespace
	object json.RawMessage
	change *change // nil: the object is one of the snapshot
	number int
}

func (e *entry) String() string {
	if e.change != nil {
		return e.change.String()
	}
	return fmt.Sprintf("%s %s", e.kind, strings.TrimPrefix(e.space+"/"+e.name, "/"))
}

// unknownKind is the error of an entry of a kind that the API server does not have.
type unknownKind struct{ name string }

func (e *unknownKind) Error() string { return "kind " + e.name + ": the API server does not have it" }

// script reads a recording.
type script struct {
	kinds *Kinds
	in    *Reader
	// skip is told what is wrong with an entry, which is then left out; its error ends the script.
	skip func(line int, err error) error
	// cut is why the recording ends early, nil when it does not.
	cut error

	next    *Document // was read ahead
	ended   bool
	waiting schedule
	number  int
	changes int
}

func newScript(ctx context.Context, in *Input, kinds *Kinds, start time.Time, skip func(int, error) error) (*script, error) {
	if err := in.Rewind(); err != nil {
		return nil, err
	}
	r := NewReader(contextReader{ctx, in}, in.Name)
	r.Now = start
	return &script{kinds: kinds, in: r, skip: skip}, nil
}

// each calls do with every entry: first the objects, then the changes by time.
func (s *script) each(do func(*entry) error) error {
	for !s.ended {
		e, err := s.read()
		if err != nil {
			return err
		}
		switch {
		case e == nil:
		case e.change == nil && s.changes > 0:
			err = s.skip(e.line, fmt.Errorf("%s: an object after changes", e))
		case e.change == nil:
			err = s.do(e, do)
		default:
			s.changes++
			heap.Push(&s.waiting, e)
			if len(s.waiting) > reorder {
				err = s.do(heap.Pop(&s.waiting).(*entry), do)
			}
		}
		if err != nil {
			return err
		}
	}
	for len(s.waiting) > 0 {
		if err := s.do(heap.Pop(&s.waiting).(*entry), do); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) do(e *entry, do func(*entry) error) error {
	if err := do(e); err != nil {
		return s.skip(e.line, fmt.Errorf("%s: %w", e, err))
	}
	return nil
}

// read returns the next entry, nil if there is none where one was looked for.
func (s *script) read() (*entry, error) {
	d, err := s.document()
	if err != nil || s.ended {
		return nil, err
	}
	if !d.Whole && s.in.begun && !s.in.whole { // a recording of ours never ends so
		s.end(&LineError{s.in.name, d.Line, ErrCut})
		return nil, nil
	}
	e, err := s.parse(d)
	switch {
	case err == nil:
		return e, nil
	case !d.Whole && !errors.As(err, new(*unknownKind)):
		s.end(&LineError{s.in.name, d.Line, fmt.Errorf("%w: %w", ErrCut, err)})
		return nil, nil
	}
	return nil, s.skip(d.Line, err)
}

func (s *script) end(cut error) { s.ended, s.cut = true, cut }

// document reads the next document. What cannot be read at the end is a cut, elsewhere it is an error.
func (s *script) document() (Document, error) {
	if d := s.next; d != nil {
		s.next = nil
		return *d, nil
	}
	for {
		d, err := s.in.Next()
		var line *LineError
		switch {
		case err == nil:
			return d, nil
		case errors.Is(err, io.EOF):
			s.end(nil)
			return d, nil
		case errors.As(err, &line) && !errors.Is(err, ErrCut) && !errors.Is(err, errTooLong):
		case errors.Is(err, ErrCut) && !errors.As(err, &line):
			s.end(&LineError{s.in.name, s.in.line, ErrCut})
			return d, nil
		default:
			return d, err
		}
		behind, then := s.in.Next()
		if errors.Is(then, io.EOF) || errors.Is(then, ErrCut) && !errors.As(then, new(*LineError)) {
			s.end(&LineError{s.in.name, line.Line, ErrCut})
			return d, nil
		}
		if err := s.skip(line.Line, line.Err); err != nil {
			return d, err
		}
		if then == nil {
			return behind, nil
		}
	}
}

// parse finds out what a document is about.
func (s *script) parse(d Document) (*entry, error) {
	var h head
	if err := json.Unmarshal(d.JSON, &h); err != nil {
		return nil, fmt.Errorf("not an object of Kubernetes: %w", unfit(err))
	}
	s.number++
	e := &entry{line: d.Line, number: s.number, object: d.JSON, name: h.Metadata.Name, space: h.Metadata.Namespace}
	if isChange(&h) {
		if err := s.parseChange(e); err != nil {
			return nil, err
		}
	} else {
		gvk := schema.FromAPIVersionAndKind(h.APIVersion, h.Kind)
		known := false
		if e.kind, known = s.kinds.byType[gvk]; !known {
			return nil, &unknownKind{fmt.Sprintf("%s of %q", h.Kind, h.APIVersion)}
		}
	}
	if e.object != nil && e.kind.String() == "customresourcedefinitions.apiextensions.k8s.io" && (e.change == nil || e.change.Method == methodCreate) {
		if err := s.kinds.define(e.object); err != nil {
			return nil, err
		}
	}
	if bad := content.IsPathSegmentName(e.name); e.name == "" || len(bad) > 0 {
		return nil, fmt.Errorf("name %q: must be that of an object", e.name)
	}
	if bad := content.IsPathSegmentName(e.space); len(bad) > 0 || e.kind.Namespaced != (e.space != "") {
		return nil, fmt.Errorf("namespace %q: not one for %s", e.space, e.kind)
	}
	return e, nil
}

func (s *script) parseChange(e *entry) error {
	c := &change{}
	if err := json.Unmarshal(e.object, c); err != nil {
		return unfit(err)
	}
	e.change, e.name, e.space, e.object = c, c.Target.Name, c.Target.Namespace, c.Template
	switch {
	case !slices.Contains([]string{methodCreate, methodPatch, methodDelete}, c.Method):
		return fmt.Errorf("method %q: allowed are create, patch, delete", c.Method)
	case c.After < 0:
		return fmt.Errorf("durationNanosecond %d: must not be negative", c.After)
	case c.Method == methodDelete:
		e.object = nil
	case len(c.Template) == 0 || c.Template[0] != '{':
		return fmt.Errorf("template: missing, for method %s", c.Method)
	}
	gvr := schema.GroupVersionResource{Group: c.Resource.Group, Version: c.Resource.Version, Resource: c.Resource.Resource}
	for _, kind := range s.kinds.byType {
		if kind.Group == gvr.Group && kind.Version == gvr.Version && kind.Resource == gvr.Resource {
			e.kind = kind
			return nil
		}
	}
	return &unknownKind{fmt.Sprintf("%s of %q", gvr.Resource, gvr.GroupVersion())}
}

// schedule is a heap of changes by time.
type schedule []*entry

func (q schedule) Len() int      { return len(q) }
func (q schedule) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *schedule) Push(x any)   { *q = append(*q, x.(*entry)) }
func (q schedule) Less(i, j int) bool {
	if q[i].change.After != q[j].change.After {
		return q[i].change.After < q[j].change.After
	}
	return q[i].number < q[j].number
}

func (q *schedule) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return e
}
