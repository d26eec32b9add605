package stage

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"
)

// jsonField is a field of a Kubernetes struct as its tags describe it.
type jsonField struct {
	index    []int
	omit     bool   // omitempty
	zero     bool   // omitzero
	merge    bool   // a list that a strategic patch merges
	mergeKey string // by this field; "" for a list of scalars
	keep     bool   // retainKeys: only the slow way understands it
}

var (
	marshaler  = reflect.TypeFor[json.Marshaler]()
	numberType = reflect.TypeFor[json.Number]()
	// fieldCache remembers typeOf; it only ever grows by the types of k8s.io/api, which are finite.
	fieldCache sync.Map // reflect.Type → *structType
)

// structType is what we know of a struct.
type structType struct {
	leaf   bool // prints itself
	fields map[string]jsonField
}

// typeOf returns what there is to know of a struct, by reflection once per type.
func typeOf(t reflect.Type) *structType {
	if s, ok := fieldCache.Load(t); ok {
		return s.(*structType)
	}
	s := &structType{leaf: reflect.PointerTo(t).Implements(marshaler), fields: map[string]jsonField{}}
	addFields(s.fields, t, nil)
	fieldCache.Store(t, s)
	return s
}

func addFields(m map[string]jsonField, t reflect.Type, prefix []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		index := append(prefix[:len(prefix):len(prefix)], i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			addFields(m, f.Type, index) // inlined
			continue
		}
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		strategy := f.Tag.Get("patchStrategy")
		m[name] = jsonField{index: index, omit: strings.Contains(opts, "omitempty"), zero: strings.Contains(opts, "omitzero"),
			merge: strings.Contains(strategy, "merge"), mergeKey: f.Tag.Get("patchMergeKey"),
			keep: strings.Contains(strategy, "retainKeys")}
	}
}
