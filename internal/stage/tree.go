package stage

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// treeOf builds the JSON form of a typed object as the API server would print it, without printing it.
func treeOf(o any, kind string) map[string]any {
	tree, ok := jsonTree(reflect.ValueOf(o)).(map[string]any)
	if !ok {
		return map[string]any{}
	}
	tree["apiVersion"], tree["kind"] = "v1", kind
	return tree
}

// jsonTree is what decoding the JSON of v gives, with numbers as json.Number.
func jsonTree(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return jsonTree(v.Elem())
	case reflect.Struct:
		t := typeOf(v.Type())
		if t.leaf {
			return jsonLeaf(v)
		}
		m := make(map[string]any, 8)
		for name, f := range t.fields {
			x := v.FieldByIndex(f.index)
			if f.omit && empty(x) || f.zero && zero(x) {
				continue
			}
			m[name] = jsonTree(x)
		}
		return m
	case reflect.Map:
		return jsonMap(v)
	case reflect.Slice:
		if v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8 {
			return printed(v)
		}
		l := make([]any, v.Len())
		for i := range l {
			l[i] = jsonTree(v.Index(i))
		}
		return l
	case reflect.String:
		if s := v.String(); utf8.ValidString(s) {
			return s
		}
	case reflect.Bool:
		return v.Bool()
	case reflect.Int, reflect.Int32, reflect.Int64:
		return json.Number(strconv.FormatInt(v.Int(), 10))
	}
	return printed(v)
}

func jsonMap(v reflect.Value) any {
	if v.IsNil() {
		return nil
	}
	if v.Type().Key().Kind() != reflect.String {
		return printed(v)
	}
	m := make(map[string]any, v.Len())
	for it := v.MapRange(); it.Next(); {
		key := it.Key().String()
		if !utf8.ValidString(key) {
			return printed(v)
		}
		m[key] = jsonTree(it.Value())
	}
	return m
}

// zero is what encoding/json's omitzero leaves out.
func zero(v reflect.Value) bool {
	if z, ok := v.Interface().(interface{ IsZero() bool }); ok {
		return z.IsZero()
	}
	if v.CanAddr() {
		if z, ok := v.Addr().Interface().(interface{ IsZero() bool }); ok {
			return z.IsZero()
		}
	}
	return v.IsZero()
}

// jsonLeaf is the value of what prints itself.
func jsonLeaf(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case metav1.Time:
		if x.IsZero() {
			return nil
		}
		return x.UTC().Format(time.RFC3339)
	case resource.Quantity:
		return x.String()
	}
	return printed(v)
}

// printed takes the long way, by JSON text.
func printed(v reflect.Value) any {
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var x any
	_ = dec.Decode(&x) // our own encoding
	return x
}
