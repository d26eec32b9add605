package stage

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"github.com/itchyny/gojq"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// path is a jq program of the simplest form: field names, iterations and selections by equality with a text. It is
// evaluated directly on typed objects and on trees, some hundred times faster than jq.
type path []hop

// hop is one step of a path: a field, every element, or only those whose field equals a text.
type hop struct {
	kind  hopKind
	name  string // field
	cond  path   // of a selection
	equal string
}

type hopKind uint8

const (
	field hopKind = iota
	each
	choose
)

// value is an output of a path that is not null.
type value struct {
	kind valueKind
	text string // of a string, a bool or a number
}

type valueKind uint8

const (
	other valueKind = iota // an object or a list
	text
	boolean
	num
)

// newPath returns the path a jq program is, or false when only jq can run it.
func newPath(program string) (path, bool) {
	q, err := gojq.Parse(program)
	if err != nil {
		return nil, false
	}
	return pathOf(q)
}

func pathOf(q *gojq.Query) (path, bool) {
	if q == nil || q.Meta != nil || len(q.Imports)+len(q.FuncDefs)+len(q.Patterns) > 0 {
		return nil, false
	}
	if q.Term != nil {
		return termPath(q.Term)
	}
	if q.Op != gojq.OpPipe {
		return nil, false
	}
	l, ok := pathOf(q.Left)
	if !ok {
		return nil, false
	}
	r, ok := pathOf(q.Right)
	return append(l, r...), ok
}

func termPath(t *gojq.Term) (p path, ok bool) {
	switch t.Type {
	case gojq.TermTypeIdentity:
	case gojq.TermTypeIndex:
		name, ok := indexName(t.Index)
		if !ok {
			return nil, false
		}
		p = append(p, hop{kind: field, name: name})
	case gojq.TermTypeFunc:
		h, ok := selection(t.Func)
		if !ok {
			return nil, false
		}
		p = append(p, h)
	case gojq.TermTypeQuery:
		if p, ok = pathOf(t.Query); !ok {
			return nil, false
		}
	default:
		return nil, false
	}
	for _, s := range t.SuffixList {
		switch {
		case s.Iter && !s.Optional:
			p = append(p, hop{kind: each})
		case s.Index != nil && !s.Optional:
			name, ok := indexName(s.Index)
			if !ok {
				return nil, false
			}
			p = append(p, hop{kind: field, name: name})
		default:
			return nil, false
		}
	}
	return p, true
}

// indexName returns the name in .name, ."name" and ["name"].
func indexName(i *gojq.Index) (string, bool) {
	switch {
	case i == nil || i.IsSlice:
		return "", false
	case i.Name != "":
		return i.Name, true
	case i.Str != nil:
		return literal(i.Str)
	case i.Start != nil && i.Start.Term != nil && len(i.Start.Term.SuffixList) == 0 && i.Start.Term.Type == gojq.TermTypeString:
		return literal(i.Start.Term.Str)
	}
	return "", false
}

func literal(s *gojq.String) (string, bool) {
	if s == nil || len(s.Queries) > 0 {
		return "", false
	}
	return s.Str, true
}

// selection reads select(.path == "text").
func selection(f *gojq.Func) (hop, bool) {
	if f.Name != "select" || len(f.Args) != 1 || f.Args[0].Op != gojq.OpEq {
		return hop{}, false
	}
	cond, ok := pathOf(f.Args[0].Left)
	r := f.Args[0].Right
	if !ok || r == nil || r.Term == nil || r.Term.Type != gojq.TermTypeString || len(r.Term.SuffixList) > 0 {
		return hop{}, false
	}
	for _, h := range cond {
		if h.kind != field {
			return hop{}, false
		}
	}
	equal, ok := literal(r.Term.Str)
	return hop{kind: choose, cond: cond, equal: equal}, ok
}

