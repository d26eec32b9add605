package expr

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// object is a struct of Kubernetes' API in CEL: its fields have the names they have in YAML. It is not copied.
type object struct {
	ptr   reflect.Value // to the struct
	asked Asked         // of the variables node and pod; nil for others
}

func newObject(o any, asked Asked) *object { return &object{reflect.ValueOf(o), asked} }

// typeName is what a struct is called in CEL, such as v1.Pod.
func typeName(t reflect.Type) string { return t.String() }

// ConvertToNative returns the struct.
func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	if o.ptr.Type().AssignableTo(t) {
		return o.ptr.Interface(), nil
	}
	return nil, fmt.Errorf("a %s is no %v", o.Type().TypeName(), t)
}

// ConvertToType tells the type.
func (o *object) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return types.NewObjectType(o.Type().TypeName())
	}
	return types.NewErr("a %s cannot become a %s", o.Type().TypeName(), t.TypeName())
}

// Equal compares all fields.
func (o *object) Equal(other ref.Val) ref.Val {
	p, ok := other.(*object)
	return types.Bool(ok && reflect.DeepEqual(o.Value(), p.Value()))
}

// Type returns the type in CEL.
func (o *object) Type() ref.Type { return types.NewObjectType(typeName(o.ptr.Type().Elem())) }

// Value returns the struct, by a pointer.
func (o *object) Value() any { return o.ptr.Interface() }

// Get returns a field, where its type was not known before.
func (o *object) Get(index ref.Val) ref.Val {
	name, ok := index.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(index)
	}
	i, ok := fieldOf(o.ptr.Type().Elem(), string(name))
	if !ok {
		return types.NewErr("no such field: %s", name)
	}
	return adapter{}.NativeToValue(o.ptr.Elem().FieldByIndex(i).Interface())
}

// fieldOf finds a field by its name in YAML.
func fieldOf(t reflect.Type, name string) ([]int, bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == name && tag != "" {
			return f.Index, true
		}
		if tag == "" && f.Anonymous && strings.Contains(options, "inline") {
			if below, ok := fieldOf(f.Type, name); ok {
				return append([]int{i}, below...), true
			}
		}
	}
	return nil, false
}

// adapter makes CEL's values of Go's.
type adapter struct{}

// NativeToValue makes a value for CEL.
func (a adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case nil:
		return types.NullValue
	case ref.Val:
		return v
	case metav1.Time:
		return types.Timestamp{Time: v.UTC()}
	case metav1.MicroTime:
		return types.Timestamp{Time: v.UTC()}
	case metav1.Duration:
		return types.Duration{Duration: v.Duration}
	case time.Time, time.Duration, []byte:
		return types.DefaultTypeAdapter.NativeToValue(v)
	case resource.Quantity:
		return quantity{v}
	case corev1.ResourceList:
		return amounts{types.NewDynamicMap(a, map[corev1.ResourceName]resource.Quantity(v))}
	case intstr.IntOrString:
		if v.Type == intstr.Int {
			return types.Int(v.IntVal)
		}
		return types.String(v.StrVal)
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer:
		if r.IsNil() {
			return types.NullValue
		}
		if structural(r.Type().Elem()) {
			return &object{ptr: r}
		}
		return a.NativeToValue(r.Elem().Interface())
	case reflect.Struct:
		p := reflect.New(r.Type())
		p.Elem().Set(r)
		return &object{ptr: p}
	case reflect.Slice:
		return types.NewDynamicList(a, v)
	case reflect.Map:
		return types.NewDynamicMap(a, v)
	case reflect.String:
		return types.String(r.String())
	case reflect.Bool:
		return types.Bool(r.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return types.Int(r.Int())
	default:
		return types.DefaultTypeAdapter.NativeToValue(v)
	}
}

// structural tells whether a type is a struct of which the fields count.
func structural(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[metav1.Time]() && t != reflect.TypeFor[metav1.MicroTime]() &&
		t != reflect.TypeFor[metav1.Duration]() && t != reflect.TypeFor[resource.Quantity]() && t != reflect.TypeFor[intstr.IntOrString]()
}

// provider knows the structs of Kubernetes' API, so that a field that is not there is found before anything runs.
type provider struct {
	types.Provider
	structs map[string]reflect.Type
}

func newProvider(p types.Provider, roots ...reflect.Type) *provider {
	all := &provider{p, map[string]reflect.Type{}}
	for _, t := range roots {
		all.celType(t)
	}
	return all
}

// celType returns what a Go type is in CEL, and remembers structs.
func (p *provider) celType(t reflect.Type) *cel.Type {
	switch t {
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime]():
		return cel.TimestampType
	case reflect.TypeFor[metav1.Duration]():
		return cel.DurationType
	case reflect.TypeFor[resource.Quantity]():
		return quantityType
	case reflect.TypeFor[intstr.IntOrString]():
		return cel.DynType
	case reflect.TypeFor[[]byte]():
		return cel.BytesType
	}
	switch t.Kind() {
	case reflect.Pointer:
		below := p.celType(t.Elem())
		switch below {
		case cel.StringType, cel.BoolType, cel.IntType:
			return cel.NullableType(below)
		}
		return below
	case reflect.Struct:
		name := typeName(t)
		if _, known := p.structs[name]; !known {
			p.structs[name] = t
			p.each(t)
		}
		return cel.ObjectType(name)
	case reflect.Slice:
		return cel.ListType(p.celType(t.Elem()))
	case reflect.Map:
		return cel.MapType(p.celType(t.Key()), p.celType(t.Elem()))
	case reflect.String:
		return cel.StringType
	case reflect.Bool:
		return cel.BoolType
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return cel.IntType
	}
	return cel.DynType
}

// each finds the structs below one.
func (p *provider) each(t reflect.Type) {
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() {
			p.celType(f.Type)
		}
	}
}

// FindStructType tells whether there is a struct of this name.
func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if _, ok := p.structs[name]; ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldType finds a field of a struct.
func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	t, ok := p.structs[name]
	if !ok {
		return p.Provider.FindStructFieldType(name, field)
	}
	at, ok := fieldOf(t, field)
	if !ok {
		return nil, false
	}
	get := func(o any) (reflect.Value, error) {
		v := reflect.ValueOf(o)
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if !v.IsValid() || o == types.NullValue { // a struct that is not there has none of its fields
			return reflect.Zero(t.FieldByIndex(at).Type), nil
		}
		if v.Type() != t {
			return v, fmt.Errorf("no %s to take %s from", strings.TrimPrefix(name, "v1."), field)
		}
		return v.FieldByIndex(at), nil
	}
	return &types.FieldType{
		Type: p.celType(t.FieldByIndex(at).Type),
		IsSet: func(o any) bool {
			v, err := get(o)
			return err == nil && !v.IsZero()
		},
		GetFrom: func(o any) (any, error) {
			v, err := get(o)
			if err != nil {
				return nil, err
			}
			if structural(v.Type()) && v.CanAddr() {
				v = v.Addr() // it is not copied
			}
			return v.Interface(), nil
		},
	}, true
}
