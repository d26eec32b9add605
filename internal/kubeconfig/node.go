package kubeconfig

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
	k8syaml "sigs.k8s.io/yaml"
)

// field is the value at key of a mapping, or nil.
func field(m *yaml.Node, key string) *yaml.Node {
	if m == nil {
		return nil
	}
	if m.Kind == yaml.AliasNode {
		m = m.Alias
	}
	if m.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i < len(m.Content); i += 2 {
		if m.Content[i].Kind == yaml.ScalarNode && m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}

// set puts value at key; a value that was there keeps its comments.
func set(m *yaml.Node, key string, value *yaml.Node) {
	if old := field(m, key); old != nil {
		value.HeadComment, value.LineComment, value.FootComment = old.HeadComment, old.LineComment, old.FootComment
		*old = *value
		return
	}
	m.Content = append(m.Content, scalar(key), value)
}

func unset(m *yaml.Node, key string) {
	for i := 0; i < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content = slices.Delete(m.Content, i, i+2)
			return
		}
	}
}

// text is what a scalar says, or nothing.
func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

func yes() *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"} }

// scalar is a string, quoted if anybody's YAML would read it as something else.
func scalar(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	var read any
	if err := k8syaml.Unmarshal([]byte(s), &read); err != nil || read != any(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// mapping is made of keys and values in turn.
func mapping(pairs ...any) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i < len(pairs); i += 2 {
		m.Content = append(m.Content, scalar(pairs[i].(string)), pairs[i+1].(*yaml.Node))
	}
	return m
}

// without is the part of a kubeconfig that an edit of the entry name must not change.
func without(t map[string]any, name string) map[string]any {
	t = maps.Clone(t)
	delete(t, "current-context")
	for _, list := range lists() {
		items, _ := t[list].([]any)
		var others []any
		for _, item := range items {
			if m, ok := item.(map[string]any); ok && m["name"] != name {
				others = append(others, forget(m))
			}
		}
		t[list] = others
	}
	return t
}

// forget drops our note from an item, if it holds one: the removal of one of our entries changes it in another.
func forget(item map[string]any) map[string]any {
	context, _ := item["context"].(map[string]any)
	notes, _ := context["extensions"].([]any)
	kept := slices.DeleteFunc(slices.Clone(notes), func(n any) bool {
		m, _ := n.(map[string]any)
		return m["name"] == extension
	})
	if len(kept) == len(notes) {
		return item
	}
	item, context = maps.Clone(item), maps.Clone(context)
	item["context"] = context
	if context["extensions"] = kept; len(kept) == 0 {
		delete(context, "extensions")
	}
	return item
}
