package expr

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"text/template/parse"
	"time"

	"kwokctl/internal/yaml"
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
	v, err := yaml.Parse(t.out.Bytes())
	if err != nil {
		return nil, fmt.Errorf("read the template's output: %w", err)
	}
	return v, nil
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
