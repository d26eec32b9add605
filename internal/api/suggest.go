package api

import (
	"reflect"
	"slices"
	"strings"
)

// Nearest returns the word of a list that is most like another, or nothing when none is.
func Nearest(word string, words []string) string {
	best, least := "", 1+len(word)/3
	for _, w := range words {
		if d := distance(strings.ToLower(word), strings.ToLower(w)); d <= least && (best == "" || d < least) {
			best, least = w, d
		}
	}
	return best
}

// DidYouMean is the end of a message about an unknown word.
func DidYouMean(word string, words []string) string {
	if w := Nearest(word, words); w != "" {
		return "; did you mean " + w + "?"
	}
	return ""
}

// distance counts the letters to insert, to drop, to change or to swap with their neighbour.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			differ := 1
			if a[i-1] == b[j-1] {
				differ = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+differ)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

func suggestKind(kind string) string {
	var names []string
	for _, k := range Kinds {
		names = append(names, k.Name)
	}
	return DidYouMean(kind, names)
}

// suggestField looks for what may be meant by a field such as spec.steps[0].pach of o.
func suggestField(o Object, field string) string {
	parts := strings.FieldsFunc(field, func(r rune) bool { return strings.ContainsRune(".[]", r) })
	t := reflect.TypeOf(o)
	for i, part := range parts {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
			t = t.Elem()
			continue // the part is an index or a key
		}
		if t.Kind() != reflect.Struct {
			return ""
		}
		names := map[string]reflect.Type{}
		jsonFields(t, names)
		if i == len(parts)-1 {
			var all []string
			for name := range names {
				all = append(all, name)
			}
			slices.Sort(all)
			return DidYouMean(part, all)
		}
		if t = names[part]; t == nil {
			return ""
		}
	}
	return ""
}

// jsonFields collects the fields of a struct by their JSON names.
func jsonFields(t reflect.Type, into map[string]reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case strings.Contains(opts, "inline") && f.Type.Kind() == reflect.Struct:
			jsonFields(f.Type, into)
		case name != "" && name != "-":
			into[name] = f.Type
		}
	}
}
