package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"kwokctl/internal/kube"
)

// head is what every object has.
type head struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metav1.ObjectMeta `json:"metadata"`
}

func (h *head) String() string {
	name := h.Metadata.Name
	if h.Metadata.Namespace != "" {
		name = h.Metadata.Namespace + "/" + name
	}
	return strings.ToLower(h.Kind) + " " + name
}

// Objects is what is known of a snapshot in YAML when all of it has been checked.
type Objects struct {
	Count    int      // of the objects that are meant
	Unknown  []string // kinds that the API server does not have, with the line of the first
	Problems []error  // objects that cannot be restored
	Orphans  int      // owners that are neither in the file nor in the cluster

	kinds     *Kinds
	filter    Filter
	taken     time.Time
	manifests int // objects without a UID: no server has made them yet
	missing   []string
	skip      map[int]bool            // objects that have problems, by their number in the file, from 1
	owners    map[types.UID]types.UID // of those not in the file: what replaces them; "" for none
}

func (o *Objects) String() string {
	text := fmt.Sprintf("%d objects", o.Count)
	if !o.taken.IsZero() {
		text += ", taken " + o.taken.Format(time.RFC3339)
	}
	for _, u := range o.Unknown {
		text += "\n  left out: " + u
	}
	for _, err := range o.Problems {
		text += "\n  left out: " + err.Error()
	}
	if o.Orphans > 0 {
		text += fmt.Sprintf("\n  %d owners are neither in the file nor in the cluster; what they own is restored without them", o.Orphans)
	}
	return text
}

// checker reads a snapshot for the first time.
type checker struct {
	*Objects
	name    string
	seed    maphash.Seed
	keys    map[uint64]int // line of each object
	nodes   map[types.UID]int32
	lines   []int
	edges   [][]types.UID
	refs    map[types.UID]*ownerRef
	unknown map[schema.GroupVersionKind]*lost
	spaces  map[string]bool // namespaces that objects are in: whether they are in the file
}

type ownerRef struct {
	metav1.OwnerReference
	namespace string
}

// lost counts the objects of a kind that is not known, or not yet.
type lost struct {
	line, count int
	heads       []located // until the definition is found
}

type located struct {
	head
	line int
}

// CheckObjects reads a snapshot in YAML to its end and returns what it holds, or an error that names what cannot be
// restored. Without kinds it finds out what can be known without an API server.
func CheckObjects(ctx context.Context, in *Input, kinds *Kinds, f Filter, progress Progress) (*Objects, error) {
	r, err := in.reader(ctx)
	if err != nil {
		return nil, err
	}
	c := &checker{Objects: &Objects{kinds: kinds, filter: f, owners: map[types.UID]types.UID{}, skip: map[int]bool{}}, name: in.Name, seed: maphash.MakeSeed(), keys: map[uint64]int{},
		nodes: map[types.UID]int32{}, refs: map[types.UID]*ownerRef{}, unknown: map[schema.GroupVersionKind]*lost{}, spaces: map[string]bool{}}
	next, stop := r.ahead()
	defer stop()
	for n := 0; ; {
		d, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		in.tell(progress, 0, 0)
		if err == nil {
			n++
			if err = c.object(d); err != nil {
				c.skip[n] = true
			}
		}
		var line *LineError
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.As(err, &line) && !errors.Is(err, errTooLong) && !errors.Is(err, ErrCut) && !errors.Is(err, errRecording):
			c.Problems = append(c.Problems, err)
		default:
			return nil, err
		}
	}
	stop()
	c.taken = r.Taken
	return c.finish(ctx)
}

