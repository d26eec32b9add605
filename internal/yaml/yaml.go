// Package yaml reads YAML: plain documents, which are most, ten times as fast as the general readers, which have the rest.
package yaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	yaml2 "go.yaml.in/yaml/v2"
	"sigs.k8s.io/yaml"
)

// ToJSON turns one YAML document into JSON. A key that is there twice is an error, as all that is no YAML, in the words
// of sigs.k8s.io/yaml.
func ToJSON(text []byte) ([]byte, error) {
	if v, ok := readPlain(text); ok {
		return json.Marshal(v)
	}
	return yaml.YAMLToJSONStrict(text)
}

// Parse reads one YAML or JSON document as maps by string, slices, strings, booleans, int64 and float64. An empty one is nil.
func Parse(text []byte) (any, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return nil, nil
	}
	if text[0] == '{' || text[0] == '[' {
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		var v any
		if dec.Decode(&v) == nil && !dec.More() {
			return plain(v), nil
		}
	}
	if v, ok := readPlain(text); ok {
		return v, nil
	}
	var v any
	if err := yaml2.Unmarshal(text, &v); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return plain(v), nil
}

// plain turns what the YAML and JSON readers make into the types that Parse promises.
func plain(v any) any {
	switch v := v.(type) {
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			s, ok := k.(string)
			if !ok {
				s = fmt.Sprint(k)
			}
			m[s] = plain(e)
		}
		return m
	case map[string]any:
		for k, e := range v {
			v[k] = plain(e)
		}
		return v
	case []any:
		for i, e := range v {
			v[i] = plain(e)
		}
		return v
	case int:
		return int64(v)
	case json.Number:
		return Number(v)
	}
	return v
}

// Number is n as int64 if it is one, else as float64.
func Number(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	f, _ := n.Float64()
	return f
}
