package stage

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"kwokctl/internal/api"
	"kwokctl/internal/expr"
)

// matcher is a compiled selector.
type matcher struct {
	labels, annotations map[string]string
	requirements        []requirement
	conditions          []*expr.CEL
}

// requirement compares the outputs of a jq program with values.
type requirement struct {
	path   path     // nil: run jq
	jq     *expr.JQ // nil: use path
	op     string
	values []string
}

func newMatcher(sel *api.Selector, env func() (*expr.CELEnv, error)) (*matcher, error) {
	m := &matcher{labels: sel.MatchLabels, annotations: sel.MatchAnnotations}
	for i, e := range sel.MatchExpressions {
		where := fmt.Sprintf("spec.selector.matchExpressions[%d]", i)
		switch {
		case e.JQ != nil && e.CEL != nil:
			return nil, fmt.Errorf("%s: want jq or cel, not both", where)
		case e.JQ != nil:
			r, err := newRequirement(e.JQ)
			if err != nil {
				return nil, fmt.Errorf("%s.jq.%w", where, err)
			}
			m.requirements = append(m.requirements, r)
		case e.CEL != nil:
			c, err := compileCEL(e.CEL.Expression, env)
			if err != nil {
				return nil, fmt.Errorf("%s.cel: %w", where, err)
			}
			m.conditions = append(m.conditions, c)
		default:
			return nil, fmt.Errorf("%s: want jq or cel", where)
		}
	}
	return m, nil
}

func compileCEL(text string, env func() (*expr.CELEnv, error)) (*expr.CEL, error) {
	e, err := env()
	if err != nil {
		return nil, err
	}
	return e.Compile(text)
}

func newRequirement(r *api.JQRequirement) (requirement, error) {
	switch r.Operator {
	case "In", "NotIn":
		if len(r.Values) == 0 {
			return requirement{}, fmt.Errorf("values: %s needs at least one", r.Operator)
		}
	case "Exists", "DoesNotExist":
		if len(r.Values) > 0 {
			return requirement{}, fmt.Errorf("values: %s takes none", r.Operator)
		}
	default:
		return requirement{}, fmt.Errorf("operator: %q is none of In, NotIn, Exists, DoesNotExist", r.Operator)
	}
	q := requirement{op: r.Operator, values: r.Values}
	if p, ok := newPath(r.Key); ok {
		q.path = p
		return q, nil
	}
	jq, err := expr.NewJQ(r.Key)
	if err != nil {
		return requirement{}, fmt.Errorf("key: %w", err)
	}
	q.jq = jq
	return q, nil
}

// matches reports whether the selector takes o. A jq program that fails yields nothing; a limit it breaks, and a
// failing CEL expression, are errors.
func (m *matcher) matches(o Object) (bool, error) {
	meta := o.Meta()
	if !contains(meta.Labels, m.labels) || !contains(meta.Annotations, m.annotations) {
		return false, nil
	}
	for i := range m.requirements {
		ok, err := m.requirements[i].holds(o)
		if err != nil || !ok {
			return false, err
		}
	}
	for _, c := range m.conditions {
		v, err := c.Eval(selfOf(o))
		if err != nil {
			return false, err
		}
		if ok, isBool := v.(bool); !isBool {
			return false, fmt.Errorf("cel: got %T, want bool", v)
		} else if !ok {
			return false, nil
		}
	}
	return true, nil
}

func contains(all, want map[string]string) bool {
	for k, v := range want {
		if got, ok := all[k]; !ok || got != v {
			return false
		}
	}
	return true
}

func (r *requirement) holds(o Object) (bool, error) {
	some, in := false, false
	err := r.each(o, func(v value) bool {
		some = true
		in = in || v.kind != other && slices.Contains(r.values, v.text)
		return !in
	})
	if err != nil {
		return false, err
	}
	switch r.op {
	case "In":
		return in, nil
	case "NotIn":
		return !in, nil
	case "Exists":
		return some, nil
	}
	return !some, nil
}

// each calls found with the outputs of the program, none of them if it fails.
func (r *requirement) each(o Object, found func(value) bool) error {
	if r.jq == nil {
		return walk(r.path, o, found)
	}
	out, err := r.jq.Run(o.Tree())
	if errors.Is(err, expr.ErrLimit) {
		return err
	}
	if err != nil {
		return nil
	}
	for _, x := range out {
		if !found(scalar(x)) {
			break
		}
	}
	return nil
}

// walk is path.find with jq's rule that a failure anywhere means no output at all.
func walk(p path, o Object, found func(value) bool) error {
	root := reflect.ValueOf(o.typed())
	if !root.IsValid() {
		root = reflect.ValueOf(o.Tree())
	}
	var first [4]value
	out := first[:0]
	if !p.find(root, func(v value) bool { out = append(out, v); return true }) {
		return nil
	}
	for _, v := range out {
		if !found(v) {
			break
		}
	}
	return nil
}

// scalar is the value of an output of jq.
func scalar(x any) value {
	switch x := x.(type) {
	case string:
		return value{text, x}
	case bool:
		return value{boolean, strconv.FormatBool(x)}
	case int:
		return value{num, strconv.Itoa(x)}
	case float64:
		return value{num, strconv.FormatFloat(x, 'f', -1, 64)}
	}
	return value{}
}
