package api

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// schema is what the test reads of an OpenAPI schema.
type schema struct {
	Type                 string            `json:"type"`
	Required             []string          `json:"required"`
	Properties           map[string]schema `json:"properties"`
	Items                *schema           `json:"items"`
	AdditionalProperties *schema           `json:"additionalProperties"`
	IntOrString          bool              `json:"x-kubernetes-int-or-string"`
}

// TestCRDs walks the struct of each kind together with its CRD: both must have the same fields, of the same types.
func TestCRDs(t *testing.T) {
	for _, k := range Kinds {
		if k.Version != Version {
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			text, err := os.ReadFile("../../kustomize/crd/kwok.x-k8s.io_" + k.Plural + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			var crd struct {
				Metadata struct{ Name string }
				Spec     struct {
					Group, Scope string
					Names        struct{ Kind, Plural string }
					Versions     []struct {
						Name   string
						Schema struct {
							OpenAPIV3Schema schema `json:"openAPIV3Schema"`
						}
					}
				}
			}
			if err := yaml.Unmarshal(text, &crd); err != nil {
				t.Fatal(err)
			}
			v := crd.Spec.Versions[0]
			got := fmt.Sprint(crd.Metadata.Name, crd.Spec.Group+"/"+v.Name, crd.Spec.Names.Kind, crd.Spec.Names.Plural, crd.Spec.Scope == "Namespaced")
			if want := fmt.Sprint(k.Plural+".kwok.x-k8s.io", k.Version, k.Name, k.Plural, k.Namespaced); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if k.Namespaced { // the struct is that of the Cluster kind, which has a selector besides
				spec := v.Schema.OpenAPIV3Schema.Properties["spec"]
				if _, ok := spec.Properties["selector"]; ok {
					t.Error("spec.selector: a kind for one pod must have none")
				}
				spec.Properties["selector"] = schemaOf(t, reflect.TypeFor[PodSelector]())
			}
			for _, d := range disagree("", reflect.TypeOf(k.New()).Elem(), v.Schema.OpenAPIV3Schema) {
				t.Error(d)
			}
		})
	}
}

// schemaOf returns a schema that agrees with a struct of lists of strings.
func schemaOf(t *testing.T, of reflect.Type) schema {
	t.Helper()
	s := schema{Type: "object", Properties: map[string]schema{}}
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		s.Properties[name] = schema{Type: "array", Items: &schema{Type: "string"}}
	}
	return s
}

// disagree returns where a type and a schema differ.
func disagree(at string, of reflect.Type, s schema) []string {
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	want := map[reflect.Kind]string{reflect.String: "string", reflect.Bool: "boolean", reflect.Int: "integer", reflect.Int32: "integer",
		reflect.Int64: "integer", reflect.Float64: "number", reflect.Slice: "array", reflect.Map: "object", reflect.Struct: "object"}[of.Kind()]
	switch {
	case of.Kind() == reflect.Struct && reflect.PointerTo(of).Implements(reflect.TypeFor[json.Marshaler]()):
		if !s.IntOrString {
			return []string{at + ": a quantity must be int-or-string"}
		}
		return nil
	case s.Type != want:
		return []string{fmt.Sprintf("%s: %s in the struct, %s in the CRD", at, want, s.Type)}
	case of.Kind() == reflect.Slice:
		return disagree(at+"[]", of.Elem(), *s.Items)
	case of.Kind() == reflect.Map:
		return disagree(at+"{}", of.Elem(), *s.AdditionalProperties)
	case of.Kind() == reflect.Struct:
		return disagreeFields(at, of, s)
	}
	return nil
}

func disagreeFields(at string, of reflect.Type, s schema) (all []string) {
	seen := []string{"apiVersion", "kind", "metadata"}
	for i := range of.NumField() {
		f := of.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || slices.Contains(seen, name) && at == "" {
			continue
		}
		seen = append(seen, name)
		field, ok := s.Properties[name]
		if !ok {
			all = append(all, fmt.Sprintf("%s.%s: only in the struct", at, name))
			continue
		}
		all = append(all, disagree(at+"."+name, f.Type, field)...)
		// What the struct always writes, the cluster must be able to ask for, and the other way round.
		if optional := opts != ""; optional == slices.Contains(s.Required, name) && at != ".status.conditions[]" {
			all = append(all, fmt.Sprintf("%s.%s: optional is %v in the struct, not so in the CRD", at, name, optional))
		}
	}
	for name := range s.Properties {
		if !slices.Contains(seen, name) {
			all = append(all, fmt.Sprintf("%s.%s: only in the CRD", at, name))
		}
	}
	return all
}

func TestDisagree(t *testing.T) {
	type inner struct {
		A string `json:"a"`
		B int    `json:"b,omitempty"`
	}
	text := schema{Type: "string"}
	for _, tt := range []struct {
		s    schema
		want int
	}{
		{schema{Type: "object", Required: []string{"a"}, Properties: map[string]schema{"a": text, "b": {Type: "integer"}}}, 0},
		{schema{Type: "object", Required: []string{"a"}, Properties: map[string]schema{"a": text}}, 1},
		{schema{Type: "object", Required: []string{"a"}, Properties: map[string]schema{"a": text, "b": text}}, 1},
		{schema{Type: "object", Required: []string{"a"}, Properties: map[string]schema{"a": text, "b": {Type: "integer"}, "c": text}}, 1},
		{schema{Type: "object", Properties: map[string]schema{"a": text, "b": {Type: "integer"}}}, 1},
		{schema{Type: "array"}, 1},
	} {
		if got := disagree(".x", reflect.TypeFor[inner](), tt.s); len(got) != tt.want {
			t.Errorf("%+v: %v", tt.s, got)
		}
	}
}

func TestOnePodKindsHaveNoSelector(t *testing.T) {
	doc := "apiVersion: kwok.x-k8s.io/v1alpha1\nkind: %s\nmetadata: {name: a}\nspec:\n  logs: []\n  selector: {matchNames: [b]}\n"
	if _, err := Load(strings.NewReader(fmt.Sprintf(doc, "Logs")), "f.yaml"); err == nil || !strings.Contains(err.Error(), "f.yaml:6: spec.selector: no such field") {
		t.Errorf("got %v", err)
	}
	objs, err := Load(strings.NewReader(fmt.Sprintf(doc, "ClusterLogs")), "f.yaml")
	if err != nil || !Of[*Logs](objs)[0].Spec.Selector.Matches("any", "b") || Of[*Logs](objs)[0].Spec.Selector.Matches("any", "c") {
		t.Errorf("got %v", err)
	}
}
