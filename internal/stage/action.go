package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"kwokctl/internal/api"
	"kwokctl/internal/expr"
)

// ActionKind says what an Action does.
type ActionKind uint8

// What a stage can do.
const (
	Event ActionKind = iota + 1
	Patch
	Apply
	Delete
)

// Content types of patches.
const (
	JSONPatch      = "application/json-patch+json"
	MergePatch     = "application/merge-patch+json"
	StrategicPatch = "application/strategic-merge-patch+json"
	ApplyPatch     = "application/apply-patch+yaml"
)

// Action is one event, patch, apply or delete.
type Action struct {
	Kind        ActionKind
	Event       *api.Event // Event
	Type        string     // Patch, Apply: content type
	Subresource string     // Patch, Apply
	As          string     // Patch, Apply: user to impersonate
	Data        any        // Patch: the patch; Apply: the object. Encode with JSON
	// Put, for a status patch of a pod or node, is the whole object with the patch applied, without spec and
	// managedFields. Writing it is cheaper than patching, even if it meets a conflict and has to be made again.
	Put Encoder
	// Finalizers, for a JSON patch of finalizers, are those it was made for: it removes by position.
	Finalizers []string
}

// Encoder is an object that has a protobuf form.
type Encoder interface {
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
}

// JSON returns the data as JSON.
func (a *Action) JSON() ([]byte, error) { return json.Marshal(a.Data) }

// step is a compiled api.Step.
type step struct {
	spec         *api.Step
	patch, apply *expr.Template
}

func newStep(s *api.Step, f expr.Funcs) (st step, err error) {
	st.spec = s
	if p := s.Patch; p != nil {
		switch p.Type {
		case "", "json", "merge", "strategic":
		default:
			return st, fmt.Errorf("patch.type: %q is none of json, merge, strategic", p.Type)
		}
		if st.patch, err = expr.NewTemplate(p.Template, f); err != nil {
			return st, fmt.Errorf("patch.template: %w", err)
		}
	}
	if a := s.Apply; a != nil {
		switch a.Type {
		case "", "apply", "merge", "strategic":
		default:
			return st, fmt.Errorf("apply.type: %q is none of apply, merge, strategic", a.Type)
		}
		if st.apply, err = expr.NewTemplate(a.Template, f); err != nil {
			return st, fmt.Errorf("apply.template: %w", err)
		}
	}
	return st, nil
}

// Actions returns what the move does to o, in order, leaving out patches that change nothing. It does not change o.
func (m *Move) Actions(o Object, now time.Time) ([]Action, error) {
	s := m.life.stages[m.Index]
	m.life.now = clock(now)
	var all []Action
	deleted := false
	for i := range s.steps {
		acts, err := s.steps[i].actions(o, len(all) == 0, deleted)
		if err != nil {
			return nil, &StageError{Stage: s.name, Err: fmt.Errorf("spec.steps[%d].%w", i, err)}
		}
		all = append(all, acts...)
		deleted = deleted || s.steps[i].spec.Delete
	}
	return all, nil
}

// actions returns what one step does. After a delete only events are left to do. first says that nothing was
// written before, so that o is still what the server has.
func (st *step) actions(o Object, first, deleted bool) (acts []Action, err error) {
	defer caught(&err)
	if st.spec.Event != nil {
		acts = append(acts, Action{Kind: Event, Event: st.spec.Event})
	}
	if deleted {
		return acts, nil
	}
	if st.spec.Finalizers != nil {
		if ops := finalizerOps(o.Meta().Finalizers, st.spec.Finalizers); len(ops) > 0 {
			acts = append(acts, Action{Kind: Patch, Type: JSONPatch, Data: ops, Finalizers: o.Meta().Finalizers})
		}
	}
	if st.spec.Delete {
		return append(acts, Action{Kind: Delete}), nil
	}
	if st.patch != nil {
		a, err := st.patchAction(o, first && len(acts) == 0)
		if err != nil {
			return nil, fmt.Errorf("patch.%w", err)
		}
		if a != nil {
			acts = append(acts, *a)
		}
	}
	if st.apply != nil {
		a, err := st.applyAction(o)
		if err != nil {
			return nil, fmt.Errorf("apply.%w", err)
		}
		acts = append(acts, a)
	}
	return acts, nil
}