// finish judges what was read.
func (c *checker) finish(ctx context.Context) (*Objects, error) {
	for gvk, lost := range c.unknown {
		if _, ok := c.kinds.byType[gvk]; ok { // defined further down
			for _, l := range lost.heads {
				if err := c.known(c.kinds.byType[gvk], l.head, l.line, nil); err != nil {
					c.Problems = append(c.Problems, err)
				}
			}
			continue
		}
		c.Unknown = append(c.Unknown, fmt.Sprintf("%d of kind %s of %s, which the API server does not have, from line %d on", lost.count, gvk.Kind, gvk.GroupVersion(), lost.line))
	}
	slices.Sort(c.Unknown)
	if err := c.cycle(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	switch {
	case len(c.Problems) > 0 && !c.filter.IgnoreErrors:
		return nil, fmt.Errorf("%w%s; snapshot restore --ignore-errors leaves such objects out", c.Problems[0], andMore(len(c.Problems)))
	case len(c.Unknown) > 0 && !c.filter.IgnoreUnknown:
		return nil, fmt.Errorf("%s: it has objects of unknown kinds: %s%s; snapshot restore --ignore-unknown leaves them out", c.name, c.Unknown[0], andMore(len(c.Unknown)))
	case c.Count == 0:
		return nil, fmt.Errorf("%s: it has no objects that are asked for", c.name)
	case c.kinds == nil:
		return c.Objects, nil
	}
	for uid, ref := range c.refs {
		if _, ok := c.nodes[uid]; ok {
			continue
		}
		var err error
		if c.owners[uid], err = c.find(ctx, ref); err != nil {
			return nil, err
		}
		if c.owners[uid] == "" {
			c.Orphans++
		}
	}
	for space, in := range c.spaces {
		if in {
			continue
		}
		uid, err := c.find(ctx, &ownerRef{OwnerReference: metav1.OwnerReference{APIVersion: "v1", Kind: "Namespace", Name: space}})
		if err != nil {
			return nil, err
		}
		if uid == "" {
			c.missing = append(c.missing, space)
		}
	}
	slices.Sort(c.missing)
	return c.Objects, nil
}

// andMore counts what stands behind the first of n.
func andMore(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", n-1)
}

// errRecording is a change among objects.
var errRecording = errors.New("it is a recording, which kwokctl snapshot replay plays; from here on it holds changes")

// object takes note of one object.
func (c *checker) object(d Document) error {
	at := func(err error) error { return &LineError{c.name, d.Line, err} }
	var h head
	if err := json.Unmarshal(d.JSON, &h); err != nil {
		return at(fmt.Errorf("not an object of Kubernetes: %w", unfit(err)))
	}
	if isChange(&h) {
		return at(errRecording)
	}
	gv, err := schema.ParseGroupVersion(h.APIVersion)
	if err != nil || gv.Version == "" || h.Kind == "" || h.Metadata.Name == "" {
		return at(errors.New("not an object of Kubernetes: it has no apiVersion, kind or metadata.name"))
	}
	gvk := gv.WithKind(h.Kind)
	if c.kinds == nil {
		c.Count++
		c.owned(&h, d.Line)
		return nil
	}
	kind, ok := c.kinds.byType[gvk]
	if !ok {
		l := c.unknown[gvk]
		if l == nil {
			l = &lost{line: d.Line}
			c.unknown[gvk] = l
		}
		l.count++
		l.heads = append(l.heads, located{h, d.Line})
		return nil
	}
	if err := c.known(kind, h, d.Line, d.JSON); err != nil {
		return err
	}
	if gvk.Group == "apiextensions.k8s.io" && gvk.Kind == "CustomResourceDefinition" && c.meant(kind, &h) {
		if err := c.kinds.define(d.JSON); err != nil {
			return at(fmt.Errorf("%s: %w", &h, err))
		}
	}
	return nil
}

// known takes note of an object whose kind is known. The text is nil where it need not be checked.
func (c *checker) known(kind Kind, h head, line int, text []byte) error {
	if err := c.check(kind, &h, text); err != nil {
		return &LineError{c.name, line, fmt.Errorf("%s: %w", &h, err)}
	}
	if !c.meant(kind, &h) {
		return nil
	}
	if kind.Resource == "namespaces" && kind.Group == "" {
		c.spaces[h.Metadata.Name] = true
	} else if kind.Namespaced && !c.spaces[h.Metadata.Namespace] {
		c.spaces[h.Metadata.Namespace] = false // it is needed, and not there yet
	}
	id := maphash.String(c.seed, c.kinds.key(kind, h.Metadata.Namespace, h.Metadata.Name))
	if first, twice := c.keys[id]; twice {
		return &LineError{c.name, line, fmt.Errorf("%s: it is in line %d already", &h, first)}
	}
	c.keys[id] = line
	c.Count++
	if h.Metadata.UID == "" {
		c.manifests++
	}
	c.owned(&h, line)
	return nil
}

// check finds out whether an object can be kept.
func (c *checker) check(kind Kind, h *head, text []byte) error {
	if bad := content.IsPathSegmentName(h.Metadata.Name); len(bad) > 0 {
		return fmt.Errorf("name %q %s", h.Metadata.Name, bad[0])
	}
	switch {
	case kind.Namespaced && h.Metadata.Namespace == "":
		h.Metadata.Namespace = metav1.NamespaceDefault
	case !kind.Namespaced && h.Metadata.Namespace != "":
		return fmt.Errorf("kind %s has no namespace", kind.Kind)
	}
	if bad := content.IsPathSegmentName(h.Metadata.Namespace); len(bad) > 0 {
		return fmt.Errorf("namespace %q %s", h.Metadata.Namespace, bad[0])
	}
	if text == nil {
		return nil
	}
	_, err := decode(kind, text)
	return err
}

// meant tells whether the filter wants an object.
func (o *Objects) meant(kind Kind, h *head) bool {
	if len(o.filter.Kinds) > 0 && !slices.ContainsFunc(o.filter.Kinds, kind.matches) {
		return false
	}
	return o.filter.selects(kind, h.Metadata.Namespace, h.Metadata.Name, h.Metadata.Labels)
}

// owned takes note of who owns an object.
func (c *checker) owned(h *head, line int) {
	if uid := h.Metadata.UID; uid != "" {
		c.nodes[uid] = int32(len(c.lines))
		c.lines = append(c.lines, line)
		var to []types.UID
		for _, ref := range h.Metadata.OwnerReferences {
			to = append(to, ref.UID)
		}
		c.edges = append(c.edges, to)
	}
	for _, ref := range h.Metadata.OwnerReferences {
		if c.refs[ref.UID] == nil {
			c.refs[ref.UID] = &ownerRef{ref, h.Metadata.Namespace}
		}
	}
}

// cycle returns an error when objects own each other in a circle: whoever deletes one would wait for ever.
func (c *checker) cycle() error {
	const fresh, open, closed = 0, 1, 2
	state := make([]byte, len(c.lines))
	type step struct{ node, next int32 }
	for start := range c.lines {
		if state[start] != fresh {
			continue
		}
		state[start] = open
		for stack := []step{{int32(start), 0}}; len(stack) > 0; {
			top := &stack[len(stack)-1]
			if int(top.next) == len(c.edges[top.node]) {
				state[top.node] = closed
				stack = stack[:len(stack)-1]
				continue
			}
			owner, ok := c.nodes[c.edges[top.node][top.next]]
			top.next++
			switch {
			case !ok || state[owner] == closed:
			case state[owner] == open:
				return fmt.Errorf("line %d: the object owns itself: its owners lead back to it, by way of line %d", c.lines[owner], c.lines[top.node])
			default:
				state[owner] = open
				stack = append(stack, step{owner, 0})
			}
		}
	}
	return nil
}

// find returns the UID of an object of the cluster, "" when it is not there.
func (o *Objects) find(ctx context.Context, ref *ownerRef) (types.UID, error) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	kind, ok := o.kinds.byType[gv.WithKind(ref.Kind)]
	if err != nil || !ok {
		return "", nil
	}
	var h head
	body, err := o.kinds.client.Do(ctx, kube.Request{Method: "GET", Path: kind.resource().Path(ref.namespace, ref.Name), Accept: kube.Metadata})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err == nil {
		err = json.Unmarshal(body, &h)
	}
	if err != nil {
		return "", fmt.Errorf("find %s %s: %w", strings.ToLower(ref.Kind), ref.Name, err)
	}
	return h.Metadata.UID, nil
}
