package scale

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kwokctl/internal/kube"
)

// workers is how many requests are in flight. The API server is the bottleneck: more do not make it faster.
const workers = 32

// scaler is a job and where its objects live.
type scaler struct {
	client    *kube.Client
	job       Job
	params    map[string]any
	extra     *pool
	resource  kube.Resource
	namespace string // empty for a cluster-wide kind
}

// locate renders one object to learn its kind and namespace.
func (s *scaler) locate(ctx context.Context) error {
	r, err := newRenderer(s.job, s.params, s.extra)
	if err != nil {
		return err
	}
	o, err := r.render(0, 0, "")
	if err != nil {
		return err
	}
	apiVersion, _ := o["apiVersion"].(string)
	kind, _ := o["kind"].(string)
	if apiVersion == "" || kind == "" {
		return fmt.Errorf("template %s: its output has no apiVersion or no kind", s.job.Kind)
	}
	if s.extra != nil && (apiVersion != "v1" || kind != "Node") {
		return fmt.Errorf("pool %s: template %s makes objects of kind %s; pools are of nodes", s.job.Name, s.job.Kind, kind)
	}
	if s.resource, err = s.client.Resource(ctx, apiVersion, kind); err != nil {
		return err
	}
	if !s.resource.Namespaced {
		return nil
	}
	s.namespace = s.job.Namespace
	if s.namespace == "" {
		s.namespace, _ = o["metadata"].(map[string]any)["namespace"].(string)
	}
	if s.namespace == "" {
		s.namespace = "default"
	}
	return nil
}

// list returns the metadata of all objects with such labels, in pages.
func (s *scaler) list(ctx context.Context, selector string) ([]metav1.PartialObjectMetadata, error) {
	const page = 2000
	var all []metav1.PartialObjectMetadata
	query := url.Values{"labelSelector": {selector}, "limit": {strconv.Itoa(page)}}
	for {
		body, err := s.client.Do(ctx, kube.Request{Method: http.MethodGet, Path: s.resource.Path(s.namespace, ""),
			Query: query, Accept: kube.MetadataList})
		var list metav1.PartialObjectMetadataList
		if err == nil {
			err = json.Unmarshal(body, &list)
		}
		if apierrors.IsResourceExpired(err) && query.Has("continue") {
			query.Del("continue") // the list was compacted while we read it
			all = nil
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", s.resource.Plural, err)
		}
		all = append(all, list.Items...)
		if list.Continue == "" {
			return all, nil
		}
		query.Set("continue", list.Continue)
	}
}

// shrink deletes the n newest objects.
func (s *scaler) shrink(ctx context.Context, live []metav1.PartialObjectMetadata, n int, progress func(int, int)) error {
	slices.SortFunc(live, func(a, b metav1.PartialObjectMetadata) int {
		if c := b.CreationTimestamp.Compare(a.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(b.Name, a.Name)
	})
	remove := func(ctx context.Context, i int) error {
		o := live[i]
		body, err := json.Marshal(metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(o.UID))})
		if err == nil {
			_, err = s.client.Do(ctx, kube.Request{Method: http.MethodDelete, Path: s.resource.Path(s.namespace, o.Name),
				Body: body, Accept: kube.Metadata})
		}
		// Not found: deleted already. A conflict: deleted already, and another one has its name.
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("delete %s: %w", s.say(o.Name), err)
		}
		return nil
	}
	return each(ctx, n, func() (func(context.Context, int) error, error) { return remove, nil }, progress)
}

// grow creates n objects with the lowest serial numbers whose names are free.
func (s *scaler) grow(ctx context.Context, present []metav1.PartialObjectMetadata, n int, progress func(int, int)) error {
	taken := make(map[string]bool, len(present))
	for _, o := range present {
		taken[o.Name] = true
	}
	if n > 0 && s.job.SerialLength == 0 && taken[s.job.Name] {
		return fmt.Errorf("create %s: it is being deleted", s.say(s.job.Name))
	}
	serials := make([]int, 0, n)
	for i := 0; len(serials) < n; i++ {
		if !taken[s.job.objectName(i)] {
			serials = append(serials, i)
		}
	}
	indices := serials
	if s.extra != nil && n > 0 { // nodes of several pools share the networks of one template
		nodes, err := s.list(ctx, Label)
		if err != nil {
			return err
		}
		indices = freeIndices(nodes, n)
	}
	return each(ctx, n, func() (func(context.Context, int) error, error) {
		r, err := newRenderer(s.job, s.params, s.extra)
		return func(ctx context.Context, i int) error { return s.create(ctx, r, serials[i], indices[i]) }, err
	}, progress)
}

// freeIndices are the n lowest that none of these objects has.
func freeIndices(present []metav1.PartialObjectMetadata, n int) []int {
	taken := make(map[int]bool, len(present))
	for _, o := range present {
		text := o.Annotations[indexAnnotation]
		if text == "" {
			text = o.Name[strings.LastIndexByte(o.Name, '-')+1:]
		}
		index, _ := strconv.Atoi(text) // a name without a serial number was given the first
		taken[index] = true
	}
	free := make([]int, 0, n)
	for i := 0; len(free) < n; i++ {
		if !taken[i] {
			free = append(free, i)
		}
	}
	return free
}

func (s *scaler) create(ctx context.Context, r *renderer, serial, index int) error {
	name := s.job.objectName(serial)
	o, err := r.render(serial, index, s.namespace)
	if err != nil {
		return fmt.Errorf("create %s: %w", s.say(name), err)
	}
	body, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("create %s: %w", s.say(name), err)
	}
	req := kube.Request{Method: http.MethodPost, Path: s.resource.Path(s.namespace, ""), Body: body, Accept: kube.Metadata,
		Query: url.Values{"fieldManager": {kube.Manager}}}
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, err = s.client.Do(ctx, req)
		if apierrors.IsAlreadyExists(err) && s.ours(ctx, name) {
			return nil // by an attempt whose answer was lost, or by another run of the same job
		}
		if !early(err) || time.Now().After(deadline) {
			break
		}
		if err := kube.Pause(ctx, 100*time.Millisecond); err != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", s.say(name), err)
	}
	return nil
}

// early tells whether a pod was refused because its namespace is so young that it has no service account yet.
func early(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "error looking up service account")
}

// ours tells whether an object belongs to this job.
func (s *scaler) ours(ctx context.Context, name string) bool {
	body, err := s.client.Do(ctx, kube.Request{Method: http.MethodGet, Path: s.resource.Path(s.namespace, name),
		Accept: kube.Metadata})
	var o metav1.PartialObjectMetadata
	return err == nil && json.Unmarshal(body, &o) == nil && o.Labels[Label] == s.job.Name
}

// say names an object for an error.
func (s *scaler) say(name string) string {
	if s.namespace != "" {
		return s.resource.Plural + " " + s.namespace + "/" + name
	}
	return s.resource.Plural + " " + name
}

// each calls what worker makes with 0 … n-1 in parallel, and returns the first error, after which no more begin.
func each(ctx context.Context, n int, worker func() (func(context.Context, int) error, error), progress func(int, int)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var wg sync.WaitGroup
	next, done := 0, 0
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= n && ctx.Err() == nil
	}
	for range min(workers, n) {
		do, err := worker()
		if err != nil {
			cancel(err)
			break
		}
		wg.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := do(ctx, i); err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				done++
				progress(done, n)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