// find calls found with each output that is not null until it returns false. Its own result is false if jq would
// fail on the object.
func (p path) find(v reflect.Value, found func(value) bool) bool {
	for i, h := range p {
		v = deref(v)
		switch h.kind {
		case field:
			next, ok := get(v, h.name)
			if !ok {
				return false
			}
			v = next
		case each:
			return p[i+1:].findEach(v, found)
		case choose:
			equal := false
			if !h.cond.find(v, func(x value) bool { equal = x.kind == text && x.text == h.equal; return false }) {
				return false
			}
			if !equal {
				return true
			}
		}
	}
	if x, ok := valueOf(deref(v)); ok {
		found(x)
	}
	return true
}

func (p path) findEach(v reflect.Value, found func(value) bool) bool {
	more := true
	keep := func(x value) bool { more = found(x); return more }
	switch {
	case !v.IsValid():
		return false // jq cannot iterate over null
	case v.Kind() == reflect.Slice:
		for i := 0; i < v.Len() && more; i++ {
			if !p.find(v.Index(i), keep) {
				return false
			}
		}
		return true
	case v.Kind() == reflect.Map:
		for it := v.MapRange(); it.Next() && more; {
			if !p.find(it.Value(), keep) {
				return false
			}
		}
		return true
	}
	return false
}

// deref goes through pointers and interfaces; nil gives the invalid value, which is null.
func deref(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	return v
}

// get returns a field of a struct or a map, by its JSON name. Absent is null; false means that jq would fail.
func get(v reflect.Value, name string) (reflect.Value, bool) {
	switch {
	case !v.IsValid():
		return reflect.Value{}, true
	case v.Kind() == reflect.Map:
		if m, ok := v.Interface().(map[string]string); ok {
			s, ok := m[name]
			if !ok {
				return reflect.Value{}, true
			}
			return reflect.ValueOf(s), true
		}
		return v.MapIndex(reflect.ValueOf(name).Convert(v.Type().Key())), true
	case v.Kind() == reflect.Struct:
		t := typeOf(v.Type())
		if t.leaf {
			return reflect.Value{}, false
		}
		f, ok := t.fields[name]
		if !ok {
			return reflect.Value{}, true
		}
		x := v.FieldByIndex(f.index)
		if f.omit && empty(x) || f.zero && x.IsZero() {
			return reflect.Value{}, true
		}
		return x, true
	}
	return reflect.Value{}, false
}

// empty is what encoding/json's omitempty leaves out.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Struct:
		return false
	case reflect.Slice, reflect.Map, reflect.String:
		return v.Len() == 0
	}
	return v.IsZero()
}

func valueOf(v reflect.Value) (value, bool) {
	if !v.IsValid() {
		return value{}, false
	}
	switch v.Kind() {
	case reflect.String:
		if v.Type() == numberType {
			return value{num, v.String()}, true
		}
		return value{text, v.String()}, true
	case reflect.Bool:
		return value{boolean, strconv.FormatBool(v.Bool())}, true
	case reflect.Int, reflect.Int32, reflect.Int64:
		return value{num, strconv.FormatInt(v.Int(), 10)}, true
	case reflect.Float64:
		return value{num, strconv.FormatFloat(v.Float(), 'f', -1, 64)}, true
	case reflect.Slice, reflect.Map:
		return value{}, !v.IsNil()
	case reflect.Struct:
		return leafValue(v)
	}
	return value{}, true
}

// leafValue reads what a time or a quantity prints.
func leafValue(v reflect.Value) (value, bool) {
	if !typeOf(v.Type()).leaf {
		return value{}, true
	}
	if t, ok := v.Interface().(metav1.Time); ok && t.IsZero() {
		return value{}, false
	}
	printed, err := json.Marshal(v.Interface())
	if err != nil || string(printed) == "null" {
		return value{}, false
	}
	if s, err := strconv.Unquote(string(printed)); err == nil && strings.HasPrefix(string(printed), `"`) {
		return value{text, s}, true
	}
	return value{num, string(printed)}, true
}
