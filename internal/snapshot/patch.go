package snapshot

import (
	"bytes"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	sjson "sigs.k8s.io/json"
)

// difference returns the patch that turns old into now; false if no patch does, since a patch cannot tell apart items
// of a list that have the same key. Both are JSON as encoding/json writes it.
func difference(kind Kind, old, now []byte) (patch []byte, ok bool, err error) {
	structure, err := structureOf(kind)
	if err != nil {
		return nil, false, err
	}
	if structure == nil {
		patch, err = jsonmergepatch.CreateThreeWayJSONMergePatch(old, now, old)
	} else {
		patch, err = strategicpatch.CreateTwoWayMergePatch(old, now, structure)
	}
	if err != nil {
		return nil, false, nil // it is recorded whole
	}
	again, err := patched(kind, old, patch)
	return patch, err == nil && same(again, now), nil
}

// patched applies a patch: a strategic merge patch to built-in kinds, a merge patch to custom ones.
func patched(kind Kind, old, patch []byte) ([]byte, error) {
	structure, err := structureOf(kind)
	if err != nil {
		return nil, err
	}
	if structure != nil {
		return strategicpatch.StrategicMergePatch(old, patch, structure)
	}
	var object, change any
	if err := sjson.UnmarshalCaseSensitivePreserveInts(old, &object); err != nil {
		return nil, err
	}
	if err := sjson.UnmarshalCaseSensitivePreserveInts(patch, &change); err != nil {
		return nil, err
	}
	return json.Marshal(merged(object, change))
}

// structureOf is the Go struct of a kind, nil for a custom one.
func structureOf(kind Kind) (any, error) {
	structure, err := builtIn().New(kind.GroupVersionKind)
	if runtime.IsNotRegisteredError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("kind %s: %w", kind, err)
	}
	return structure, nil
}

// merged applies a JSON merge patch, RFC 7386. It may change object.
func merged(object, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	o, ok := object.(map[string]any)
	if !ok {
		o = map[string]any{}
	}
	for key, value := range p {
		if value == nil {
			delete(o, key)
		} else {
			o[key] = merged(o[key], value)
		}
	}
	return o
}

// same tells whether two JSON texts mean the same.
func same(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	if sjson.UnmarshalCaseSensitivePreserveInts(a, &x) != nil || sjson.UnmarshalCaseSensitivePreserveInts(b, &y) != nil {
		return false
	}
	p, err := json.Marshal(x) // which sorts the keys
	if err != nil {
		return false
	}
	q, err := json.Marshal(y)
	return err == nil && bytes.Equal(p, q)
}
