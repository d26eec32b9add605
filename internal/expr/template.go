package expr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"text/template/parse"
	"time"

	yaml2 "go.yaml.in/yaml/v2"
)

// ErrLimit is what a breach of a limit is.
var ErrLimit = errors.New("limit exceeded")

// Template is a Go template whose output is YAML or JSON. It is not safe for concurrent use.
type Template struct {
	t   *template.Template
	out limited
}

// NewTemplate compiles a template.
func NewTemplate(text string, funcs Funcs) (*Template, error) {
	t, err := template.New("template").Funcs(funcMap(funcs)).Parse(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "template: template:"))
	}
	for _, d := range t.Templates() {
		if d.Tree != nil {
			tick(d.Tree.Root, true)
		}
	}
	return &Template{t: t}, nil
}

// tick puts an empty text at the head of each loop and each named template: printing it, even though it is
// nothing, is where the writer looks at the time, so that no loop runs on unseen.
func tick(n parse.Node, head bool) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, c := range n.Nodes {
			tick(c, false)
		}
		if head {
			n.Nodes = append([]parse.Node{&parse.TextNode{NodeType: parse.NodeText}}, n.Nodes...)
		}
	case *parse.RangeNode:
		tick(n.List, true)
		tick(n.ElseList, false)
	case *parse.IfNode:
		tick(n.List, false)
		tick(n.ElseList, false)
	case *parse.WithNode:
		tick(n.List, false)
		tick(n.ElseList, false)
	}
}

// Render runs the template on data and reads its output: maps with string keys, lists, strings, bools, int64,
// float64 and nil. No output is nil.
func (t *Template) Render(data any) (any, error) {
	t.out.Reset()
	t.out.deadline = time.Now().Add(maxTime)
	if err := t.t.Execute(&t.out, data); err != nil {
		return nil, fmt.Errorf("render: %w", err)
	}
	return Parse(t.out.Bytes())
}

// Parse reads one YAML or JSON document.
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
	if v, ok := plainYAML(text); ok {
		return v, nil
	}
	var v any
	if err := yaml2.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("read the template's output: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return plain(v), nil
}

// plain turns what the YAML and JSON readers make into the types that Render promises.
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
		return number(v)
	}
	return v
}

func number(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	f, _ := n.Float64()
	return f
}

// limited is a buffer that refuses to grow too large or to be written too late.
type limited struct {
	bytes.Buffer
	deadline time.Time
}

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxOutput {
		return 0, fmt.Errorf("output over %d bytes: %w", maxOutput, ErrLimit)
	}
	// The clock costs more than most writes; loops write an empty text once per turn.
	if len(p) == 0 && time.Now().After(l.deadline) {
		return 0, fmt.Errorf("running for %v: %w", maxTime, ErrLimit)
	}
	return l.Buffer.Write(p)
}
