package stage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	jsonstrict "sigs.k8s.io/json"
)

func decodeTree(text []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var tree map[string]any
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("read the object: %w", err)
	}
	return tree, nil
}

// object returns a member that is an object, made if it is missing.
func object(tree map[string]any, name string) map[string]any {
	m, ok := tree[name].(map[string]any)
	if !ok {
		m = map[string]any{}
		tree[name] = m
	}
	return m
}

// def sets what is missing.
func def(m map[string]any, name string, value any) {
	if v, ok := m[name]; !ok || v == nil || v == "" {
		m[name] = value
	}
}

// admit adds what an object has once the API server, and the scheduler for a pod, have seen it.
func admit(tree map[string]any) {
	meta := object(tree, "metadata")
	def(meta, "uid", "00000000-0000-4000-8000-000000000001")
	def(meta, "resourceVersion", "1")
	if g, ok := meta["generateName"].(string); ok {
		def(meta, "name", g+"00000")
	}
	def(meta, "creationTimestamp", startOf(tree).Format(time.RFC3339))
	if tree["apiVersion"] != "v1" {
		return
	}
	switch tree["kind"] {
	case "Pod":
		def(meta, "namespace", "default")
		def(object(tree, "spec"), "nodeName", "node-000000")
		def(object(tree, "status"), "phase", "Pending")
	case "PersistentVolumeClaim":
		def(meta, "namespace", "default")
		def(object(tree, "status"), "phase", "Pending")
	case "PersistentVolume":
		def(object(tree, "status"), "phase", "Available")
	}
}

// startOf is when a rehearsal begins: when the object's deletion was asked for, else when it was made, else at some
// fixed time, so that equal input has equal output.
func startOf(tree map[string]any) time.Time {
	meta := object(tree, "metadata")
	at := func(name string) (time.Time, bool) {
		s, _ := meta[name].(string)
		t, err := time.Parse(time.RFC3339, s)
		return t, err == nil
	}
	if t, ok := at("deletionTimestamp"); ok {
		grace, _ := meta["deletionGracePeriodSeconds"].(json.Number)
		seconds, _ := grace.Int64()
		return t.Add(-time.Duration(seconds) * time.Second)
	}
	if t, ok := at("creationTimestamp"); ok {
		return t
	}
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
}

// patched returns what the server would make of o, and notes on what it would not do.
func (a *Action) patched(o Object) (result Object, notes []string, err error) {
	next, err := a.merged(o)
	if errors.Is(err, errDirective) {
		return nil, nil, errors.New("patch: it has a directive such as $patch or $retainKeys, which only a cluster understands")
	}
	if err != nil {
		return nil, nil, err
	}
	tree, err := decodeTree(next)
	if err != nil {
		return nil, nil, err
	}
	if o.typed() == nil && a.Type == StrategicPatch {
		notes = append(notes, "lists are replaced here: how they merge is known to the cluster alone")
	}
	before := o.Tree()
	if hasStatus(o.Meta()) {
		if a.Subresource == "status" {
			if dropped := keep(tree, before, "spec", "data"); dropped != "" {
				notes = append(notes, dropped+" is not changed: the patch is of subresource status")
			}
		} else if dropped := keep(tree, before, "status"); a.Subresource == "" && dropped != "" {
			notes = append(notes, "status is not changed: the patch needs subresource: status")
		}
	}
	result, err = objectOf(tree)
	return result, notes, err
}

// dropped returns notes on fields that the move's patches would give o, and that its type does not have. A patch of
// nothing else changes nothing, so that it is no action.
func (m *Move) dropped(o Object) (notes []string) {
	for _, st := range m.life.stages[m.Index].steps {
		if st.spec.Delete || o.typed() == nil { // nothing is written after it, or no fields are known
			break
		}
		if st.patch == nil {
			continue
		}
		a, err := st.rendered(o)
		if err != nil {
			continue
		}
		for _, field := range a.unknown(o) {
			notes = append(notes, field+" is dropped: a "+o.Meta().Kind+" has no such field")
		}
	}
	return notes
}

// unknown returns the fields that the patch would give o, and that the type of o does not have.
func (a *Action) unknown(o Object) (fields []string) {
	text, err := a.onTree(o)
	if err != nil {
		return nil
	}
	strict, err := jsonstrict.UnmarshalStrict(text, reflect.New(reflect.TypeOf(o.typed()).Elem()).Interface())
	if err != nil {
		return nil
	}
	for _, err := range strict {
		var field jsonstrict.FieldError
		if errors.As(err, &field) {
			fields = append(fields, field.FieldPath())
		}
	}
	return fields
}

// hasStatus reports whether the kind surely has status as a subresource: those of Kubernetes and ours do.
func hasStatus(m *Meta) bool {
	group, _, ok := strings.Cut(m.APIVersion, "/")
	return !ok || !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io")
}

// keep restores members and returns the name of one that had been changed.
func keep(tree, before map[string]any, names ...string) (changed string) {
	for _, name := range names {
		if !sameJSON(tree[name], before[name]) {
			changed = name
		}
		delete(tree, name)
		if old, ok := before[name]; ok {
			tree[name] = old
		}
	}
	return changed
}

// merged applies the patch and returns the result as JSON.
func (a *Action) merged(o Object) ([]byte, error) {
	if a.Type == StrategicPatch {
		if patch, ok := a.Data.(map[string]any); ok {
			switch old := o.typed().(type) {
			case *corev1.Pod:
				fresh := *old
				err := merge(reflect.ValueOf(&fresh).Elem(), patch)
				return marshalTyped(NewPod(&fresh), err)
			case *corev1.Node:
				fresh := *old
				err := merge(reflect.ValueOf(&fresh).Elem(), patch)
				return marshalTyped(NewNode(&fresh), err)
			}
		}
	}
	return a.onTree(o)
}

// onTree applies the patch to the object as JSON: a strategic one like a merge patch.
func (a *Action) onTree(o Object) ([]byte, error) {
	before, err := json.Marshal(o.Tree())
	if err != nil {
		return nil, err
	}
	text, err := a.JSON()
	if err != nil {
		return nil, err
	}
	if a.Type != JSONPatch {
		return jsonpatch.MergePatch(before, text)
	}
	ops, err := jsonpatch.DecodePatch(text)
	if err != nil {
		return nil, err
	}
	return ops.Apply(before)
}

func marshalTyped(o Object, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return json.Marshal(o.Tree())
}

// clone copies a tree.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = clone(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = clone(e)
		}
		return l
	}
	return v
}
