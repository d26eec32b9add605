package stage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"kwokctl/internal/api"
)

// operation is one operation of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	From  string `json:"from,omitempty"`
	Value any    `json:"value,omitempty"`
}

// jsonOps reads rendered operations, of which there may be none, and puts root before their paths; from stays as it is.
func jsonOps(data any, root string) ([]any, error) {
	list, ok := data.([]any)
	if !ok && data != nil {
		return nil, fmt.Errorf("template: got %T, want a list of operations", data)
	}
	ops := make([]any, 0, len(list))
	for i, e := range list {
		op, ok := e.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("template: operation %d: got %T, want an object", i, e)
		}
		path, ok := op["path"].(string)
		if !ok {
			return nil, fmt.Errorf("template: operation %d: no path", i)
		}
		if root != "" {
			op["path"] = "/" + root + path
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// finalizerOps returns the JSON patch that edits the finalizers have as f asks.
func finalizerOps(have []string, f *api.Finalizers) []operation {
	const list = "/metadata/finalizers"
	var add []string
	for _, a := range f.Add {
		if !slices.Contains(have, a.Value) {
			add = append(add, a.Value)
		}
	}
	var gone []int // indices, highest first: removing one does not move the next
	for i := len(have) - 1; i >= 0; i-- {
		if slices.ContainsFunc(f.Remove, func(r api.Finalizer) bool { return r.Value == have[i] }) {
			gone = append(gone, i)
		}
	}
	if len(have) > 0 && (f.Empty || len(gone) == len(have)) {
		ops := []operation{{Op: "remove", Path: list}}
		if len(f.Add) > 0 {
			ops = append(ops, operation{Op: "add", Path: list, Value: values(f.Add)})
		}
		return ops
	}
	if len(have) == 0 {
		if len(f.Add) == 0 {
			return nil
		}
		return []operation{{Op: "add", Path: list, Value: values(f.Add)}}
	}
	var ops []operation
	for _, i := range gone {
		ops = append(ops, operation{Op: "remove", Path: fmt.Sprintf("%s/%d", list, i)})
	}
	for _, a := range add {
		ops = append(ops, operation{Op: "add", Path: list + "/-", Value: a})
	}
	return ops
}

func values(f []api.Finalizer) (v []string) {
	for _, x := range f {
		v = append(v, x.Value)
	}
	return v
}

// mergeSame reports whether a merge patch surely leaves the object as it is. It holds for strategic ones too: what
// repeats the object changes nothing, whatever its lists merge by.
func mergeSame(obj, patch map[string]any) bool {
	for k, p := range patch {
		if strings.HasPrefix(k, "$") {
			return false
		}
		old, ok := obj[k]
		switch p := p.(type) {
		case nil:
			if ok {
				return false
			}
		case map[string]any:
			m, isMap := old.(map[string]any)
			if !isMap || !mergeSame(m, p) {
				return false
			}
		default:
			if !ok || !sameJSON(old, p) {
				return false
			}
		}
	}
	return true
}

func sameJSON(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

// opsSame reports whether a JSON patch leaves the object as it is. One that cannot be applied is an error.
func opsSame(o Object, ops []any) (bool, error) {
	if _, ok := o.(blind); ok {
		return false, nil
	}
	text, err := json.Marshal(ops)
	if err != nil {
		return false, fmt.Errorf("template: %w", err)
	}
	patch, err := jsonpatch.DecodePatch(text)
	if err != nil {
		return false, fmt.Errorf("template: %w", err)
	}
	before, err := json.Marshal(o.Tree())
	if err != nil {
		return false, err
	}
	after, err := patch.Apply(before)
	if err != nil {
		return false, fmt.Errorf("template: %w", err)
	}
	return jsonpatch.Equal(before, after), nil
}
