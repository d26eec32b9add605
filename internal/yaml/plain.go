package yaml

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	yaml2 "go.yaml.in/yaml/v2"
)

// mostDeep is how deep a plain document may go: the reader calls itself for each level, and a document may be nothing else.
const mostDeep = 100

// readPlain reads the YAML that templates and this program's own files have most of the time: block mappings and
// sequences of scalars on one line, all ASCII. It is about ten times as fast as the general reader. What it does not know for sure it leaves to that
// one: then ok is false. A fuzz test holds both together.
func readPlain(text []byte) (v any, ok bool) {
	for _, c := range text {
		if c != '\n' && (c < ' ' || c > '~') {
			return nil, false
		}
	}
	r := &lines{}
	for line := range bytes.Lines(text) {
		s := strings.TrimRight(string(line), " \n")
		body := strings.TrimLeft(s, " ")
		if body == "" || body[0] == '#' {
			continue
		}
		r.list = append(r.list, yamlLine{len(s) - len(body), body})
	}
	if len(r.list) == 0 {
		return nil, false
	}
	v, ok = r.block(r.list[0].indent)
	return v, ok && r.at == len(r.list)
}

// yamlLine is a line without its indentation, trailing spaces and comments.
type yamlLine struct {
	indent int
	body   string
}

type lines struct {
	list []yamlLine
	at   int
	deep int
}

func (r *lines) more(indent int) bool { return r.at < len(r.list) && r.list[r.at].indent == indent }

func isItem(body string) bool { return body == "-" || strings.HasPrefix(body, "- ") }

// block reads the mapping or sequence that begins at the current line.
func (r *lines) block(indent int) (any, bool) {
	if r.deep == mostDeep {
		return nil, false
	}
	r.deep++
	defer func() { r.deep-- }()
	if isItem(r.list[r.at].body) {
		return r.sequence(indent)
	}
	return r.mapping(indent)
}

func (r *lines) sequence(indent int) (any, bool) {
	list := []any{}
	for r.more(indent) && isItem(r.list[r.at].body) {
		body := r.list[r.at].body
		rest := strings.TrimLeft(body[1:], " ")
		var v any
		ok := true
		switch _, _, isKey := cutKey(rest); {
		case rest == "":
			r.at++
			v, ok = r.nested(indent, indent+1)
		case rest[0] == '#':
			return nil, false
		case isKey || isItem(rest): // a block that begins on the line of the dash
			r.list[r.at] = yamlLine{indent + len(body) - len(rest), rest}
			v, ok = r.block(r.list[r.at].indent)
		default:
			v, ok = r.scalar(rest, indent)
		}
		if !ok {
			return nil, false
		}
		list = append(list, v)
	}
	return list, !(r.at < len(r.list) && r.list[r.at].indent > indent)
}

func (r *lines) mapping(indent int) (any, bool) {
	m := map[string]any{}
	for r.more(indent) {
		key, rest, ok := cutKey(r.list[r.at].body)
		if !ok {
			return nil, false
		}
		if _, twice := m[key]; twice {
			return nil, false
		}
		var v any
		if rest == "" {
			r.at++
			v, ok = r.nested(indent, indent)
		} else {
			v, ok = r.scalar(rest, indent)
		}
		if !ok {
			return nil, false
		}
		m[key] = v
	}
	return m, len(m) > 0 && !(r.at < len(r.list) && r.list[r.at].indent > indent)
}

// nested reads the value on the lines after a key or a dash; there may be none. Of sequences the dashes may stand at
// items.
func (r *lines) nested(indent, items int) (any, bool) {
	switch {
	case r.at == len(r.list):
		return nil, true
	case r.list[r.at].indent > indent:
		return r.block(r.list[r.at].indent)
	case r.list[r.at].indent == items && isItem(r.list[r.at].body):
		return r.block(items)
	}
	return nil, true
}

// cutKey splits key: rest. Keys that could be something other than a name are not taken, unless they are in quotes.
func cutKey(body string) (key, rest string, ok bool) {
	body, quoted := strings.CutPrefix(body, `"`)
	n := 0
	for n < len(body) && (letter(body[n]) || n > 0 && (digit(body[n]) || strings.IndexByte("_-./", body[n]) >= 0)) {
		n++
	}
	if n == 0 || n > 500 || !quoted && word(body[:n]) {
		return "", "", false
	}
	key, rest = body[:n], body[n:]
	if quoted {
		if rest, ok = strings.CutPrefix(rest, `"`); !ok {
			return "", "", false
		}
	}
	if rest, ok = strings.CutPrefix(rest, ":"); !ok || rest != "" && rest[0] != ' ' {
		return "", "", false
	}
	rest = strings.TrimLeft(rest, " ")
	return key, rest, !strings.HasPrefix(rest, "#")
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func digit(c byte) bool { return c >= '0' && c <= '9' }

// word reports whether a text may be a boolean or null.
func word(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return true
	}
	return false
}

// scalar reads a value that is all of the rest of the current line.
func (r *lines) scalar(s string, indent int) (any, bool) {
	r.at++
	if r.at < len(r.list) && r.list[r.at].indent > indent {
		return nil, false // it goes on
	}
	switch {
	case s == "[]":
		return []any{}, true
	case s == "{}":
		return map[string]any{}, true
	case s[0] == '"':
		return doubleQuoted(s)
	case s[0] == '\'':
		return singleQuoted(s)
	case strings.Contains(s, ": ") || strings.Contains(s, " #") || strings.HasSuffix(s, ":"):
		return nil, false
	case letter(s[0]) && !word(s), s[0] == '/':
		return s, true
	case s == "true", s == "false":
		return s == "true", true
	case s == "null":
		return nil, true
	case strings.IndexByte("[]{},&*!|>%@`?:#=<", s[0]) >= 0, isItem(s):
		return nil, false
	}
	return number10(s)
}

// doubleQuoted reads a text whose escapes are those of JSON.
func doubleQuoted(s string) (any, bool) {
	in := s[1:]
	end := strings.IndexByte(in, '"')
	if end >= 0 && end == len(in)-1 && strings.IndexByte(in, '\\') < 0 {
		return in[:end], true
	}
	if strings.Contains(in, `\u`) || strings.Contains(in, `\/`) {
		return nil, false
	}
	var v string
	if json.Unmarshal([]byte(s), &v) != nil {
		return nil, false
	}
	return v, true
}

func singleQuoted(s string) (any, bool) {
	in := s[1:]
	end := strings.IndexByte(in, '\'')
	if end < 0 || end != len(in)-1 {
		return nil, false
	}
	return in[:end], true
}

// number10 reads a decimal number, an address or a time; the general reader what else begins like one.
func number10(s string) (any, bool) {
	digits, dots := 0, 0
	for i := range len(s) {
		switch {
		case digit(s[i]):
			digits++
		case s[i] == '.':
			dots++
		}
	}
	switch {
	case digits == len(s) && len(s) <= 18 && (s[0] != '0' || len(s) == 1):
		n, err := strconv.ParseInt(s, 10, 64)
		return n, err == nil
	case digits+dots == len(s) && dots > 1 && digit(s[0]): // an IPv4 address
		return s, true
	case len(s) >= 20 && s[4] == '-' && s[10] == 'T' && s[len(s)-1] == 'Z' && strings.Trim(s, "0123456789-T:.Z") == "": // a time
		return s, true
	}
	var v []any
	if yaml2.Unmarshal([]byte("- "+s), &v) != nil || len(v) != 1 {
		return nil, false
	}
	return plain(v[0]), true
}