// patchAction returns the patch, nil when it changes nothing.
func (st *step) patchAction(o Object, first bool) (*Action, error) {
	a, err := st.rendered(o)
	if err != nil {
		return nil, err
	}
	if a.Type == JSONPatch {
		ops := a.Data.([]any)
		if len(ops) == 0 {
			return nil, nil
		}
		if same, err := opsSame(o, ops); err != nil || same {
			return nil, err
		}
		return a, nil
	}
	if same, err := a.apply(o, first); err != nil || same {
		return nil, err
	}
	return a, nil
}

// rendered returns the patch as its template says it.
func (st *step) rendered(o Object) (*Action, error) {
	p := st.spec.Patch
	data, err := st.patch.Render(o.Tree())
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	a := &Action{Kind: Patch, Type: patchType(p.Type, o), Subresource: p.Subresource, Data: data}
	if p.Impersonation != nil {
		a.As = p.Impersonation.Username
	}
	switch {
	case a.Type == JSONPatch:
		a.Data, err = jsonOps(data, p.Root)
	case p.Root != "":
		a.Data = map[string]any{p.Root: data}
	}
	return a, err
}

// apply works out what the patch makes of a typed object, and reports whether that is the object itself.
func (a *Action) apply(o Object, first bool) (same bool, err error) {
	patch, ok := a.Data.(map[string]any)
	if !ok {
		return false, fmt.Errorf("template: got %T, want an object", a.Data)
	}
	if _, ok := o.(blind); ok {
		return false, nil
	}
	if a.Type == MergePatch {
		return mergeSame(o.Tree(), patch), nil
	}
	switch old := o.typed().(type) {
	case *corev1.Pod:
		return a.applyPod(old, patch, first)
	case *corev1.Node:
		return a.applyNode(old, patch, first)
	}
	// What lists merge by is known to the server alone. A patch that repeats what is there is clear without.
	return mergeSame(o.Tree(), patch), nil
}

func (a *Action) applyPod(old *corev1.Pod, patch map[string]any, first bool) (bool, error) {
	merged := *old
	if err := merge(reflect.ValueOf(&merged).Elem(), patch); err != nil {
		return false, slow(err)
	}
	if apiequality.Semantic.DeepEqual(&merged, old) {
		return true, nil
	}
	if first && a.As == "" && statusOnly(a, patch) {
		a.Put = &corev1.Pod{ObjectMeta: merged.ObjectMeta, Status: merged.Status}
	}
	return false, nil
}

func (a *Action) applyNode(old *corev1.Node, patch map[string]any, first bool) (bool, error) {
	merged := *old
	if err := merge(reflect.ValueOf(&merged).Elem(), patch); err != nil {
		return false, slow(err)
	}
	if apiequality.Semantic.DeepEqual(&merged, old) {
		return true, nil
	}
	if first && a.As == "" && statusOnly(a, patch) {
		a.Put = &corev1.Node{ObjectMeta: merged.ObjectMeta, Status: merged.Status}
	}
	return false, nil
}

// slow drops the error that says that only the server can apply the patch.
func slow(err error) error {
	if errors.Is(err, errDirective) {
		return nil
	}
	return fmt.Errorf("template: %w", err)
}

// statusOnly reports whether the patch touches nothing but status, through the status subresource.
func statusOnly(a *Action, patch map[string]any) bool {
	_, ok := patch["status"]
	return ok && len(patch) == 1 && a.Subresource == "status"
}

func (st *step) applyAction(o Object) (Action, error) {
	p := st.spec.Apply
	data, err := st.apply.Render(o.Tree())
	if err != nil {
		return Action{}, fmt.Errorf("template: %w", err)
	}
	obj, ok := data.(map[string]any)
	if !ok {
		return Action{}, fmt.Errorf("template: got %T, want an object", data)
	}
	meta, _ := obj["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	if v, _ := obj["apiVersion"].(string); v == "" || name == "" || obj["kind"] == nil {
		return Action{}, errors.New("template: want apiVersion, kind and metadata.name")
	}
	a := Action{Kind: Apply, Type: ApplyPatch, Subresource: p.Subresource, Data: obj}
	switch p.Type {
	case "merge":
		a.Type = MergePatch
	case "strategic":
		a.Type = StrategicPatch
	}
	if p.Impersonation != nil {
		a.As = p.Impersonation.Username
	}
	return a, nil
}

func patchType(t string, o Object) string {
	switch {
	case t == "json":
		return JSONPatch
	case t == "merge":
		return MergePatch
	case t == "strategic" || o.typed() != nil:
		return StrategicPatch
	}
	return MergePatch
}
