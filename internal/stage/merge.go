package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// errDirective: the patch uses what only the server's own strategic merge understands.
var errDirective = errors.New("patch directive")

// merge applies a strategic merge patch to a struct of k8s.io/api, by the patch strategies in its tags. It writes
// to dst itself, but never into maps, slices or pointers that dst shares with others.
func merge(dst reflect.Value, patch map[string]any) error {
	fields := typeOf(dst.Type()).fields
	for name, p := range patch {
		if strings.HasPrefix(name, "$") {
			return errDirective
		}
		f, ok := fields[name]
		if !ok {
			continue // as the API server does with fieldValidation=Ignore
		}
		if f.keep {
			return errDirective
		}
		if err := mergeField(dst.FieldByIndex(f.index), p, f); err != nil {
			if errors.Is(err, errDirective) {
				return err
			}
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func mergeField(dst reflect.Value, p any, f jsonField) error {
	if p == nil {
		dst.SetZero()
		return nil
	}
	if list, ok := p.([]any); ok && f.merge {
		return mergeList(dst, list, f.mergeKey)
	}
	return set(dst, p)
}

// set puts a JSON value into dst: merged into structs and maps, else in place of what was there.
func set(dst reflect.Value, p any) error {
	if p == nil {
		dst.SetZero()
		return nil
	}
	switch dst.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(dst.Type().Elem())
		if !dst.IsNil() {
			fresh.Elem().Set(dst.Elem())
		}
		if err := set(fresh.Elem(), p); err != nil {
			return err
		}
		dst.Set(fresh)
		return nil
	case reflect.Struct:
		if m, ok := p.(map[string]any); ok && !typeOf(dst.Type()).leaf {
			return merge(dst, m)
		}
	case reflect.Map:
		if m, ok := p.(map[string]any); ok {
			return setMap(dst, m)
		}
	case reflect.Slice:
		if l, ok := p.([]any); ok {
			return setSlice(dst, l)
		}
	}
	return setScalar(dst, p)
}

func setMap(dst reflect.Value, m map[string]any) error {
	fresh := reflect.MakeMapWithSize(dst.Type(), dst.Len()+len(m))
	for it := dst.MapRange(); it.Next(); {
		fresh.SetMapIndex(it.Key(), it.Value())
	}
	for k, p := range m {
		if strings.HasPrefix(k, "$") {
			return errDirective
		}
		key := reflect.ValueOf(k).Convert(dst.Type().Key())
		if p == nil {
			fresh.SetMapIndex(key, reflect.Value{})
			continue
		}
		e := reflect.New(dst.Type().Elem()).Elem()
		if old := fresh.MapIndex(key); old.IsValid() {
			e.Set(old)
		}
		if err := set(e, p); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
		fresh.SetMapIndex(key, e)
	}
	dst.Set(fresh)
	return nil
}

func setSlice(dst reflect.Value, l []any) error {
	fresh := reflect.MakeSlice(dst.Type(), len(l), len(l))
	for i, p := range l {
		if err := set(fresh.Index(i), p); err != nil {
			return fmt.Errorf("%d: %w", i, err)
		}
	}
	dst.Set(fresh)
	return nil
}

// mergeList merges element by element, by their keys; new elements go to the end.
func mergeList(dst reflect.Value, l []any, key string) error {
	if key == "" {
		return errDirective // union of scalars: not in any status
	}
	fresh := reflect.MakeSlice(dst.Type(), dst.Len(), dst.Len()+len(l))
	reflect.Copy(fresh, dst)
	for i, p := range l {
		m, ok := p.(map[string]any)
		if !ok {
			return fmt.Errorf("%d: got %T, want an object", i, p)
		}
		if _, ok := m["$patch"]; ok {
			return errDirective
		}
		k, ok := m[key]
		if !ok {
			return fmt.Errorf("%d: no %s, by which the list is merged", i, key)
		}
		at := indexOf(fresh, key, fmt.Sprint(k))
		if at < 0 {
			at = fresh.Len()
			fresh = reflect.Append(fresh, reflect.Zero(fresh.Type().Elem()))
		}
		if err := set(fresh.Index(at), m); err != nil {
			return fmt.Errorf("%d: %w", i, err)
		}
	}
	dst.Set(fresh)
	return nil
}

// indexOf returns the element whose key field prints as k, or -1.
func indexOf(list reflect.Value, key, k string) int {
	f, ok := typeOf(list.Type().Elem()).fields[key]
	if !ok {
		return -1
	}
	for i := range list.Len() {
		v := list.Index(i).FieldByIndex(f.index)
		if v.Kind() == reflect.String && v.String() == k || v.Kind() != reflect.String && fmt.Sprint(v.Interface()) == k {
			return i
		}
	}
	return -1
}

func setScalar(dst reflect.Value, p any) error {
	switch p := p.(type) {
	case string:
		if dst.Type() == reflect.TypeFor[metav1.Time]() {
			t, err := time.Parse(time.RFC3339Nano, p)
			if err != nil {
				return fmt.Errorf("want a time, not %q", p)
			}
			// The API keeps whole seconds.
			dst.Set(reflect.ValueOf(metav1.NewTime(t.Truncate(time.Second).Local())))
			return nil
		}
		if dst.Kind() == reflect.String {
			dst.SetString(p)
			return nil
		}
	case bool:
		if dst.Kind() == reflect.Bool {
			dst.SetBool(p)
			return nil
		}
	case int64:
		if dst.CanInt() && !dst.OverflowInt(p) {
			dst.SetInt(p)
			return nil
		}
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, dst.Addr().Interface()); err != nil {
		return fmt.Errorf("want %s, not %s", dst.Type(), text)
	}
	return nil
}
