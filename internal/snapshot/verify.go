package snapshot

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	sjson "sigs.k8s.io/json"

	"kwokctl/internal/kube"
)

// Difference is an object that is not as it is to be.
type Difference struct {
	Object string // "pods lab/demo-1"
	What   string // "spec.nodeName: is node-1, not node-2"
}

func (d Difference) String() string { return d.Object + ": " + d.What }

// Verify compares what the API server has with the end of the recording that was played, and returns in what they
// differ and how many objects there are to be. What the API server adds, such as defaults, is no difference.
func (r *Recording) Verify(ctx context.Context) (objects int, all []Difference, err error) {
	byKind := map[string][]*kept{}
	for _, k := range r.end.kept {
		id := k.kind.GroupVersion().String() + " " + k.kind.String()
		byKind[id] = append(byKind[id], k)
		if k.text != nil {
			objects++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(byKind)) {
		some, err := r.kinds.verify(ctx, byKind[id])
		if err != nil {
			return objects, all, fmt.Errorf("check the end of the replay: %s: %w", byKind[id][0].kind, err)
		}
		all = append(all, some...)
	}
	return objects, all, nil
}

// verify compares objects of one kind with what the API server has.
func (k *Kinds) verify(ctx context.Context, list []*kept) (all []Difference, err error) {
	left := map[string]*kept{}
	for _, o := range list {
		left[o.id()] = o
	}
	note := func(o *kept, what string) {
		if what != "" {
			all = append(all, Difference{o.kind.String() + " " + strings.TrimPrefix(o.id(), "/"), what})
		}
	}
	err = k.everyOne(ctx, list[0].kind, func(id string, object map[string]any) error {
		o := left[id]
		if o == nil {
			return nil // it is none of ours
		}
		delete(left, id)
		what, err := o.differs(object)
		note(o, what)
		return err
	})
	for _, id := range slices.Sorted(maps.Keys(left)) {
		if left[id].text != nil {
			note(left[id], "is not there")
		}
	}
	return all, err
}

func (k *kept) id() string { return k.space + "/" + k.name }

// differs says in what an object differs from what it is to be; "" in nothing.
func (k *kept) differs(there map[string]any) (string, error) {
	if k.text == nil {
		return "is there, and was deleted", nil
	}
	var want map[string]any
	if err := sjson.UnmarshalCaseSensitivePreserveInts(k.text, &want); err != nil {
		return "", err
	}
	delete(want, "apiVersion") // items of a list go without
	delete(want, "kind")
	if k.kind.String() == "customresourcedefinitions.apiextensions.k8s.io" {
		delete(want, "status") // the API server writes it
	}
	return compare("", want, there), nil
}

// everyOne calls do with each object of a kind and its namespace/name. A kind whose definition was just written is
// served in a moment.
func (k *Kinds) everyOne(ctx context.Context, kind Kind, do func(id string, object map[string]any) error) error {
	const patience, look = 10 * time.Second, 100 * time.Millisecond
	query := url.Values{"limit": {strconv.Itoa(DefaultPage)}}
	for began := time.Now(); ; {
		body, err := k.client.Do(ctx, kube.Request{Method: http.MethodGet, Path: kind.resource().Path("", ""), Query: query})
		if apierrors.IsNotFound(err) && k.custom[kind.String()] {
			if time.Since(began) > patience {
				return nil // its definition was deleted again, and all objects with it
			}
			if err := kube.Pause(ctx, look); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		var list struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []map[string]any `json:"items"`
		}
		if err := sjson.UnmarshalCaseSensitivePreserveInts(body, &list); err != nil {
			return err
		}
		for _, item := range list.Items {
			meta, _ := item["metadata"].(map[string]any)
			space, _ := meta["namespace"].(string)
			name, _ := meta["name"].(string)
			if err := do(space+"/"+name, item); err != nil {
				return err
			}
		}
		if list.Metadata.Continue == "" {
			return nil
		}
		query.Set("continue", list.Metadata.Continue)
	}
}

// compare names the first field in which an object lacks something of what it is to be; "" if there is none.
func compare(at string, want, is any) string {
	switch want := want.(type) {
	case map[string]any:
		is, ok := is.(map[string]any)
		if !ok && len(want) > 0 {
			return at + ": is missing"
		}
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if what := compare(strings.TrimPrefix(at+"."+key, "."), want[key], is[key]); what != "" {
				return what
			}
		}
		return ""
	case []any:
		is, _ := is.([]any)
		if len(is) != len(want) {
			return fmt.Sprintf("%s: has %d items, not %d", at, len(is), len(want))
		}
		for i := range want {
			if what := compare(fmt.Sprintf("%s[%d]", at, i), want[i], is[i]); what != "" {
				return what
			}
		}
		return ""
	case nil:
		return ""
	}
	if want == is || sameTime(want, is) || zero(want) && is == nil {
		return ""
	}
	return fmt.Sprintf("%s: is %.100q, not %.100q", at, fmt.Sprint(is), fmt.Sprint(want))
}

// zero tells whether a value may be left out.
func zero(v any) bool { return v == "" || v == false || v == int64(0) || v == float64(0) }

// sameTime tells whether two values are the same time, as the API has it, which drops parts of a second.
func sameTime(a, b any) bool {
	x, ok1 := a.(string)
	y, ok2 := b.(string)
	if !ok1 || !ok2 {
		return false
	}
	s, err1 := time.Parse(time.RFC3339, x)
	t, err2 := time.Parse(time.RFC3339, y)
	return err1 == nil && err2 == nil && s.Sub(t).Abs() < time.Second
}
