package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	yaml3 "go.yaml.in/yaml/v3"
	sjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// maxInput bounds what Load reads; the YAML reader itself refuses aliases that expand beyond reason.
const maxInput = 64 << 20

// Load reads a stream of YAML or JSON documents. It is strict: an unknown field, a field given twice or one of
// the wrong type is an error that names the document, the line where possible and the field. Deprecated forms of
// Stage are replaced by what they mean. Documents of kinds that are not ours are returned as Raw.
func Load(r io.Reader, name string) ([]Object, error) {
	objs, errs := Scan(r, name)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return objs, nil
}

// DocumentError is a mistake in one document of a stream.
type DocumentError struct {
	Document int // from 1
	Err      error
}

func (e *DocumentError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *DocumentError) Unwrap() error { return e.Err }

// Scan is Load that goes on after a document with a mistake. It returns the good documents and all the mistakes.
func Scan(r io.Reader, name string) (objs []Object, errs []error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, []error{fmt.Errorf("read %s: %w", name, err)}
	}
	if len(data) > maxInput {
		return nil, []error{fmt.Errorf("read %s: larger than %d MiB", name, maxInput>>20)}
	}
	docs, err := split(data)
	if err != nil {
		return nil, []error{fmt.Errorf("read %s: %w", name, err)}
	}
	n := 0
	for _, d := range docs {
		d.index = n + 1
		o, err := d.load(name)
		if o != nil || err != nil {
			n++
		}
		if err != nil {
			errs = append(errs, &DocumentError{d.index, err})
		} else if o != nil {
			objs = append(objs, o)
		}
	}
	return objs, errs
}

// Of returns the objects that are of type T.
func Of[T Object](objs []Object) []T {
	var of []T
	for _, o := range objs {
		if t, ok := o.(T); ok {
			of = append(of, t)
		}
	}
	return of
}

// Save writes the objects as a stream of YAML documents that Load reads.
func Save(w io.Writer, objs ...Object) error {
	for i, o := range objs {
		if t := o.Type(); t.Kind == "" || t.APIVersion == "" {
			return fmt.Errorf("save %q: no kind or apiVersion", o.Meta().Name)
		}
		data, err := yaml.Marshal(o)
		if err != nil {
			return fmt.Errorf("save %s %q: %w", o.Type().Kind, o.Meta().Name, err)
		}
		if i > 0 {
			data = append([]byte("---\n"), data...)
		}
		if _, err := w.Write(data); err != nil {
			return fmt.Errorf("save %s %q: %w", o.Type().Kind, o.Meta().Name, err)
		}
	}
	return nil
}

type document struct {
	text []byte
	line int // of its first byte, from 1
	// index of the document among those that are not empty, from 1
	index int
}

// split cuts the stream at the document markers, or between the values of a JSON stream.
func split(data []byte) ([]document, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var docs []document
	start, startLine, line := 0, 1, 0
	for pos := 0; pos < len(data); {
		line++
		end := len(data)
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		if rest, ok := bytes.CutPrefix(data[pos:end], []byte("---")); ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0) {
			docs = append(docs, document{text: data[start:pos], line: startLine})
			start, startLine = pos+3, line
		}
		pos = end
	}
	docs = append(docs, document{text: data[start:], line: startLine})
	if len(docs) == 1 && bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return splitJSON(data, docs)
	}
	return docs, nil
}

func splitJSON(data []byte, whole []document) ([]document, error) {
	var docs []document
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		begin := dec.InputOffset()
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return whole, nil // flow-style YAML begins with a brace too: its reader will tell
		}
		docs = append(docs, document{text: raw, line: 1 + bytes.Count(data[:begin], []byte("\n"))})
	}
}

func (d document) load(name string) (Object, error) {
	text, err := yaml.YAMLToJSONStrict(d.text)
	if endless := (*json.UnsupportedValueError)(nil); errors.As(err, &endless) { // JSON has no such number
		line := d.line
		if at := notFinite.FindIndex(d.text); at != nil {
			line += bytes.Count(d.text[:at[0]], []byte("\n"))
		}
		return nil, fmt.Errorf("%s:%d: want a number that is finite, not %s", name, line, endless.Str)
	}
	if err != nil {
		return nil, fmt.Errorf("%s:%s", name, d.shift(err.Error()))
	}
	if bytes.Equal(bytes.TrimSpace(text), []byte("null")) {
		return nil, nil
	}
	var head Raw
	if err := json.Unmarshal(text, &head.TypeMeta); err != nil {
		return nil, fmt.Errorf("%s:%d: not an object with apiVersion and kind", name, d.line)
	}
	if head.Kind == "" {
		return nil, fmt.Errorf("%s:%d: kind: missing", name, d.line)
	}
	for _, k := range Kinds {
		if k.Name == head.Kind && ours(head.APIVersion) {
			return d.decode(name, text, k)
		}
	}
	if ours(head.APIVersion) && head.APIVersion != "" {
		return nil, fmt.Errorf("%s:%d: kind: no kind %q in %s%s", name, d.lineOf("kind"), head.Kind, head.APIVersion, suggestKind(head.Kind))
	}
	return d.raw(name, text)
}

