package snapshot

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
)

// Filter says which objects of a snapshot in YAML are meant, and what to do about the others.
type Filter struct {
	Kinds      []string // resource, resource.group or resource.version.group; empty: all that are state
	Namespaces []string // empty: all; else objects in these, and the namespaces themselves
	Labels     labels.Selector

	IgnoreErrors  bool // leave out objects that cannot be restored
	IgnoreUnknown bool // leave out objects of kinds that the API server does not have
	Shift         bool // move all times by the age of the snapshot

	Prefix string // of all keys in etcd
}

// selects tells whether an object is meant, but for its kind.
func (f Filter) selects(kind Kind, namespace, name string, set map[string]string) bool {
	if len(f.Namespaces) > 0 {
		if kind.Resource == "namespaces" && kind.Group == "" {
			namespace = name
		}
		if !slices.Contains(f.Namespaces, namespace) {
			return false
		}
	}
	return f.Labels == nil || f.Labels.Matches(labels.Set(set))
}

// DefaultPage is how many objects are asked for at a time.
const DefaultPage = 500

// A page is to have this many bytes. How large objects are is seen from a first, small one.
const (
	pageBytes = 4 << 20
	firstPage = 20
)

// List says what to write into a snapshot in YAML.
type List struct {
	Filter
	Page     int    // objects to ask for at a time; 0: DefaultPage
	Source   string // for the first line of the file
	As       string // user to act as; "": oneself
	AsGroups []string
	Simulate *Simulate // nil: objects stay as they are
}

// Listed is what was written.
type Listed struct {
	Objects  int
	Revision string
	Missing  []string // kinds that were not to be had, and why
}

// page is a part of the objects of one kind.
type page struct {
	kind  Kind
	items []any
	err   error
}

// SaveObjects writes the objects of an API server to out, all as they were at one moment.
func SaveObjects(ctx context.Context, kinds *Kinds, list List, out io.Writer, progress Progress) (*Listed, error) {
	chosen, err := kinds.Choose(list.Kinds)
	if err != nil {
		return nil, err
	}
	if list.Simulate != nil && len(list.Kinds) == 0 {
		chosen = slices.DeleteFunc(chosen, list.Simulate.leavesOut)
	}
	if list.Page == 0 {
		list.Page = DefaultPage
	}
	if len(list.Namespaces) > 0 {
		chosen = slices.DeleteFunc(chosen, func(k Kind) bool { return !k.Namespaced && k.String() != "namespaces" })
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &lister{kinds: kinds, list: list, pages: make(chan page, 1), done: &Listed{}}
	for _, version := range kinds.Unread {
		s.done.Missing = append(s.done.Missing, version+": its server does not answer")
	}
	go s.fetch(ctx, chosen)
	written := &counter{Writer: out}
	w := NewWriter(written)
	w.Begin(time.Now(), strings.TrimSpace("of "+list.Source))
	for p := range s.pages {
		if p.err != nil {
			return nil, p.err
		}
		for _, item := range p.items {
			if err := s.write(w, p.kind, item); err != nil {
				return nil, err
			}
		}
		if progress != nil {
			progress(int64(w.Count()), written.n, 0, 0)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if w.Count() == 0 {
		return nil, fmt.Errorf("save objects: there are none that were asked for%s", because(s.done.Missing))
	}
	w.End()
	s.done.Objects = w.Count()
	return s.done, w.Flush()
}

func because(missing []string) string {
	const most = 3
	switch n := len(missing); {
	case n == 0:
		return ""
	case n > most:
		return fmt.Sprintf("; not to be had were %s and %d more", strings.Join(missing[:most], ", "), n-most)
	}
	return "; not to be had were " + strings.Join(missing, ", ")
}

// lister fetches pages while others are written.
type lister struct {
	kinds *Kinds
	list  List
	pages chan page
	done  *Listed // Missing and Revision are the fetcher's until pages is closed
}

func (s *lister) fetch(ctx context.Context, chosen []Kind) {
	defer close(s.pages)
	for _, kind := range chosen {
		err := s.kind(ctx, kind)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return
		case s.list.Simulate != nil && (apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) ||
			apierrors.IsServiceUnavailable(err)):
			s.done.Missing = append(s.done.Missing, kind.String()+": "+reason(err))
		default:
			s.send(ctx, page{err: fmt.Errorf("list %s: %w", kind, err)})
			return
		}
	}
}

// reason is the reason of an error of the API, in a word or two.
func reason(err error) string {
	if r := apierrors.ReasonForError(err); r != "" {
		return strings.ToLower(string(r))
	}
	return err.Error()
}

func (s *lister) send(ctx context.Context, p page) {
	select {
	case s.pages <- p:
	case <-ctx.Done(): // nobody reads any more, or who does asks ctx
	}
}

// kind lists one kind, page by page, at the revision of the first list of all.
func (s *lister) kind(ctx context.Context, kind Kind) error {
	query, limit := url.Values{}, min(s.list.Page, firstPage)
	if s.list.Labels != nil {
		query.Set("labelSelector", s.list.Labels.String())
	}
	if s.done.Revision != "" {
		query.Set("resourceVersion", s.done.Revision)
		query.Set("resourceVersionMatch", "Exact")
	}
	namespace := ""
	if len(s.list.Namespaces) == 1 && kind.Namespaced {
		namespace = s.list.Namespaces[0]
	}
	for {
		query.Set("limit", strconv.Itoa(limit))
		list, size, err := s.kinds.page(ctx, kind, namespace, query)
		if err != nil {
			return err
		}
		if s.done.Revision == "" {
			s.done.Revision = list.Metadata.ResourceVersion
		}
		s.send(ctx, page{kind: kind, items: list.Items})
		if list.Metadata.Continue == "" {
			return ctx.Err()
		}
		if n := len(list.Items); n > 0 { // large objects come in smaller pages, so that memory does not depend on them
			limit = min(s.list.Page, max(1, pageBytes/(1+size/n)))
		}
		query.Set("continue", list.Metadata.Continue)
		query.Del("resourceVersion") // the token has it
		query.Del("resourceVersionMatch")
	}
}

// write writes one object, without what only its server can give it.
func (s *lister) write(w *Writer, kind Kind, item any) error {
	object, ok := item.(map[string]any)
	meta, _ := object["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	if !ok || name == "" {
		return fmt.Errorf("list %s: an item has no name", kind)
	}
	namespace, _ := meta["namespace"].(string)
	if f := (Filter{Namespaces: s.list.Namespaces}); !f.selects(kind, namespace, name, nil) { // the server has chosen by label
		return nil
	}
	object["apiVersion"], object["kind"] = kind.GroupVersion().String(), kind.Kind
	for _, field := range []string{"resourceVersion", "managedFields", "selfLink"} {
		delete(meta, field)
	}
	if s.list.Simulate != nil && !s.list.Simulate.change(kind, object, meta) {
		return nil
	}
	return w.Write(object)
}

// counter counts what is written through it.
type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}
