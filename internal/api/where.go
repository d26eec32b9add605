package api

import (
	"fmt"
	"strconv"
	"strings"

	yaml3 "go.yaml.in/yaml/v3"
)

// Where finds a field of a loaded stage, such as spec.steps[0].patch.template, in the file it came from: by the name
// it has there, which is another one for deprecated forms, and with its line; 0 for a stage that was not loaded.
func (s *Stage) Where(field string) (name string, line int) {
	if s.doc.line == 0 {
		return field, 0
	}
	name = s.written(field)
	return name, s.doc.lineOf(name)
}

// Document returns which document of its file the stage was, from 1; 0 for a stage that was not loaded.
func (s *Stage) Document() int { return s.doc.index }

// written undoes what normalise did to the name of a field.
func (s *Stage) written(field string) string {
	var root yaml3.Node
	if yaml3.Unmarshal(s.doc.text, &root) != nil || len(root.Content) == 0 {
		return field
	}
	top := root.Content[0]
	if at, rest, ok := strings.Cut(field, ".jq."); ok && find(top, at) != nil && find(top, at+".jq") == nil {
		if rest == "expression" {
			rest = "expressionFrom"
		}
		return at + "." + rest
	}
	if rest, ok := strings.CutPrefix(field, "spec.steps["); ok && find(top, "spec.steps") == nil {
		number, part, _ := strings.Cut(rest, "]")
		if i, err := strconv.Atoi(number); err == nil {
			return "spec.next" + inNext(top, i, part)
		}
	}
	return field
}

// inNext names a part of step i by where spec.next has it.
func inNext(top *yaml3.Node, i int, part string) string {
	for _, before := range []string{"event", "finalizers"} {
		if find(top, "spec.next."+before) == nil {
			continue
		}
		if i == 0 {
			return part // such as .event.type
		}
		i--
	}
	rest := strings.TrimPrefix(part, ".patch")
	switch {
	case rest == part: // .delete
		return part
	case find(top, "spec.next.patches[0]") != nil:
		return fmt.Sprintf(".patches[%d]%s", i, rest)
	}
	return ".statusTemplate"
}

// find returns the value of a field, nil if the document does not have it.
func find(n *yaml3.Node, field string) *yaml3.Node {
	for _, part := range parts(field) {
		if n = child(n, part); n == nil {
			return nil
		}
	}
	return n
}

// parts are the names and indices in a field.
func parts(field string) []string {
	return strings.FieldsFunc(field, func(r rune) bool { return strings.ContainsRune(".[]", r) })
}

// origin is where an object was read.
type origin struct {
	file string
	doc  document
}

func (o *origin) read(file string, d document) { o.file, o.doc = file, d }

// At returns the place of a field, for the beginning of a message; "" for an object that was not loaded.
func (o *origin) At(field string) string {
	if o.doc.line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", o.file, o.doc.lineOf(field))
}
