package snapshot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// moveTimes returns an object, or a patch of one, with each of its times as move says; it does not change tree. The
// times of a built-in kind are the fields that are times, so a text of the user that looks like one stays. Those of a
// custom kind, of which no more is known, are all texts that are times, but for labels, annotations and data.
func moveTimes(kind Kind, tree map[string]any, move func(t time.Time, text string) string) (map[string]any, error) {
	structure, err := structureOf(kind)
	if err != nil {
		return nil, err
	}
	var t reflect.Type
	if structure != nil {
		t = reflect.TypeOf(structure)
	}
	return mover(move).object(tree, t), nil
}

type mover func(t time.Time, text string) string

var (
	timeTypes  = []reflect.Type{reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime]()}
	objectMeta = reflect.TypeFor[metav1.ObjectMeta]()
)

// value moves the times in a value of type t; with t nil, of a type that is not known.
func (m mover) value(v any, t reflect.Type) any {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := v.(type) {
	case map[string]any:
		return m.object(v, t)
	case []any:
		if t != nil {
			if t.Kind() != reflect.Slice {
				return v
			}
			t = t.Elem()
		}
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = m.value(item, t)
		}
		return list
	case string:
		if t != nil && !slices.Contains(timeTypes, t) || len(v) < len("2006-01-02T15:04:05Z") || v[4] != '-' || v[10] != 'T' {
			return v
		}
		if at, err := time.Parse(time.RFC3339, v); err == nil {
			return m(at, v)
		}
	}
	return v
}

func (m mover) object(v map[string]any, t reflect.Type) map[string]any {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	moved := maps.Clone(v)
	switch {
	case t == nil:
		for key, item := range v {
			switch key {
			case "metadata":
				moved[key] = m.value(item, objectMeta)
			case "labels", "annotations", "data", "stringData": // as people wrote them
			default:
				moved[key] = m.value(item, nil)
			}
		}
	case t.Kind() == reflect.Map:
		for key, item := range v {
			moved[key] = m.value(item, t.Elem())
		}
	case t.Kind() == reflect.Struct:
		fields := fieldsOf(t)
		for key, item := range v {
			if field := fields[key]; field != nil {
				moved[key] = m.value(item, field)
			}
		}
	}
	return moved
}

var fieldTypes sync.Map // of reflect.Type: what fieldsOf returned

// fieldsOf are the fields of a struct by their names in JSON, and their types.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if known, ok := fieldTypes.Load(t); ok {
		return known.(map[string]reflect.Type)
	}
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) { // those of embedded structs too
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); f.IsExported() && name != "" && name != "-" {
			fields[name] = f.Type
		}
	}
	fieldTypes.Store(t, fields)
	return fields
}

// shift moves all times of an object.
func shift(kind Kind, text []byte, by time.Duration) ([]byte, error) {
	var tree map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	tree, err := moveTimes(kind, tree, func(t time.Time, text string) string {
		layout := time.RFC3339
		if strings.Contains(text, ".") {
			layout = metav1.RFC3339Micro
		}
		if t = t.Add(by); t.Year() > 9999 { // who means never has no time after it
			return text
		}
		return t.Format(layout)
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(tree)
}

// relative returns an object, or a patch of one, with all times in it as offsets from start.
func relative(kind Kind, object map[string]any, start time.Time) (map[string]any, error) {
	return moveTimes(kind, object, func(t time.Time, text string) string {
		by := t.Sub(start)
		if !start.Add(by).Equal(t) { // it is centuries away
			return text
		}
		return fmt.Sprintf("$(time-offset-nanosecond %d)", by.Nanoseconds())
	})
}
