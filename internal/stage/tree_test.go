package stage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// fill puts random values into v, half of them zero.
func fill(v reflect.Value, r *rand.Rand, depth int) {
	if depth == 0 || r.IntN(2) == 0 && depth < 8 {
		return
	}
	switch p := v.Addr().Interface().(type) {
	case *metav1.Time:
		*p = metav1.NewTime(time.Unix(r.Int64N(2e9), r.Int64N(1e9)))
		return
	case *metav1.MicroTime:
		*p = metav1.NewMicroTime(time.Unix(r.Int64N(2e9), 0))
		return
	case *resource.Quantity:
		*p = *resource.NewMilliQuantity(r.Int64N(1e6), resource.DecimalSI)
		return
	case *intstr.IntOrString:
		*p = intstr.FromInt32(r.Int32())
		return
	case *metav1.FieldsV1:
		p.SetRawString(`{"a":1}`)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), r, depth-1)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), r, depth-1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			fill(v.Index(i), r, depth-1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(3) {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(k, r, 9)
			fill(e, r, depth-1)
			v.SetMapIndex(k, e)
		}
	case reflect.String:
		v.SetString([]string{"a", "ü\"<&>", "\u2028", "bad\xff\xfe", "x"}[r.IntN(5)])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(int32(r.Uint32())))
	case reflect.Uint8:
		v.SetUint(uint64(r.IntN(256)))
	}
}

// The JSON form of a typed object is what its JSON says.
func TestTreeLikeJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		for kind, o := range map[string]any{"Pod": &corev1.Pod{}, "Node": &corev1.Node{}} {
			fill(reflect.ValueOf(o).Elem(), r, 10)
			text, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			dec := json.NewDecoder(bytes.NewReader(text))
			dec.UseNumber()
			want := map[string]any{}
			if err := dec.Decode(&want); err != nil {
				t.Fatal(err)
			}
			want["apiVersion"], want["kind"] = "v1", kind
			if got := treeOf(o, kind); !reflect.DeepEqual(got, want) {
				t.Fatalf("%d: %s%s", n, kind, difference(got, want))
			}
		}
	}
}

// difference says where two trees differ first.
func difference(a, b any) string {
	switch x := a.(type) {
	case map[string]any:
		y, _ := b.(map[string]any)
		for k := range y {
			if _, ok := x[k]; !ok {
				return "." + k + " is missing"
			}
		}
		for k := range x {
			if !reflect.DeepEqual(x[k], y[k]) {
				return "." + k + difference(x[k], y[k])
			}
		}
	case []any:
		y, _ := b.([]any)
		for i := range min(len(x), len(y)) {
			if !reflect.DeepEqual(x[i], y[i]) {
				return "[]" + difference(x[i], y[i])
			}
		}
	}
	return fmt.Sprintf(": got %#v, want %#v", a, b)
}
