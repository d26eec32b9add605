package stage

import (
	"fmt"
	"hash/maphash"
	"time"
)

// Describe returns what the stages would do with o, each that could be drawn, as plain data for YAML: the form of
// the fixtures beside the shipped stages. Nothing is left out because it changes nothing.
func (l *Lifecycle) Describe(o Object, now time.Time) (map[string]any, error) {
	if err := l.candidates(o); err != nil {
		return nil, err
	}
	found := append([]candidate(nil), l.found...)
	m := o.Meta()
	out := map[string]any{"apiGroup": m.APIVersion, "kind": m.Kind, "name": m.Name}
	if m.Namespace != "" {
		out["namespace"] = m.Namespace
	}
	var stages []any
	for _, i := range possible(found) {
		s, err := l.describe(found[i], o, now)
		if err != nil {
			return nil, err
		}
		stages = append(stages, s)
	}
	out["stages"] = stages
	return out, nil
}

func (l *Lifecycle) describe(c candidate, o Object, now time.Time) (map[string]any, error) {
	s := l.stages[c.stage]
	out := map[string]any{"stage": s.name}
	if c.set {
		out["weight"] = c.weight
	}
	if s.spec.Delay != nil {
		var h maphash.Hash
		d, latest, err := s.delay(o, now, &h)
		if err != nil {
			return nil, &StageError{Stage: s.name, Err: err}
		}
		delay := []any{int64(d)}
		if latest > d {
			delay = append(delay, int64(latest))
		}
		out["delay"] = delay
	}
	l.now = clock(now)
	var next []any
	deleted := false
	for i := range s.steps {
		acts, err := s.steps[i].actions(blind{o}, false, deleted)
		if err != nil {
			return nil, &StageError{Stage: s.name, Err: fmt.Errorf("spec.steps[%d].%w", i, err)}
		}
		for _, a := range acts {
			next = append(next, a.describe())
		}
		deleted = deleted || s.steps[i].spec.Delete
	}
	if s.immediate {
		next = append(next, map[string]any{"kind": "immediate"})
	}
	out["next"] = next
	return out, nil
}

// blind hides what an object has from the check for patches that change nothing.
type blind struct{ Object }

func (a *Action) describe() map[string]any {
	switch a.Kind {
	case Event:
		return map[string]any{"kind": "event", "type": a.Event.Type, "reason": a.Event.Reason, "message": a.Event.Message}
	case Delete:
		return map[string]any{"kind": "delete"}
	}
	out := map[string]any{"kind": "patch", "type": a.Type, "data": a.Data}
	if a.Kind == Apply {
		out["kind"] = "apply"
	}
	if a.Subresource != "" {
		out["subresource"] = a.Subresource
	}
	if a.As != "" {
		out["impersonation"] = map[string]any{"username": a.As}
	}
	return out
}