// ours reports whether a group/version is one of ours; a missing one is, because kinds alone have always been enough.
func ours(version string) bool {
	group, _, _ := strings.Cut(version, "/")
	return version == "" || strings.HasSuffix(group, "kwok.x-k8s.io")
}

func (d document) raw(name string, text []byte) (Object, error) {
	r := &Raw{JSON: text}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, d.line, err)
	}
	return r, nil
}

// unknownField and wrongType find the field in the messages of the JSON readers.
var (
	unknownField = regexp.MustCompile(`field "([^"]+)"`)
	wrongType    = regexp.MustCompile(`cannot unmarshal (\S+(?: \S+)?) into Go struct field (\S+?)\.(\S+) of type (\S+)`)
	wrongNumber  = regexp.MustCompile(`strconv\.Parse(Bool|Int|Uint|Float): parsing ("[^"]*"): (?:invalid syntax|value out of range)`)
	notFinite    = regexp.MustCompile(`(?i)[-+]?\.(?:inf|nan)\b`)
	yamlLine     = regexp.MustCompile(`line (\d+): `)
)

// NumbersInWords replaces what Go's parsers say of a value by what is wanted.
func NumbersInWords(text string) string {
	return wrongNumber.ReplaceAllStringFunc(text, func(found string) string {
		m := wrongNumber.FindStringSubmatch(found)
		return m[2] + ": want " + TypeInWords(strings.ToLower(m[1]))
	})
}

// TypeInWords says what a Go type looks like in a file.
func TypeInWords(goType string) string {
	switch t := strings.TrimPrefix(goType, "*"); {
	case strings.HasPrefix(t, "[]"):
		return "a list"
	case strings.HasPrefix(t, "int"):
		return "a whole number"
	case strings.HasPrefix(t, "uint"):
		return "a whole number that is not negative"
	case strings.HasPrefix(t, "float"):
		return "a number"
	case t == "bool":
		return "true or false"
	case t == "string":
		return "text"
	}
	return "an object"
}

func (d document) decode(name string, text []byte, k Kind) (Object, error) {
	o := k.New()
	strict, err := sjson.UnmarshalStrict(text, o)
	if err != nil {
		if m := wrongType.FindStringSubmatch(err.Error()); m != nil {
			return nil, fmt.Errorf("%s:%d: %s: want %s, not %s", name, d.lineOf(m[3]), m[3], TypeInWords(m[4]), m[1])
		}
		return nil, fmt.Errorf("%s:%d: %w", name, d.line, err)
	}
	if len(strict) > 0 {
		if m := unknownField.FindStringSubmatch(strict[0].Error()); m != nil {
			return nil, fmt.Errorf("%s:%d: %s: no such field%s", name, d.lineOf(m[1]), m[1], suggestField(o, m[1]))
		}
		return nil, fmt.Errorf("%s:%d: %w", name, d.line, strict[0])
	}
	if err := unselected(o, k); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, d.lineOf("spec.selector"), err)
	}
	if p, ok := o.(interface{ paths() []*string }); ok {
		if err := absolute(p.paths()); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, d.line, err)
		}
	}
	switch o := o.(type) {
	case interface{ read(file string, d document) }:
		o.read(name, d)
	case *Stage:
		o.normalise()
		o.File, o.doc = name, d
	case *KwokConfiguration:
		o.raw = text
	case *KwokctlConfiguration:
		o.raw = text
		o.at = func(field string) string { return fmt.Sprintf("%s:%d:", name, d.lineOf(field)) }
	}
	return o, nil
}

// shift turns the YAML reader's line, counted in its document, into one of the stream.
func (d document) shift(msg string) string {
	msg = strings.TrimPrefix(strings.TrimPrefix(msg, "error converting YAML to JSON: "), "yaml: ")
	msg = strings.Join(strings.Fields(strings.TrimPrefix(msg, "unmarshal errors:")), " ")
	if m := yamlLine.FindStringSubmatchIndex(msg); m != nil {
		n, _ := strconv.Atoi(msg[m[2]:m[3]])
		return fmt.Sprintf("%d: %s", d.line+n-1, msg[:m[0]]+msg[m[1]:])
	}
	return fmt.Sprintf("%d: %s", d.line, msg)
}

// lineOf returns the line of the stream where a field such as spec.steps[0].patch stands, else that of the document.
func (d document) lineOf(field string) int {
	var n yaml3.Node
	if yaml3.Unmarshal(d.text, &n) != nil || len(n.Content) == 0 {
		return d.line
	}
	at, line := n.Content[0], n.Content[0].Line
	for _, part := range parts(field) {
		at = child(at, part)
		if at == nil {
			break
		}
		line = at.Line
	}
	return d.line + line - 1
}

// child returns the value (or, for a mapping, the key's line with the value) of one step of a path.
func child(n *yaml3.Node, part string) *yaml3.Node {
	switch n.Kind {
	case yaml3.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == part {
				v := *n.Content[i+1]
				v.Line = n.Content[i].Line
				return &v
			}
		}
	case yaml3.SequenceNode:
		if i, err := strconv.Atoi(part); err == nil && i < len(n.Content) {
			return n.Content[i]
		}
	}
	return nil
}
