package stage

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Change is a part of an object that is different afterwards. A part that was not there has no From, one that is
// gone no To.
type Change struct {
	Path string `json:"path"` // such as status.conditions[Ready].status
	From any    `json:"from,omitempty"`
	To   any    `json:"to,omitempty"`
}

func (c Change) String() string {
	switch {
	case c.From == nil:
		return fmt.Sprintf("%s: %s", c.Path, short(c.To))
	case c.To == nil:
		return fmt.Sprintf("%s: removed, was %s", c.Path, short(c.From))
	}
	return fmt.Sprintf("%s: %s -> %s", c.Path, short(c.From), short(c.To))
}

// short prints a value on a line, cut when it is long.
func short(v any) string {
	r := []rune(flow(v))
	if len(r) > maxShort {
		return string(r[:maxShort-3]) + "..."
	}
	return string(r)
}

const maxShort = 90

// flow prints a value as YAML's flow style has it, more or less: without what is empty, and times last.
func flow(v any) string {
	switch v := v.(type) {
	case string:
		if v == "" {
			return `""`
		}
		return v
	case map[string]any:
		var parts, times []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			e := v[k]
			if m, ok := e.(map[string]any); e == nil || e == "" || ok && len(m) == 0 {
				continue
			}
			if s := k + ": " + flow(e); strings.HasSuffix(k, "Time") || strings.HasSuffix(k, "At") {
				times = append(times, s)
			} else {
				parts = append(parts, s)
			}
		}
		return "{" + strings.Join(append(parts, times...), ", ") + "}"
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, flow(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// diff returns where two objects differ, in the order of the paths.
func diff(before, after map[string]any) []Change { return diffMap("", before, after) }

func diffMap(at string, a, b map[string]any) (all []Change) {
	names := map[string]bool{}
	for k := range a {
		names[k] = true
	}
	for k := range b {
		names[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(names)) {
		path := k
		if at != "" {
			path = at + "." + k
		}
		all = append(all, diffValue(path, a[k], b[k])...)
	}
	return all
}

func diffValue(path string, a, b any) []Change {
	am, aMap := a.(map[string]any)
	bm, bMap := b.(map[string]any)
	al, aList := a.([]any)
	bl, bList := b.([]any)
	switch {
	case aMap && bMap, a == nil && bMap && nested(bm) && !strings.Contains(path, "["):
		return diffMap(path, am, bm)
	case (aList || a == nil) && (bList || b == nil) && keyOf(al, bl) != "":
		return diffList(path, al, bl, keyOf(al, bl))
	case sameJSON(a, b):
		return nil
	}
	return []Change{{Path: path, From: a, To: b}}
}

// nested reports whether an object holds more than scalars, so that it is better shown by its parts.
func nested(m map[string]any) bool {
	for _, v := range m {
		switch v.(type) {
		case map[string]any, []any:
			return true
		}
	}
	return false
}

// keyOf returns the field that tells the elements of lists of objects apart, "" if there is none.
func keyOf(lists ...[]any) string {
	for _, key := range []string{"name", "type"} {
		found, all := false, true
		for _, l := range lists {
			for _, e := range l {
				m, _ := e.(map[string]any)
				_, ok := m[key].(string)
				found, all = true, all && ok
			}
		}
		if found && all {
			return key
		}
	}
	return ""
}

func diffList(path string, a, b []any, key string) (all []Change) {
	index := func(l []any) (names []string, of map[string]any) {
		of = map[string]any{}
		for _, e := range l {
			m, _ := e.(map[string]any)
			name, _ := m[key].(string)
			names = append(names, name)
			of[name] = m
		}
		return names, of
	}
	from, fromBy := index(a)
	to, toBy := index(b)
	for _, name := range to {
		from, to := fromBy[name], toBy[name]
		if m, ok := to.(map[string]any); ok && from == nil {
			fresh := maps.Clone(m)
			delete(fresh, key) // it stands in the path
			to = fresh
		}
		all = append(all, diffValue(path+"["+name+"]", from, to)...)
	}
	for _, name := range from {
		if _, ok := toBy[name]; !ok {
			all = append(all, Change{Path: path + "[" + name + "]", From: fromBy[name]})
		}
	}
	return all
}
