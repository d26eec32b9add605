package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// readAll reads a stream to its end and returns its objects and the first error.
func readAll(r *Reader) (objects []map[string]any, err error) {
	for {
		d, e := r.Next()
		if errors.Is(e, io.EOF) {
			return objects, err
		}
		var line *LineError
		if e != nil {
			err = errors.Join(err, e)
			if !errors.As(e, &line) {
				return objects, err
			}
			continue
		}
		var o map[string]any
		if e := json.Unmarshal(d.JSON, &o); e != nil {
			return nil, e
		}
		objects = append(objects, o)
	}
}

// odd are strings that YAML takes for something else, or has no way to hold as they are.
var odd = []string{
	"", " ", "a ", " a", "\t", "\n", "a\n", "a\nb", "a\nb\n", "a\nb\n\n", "\na", " a\nb", "a\n \nb", "a\n\tb", "a\n  b", "\r", "a\r\nb", "---", "a\n---\nb", "...",
	"yes", "No", "TRUE", "null", "~", "y", "0", "01", "0x1", "1e3", "1_000", "1:20", ".inf", "2020-01-01", "2020-01-01T00:00:00Z",
	"a: b", "a:", "a:b", "a #b", "# a", "- a", "?", "? a", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a", "{", "[", "}", ",", "'", "\"", "\\", "<<", "=",
	"a\x00b", "\x7f", "\u0085", "\u00a0", "\u2028", "\ufeff", "\ufffe", "\U0001f600", "é", "$(a)", "# kwokctl snapshot ends, objects: 1", "a\n# kwokctl snapshot ends, objects: 9\n",
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	values := []any{nil, true, false, 0.0, -1.5, 1e21, 1e-7, 123456789.0, map[string]any{}, []any{}, []any{[]any{}, []any{1.0, []any{"a\nb"}}, map[string]any{}, map[string]any{"a": []any{nil}, "b": "c\nd"}}}
	all := map[string]any{"kind": "X", "apiVersion": "v1", "metadata": map[string]any{"name": "a"}, "values": values}
	keys, texts := map[string]any{strings.Repeat("k", 2000): map[string]any{"a": "b"}}, []any{}
	for _, s := range odd {
		keys[s] = map[string]any{s: s}
		texts = append(texts, s)
	}
	all["keys"], all["texts"] = keys, texts
	var b bytes.Buffer
	w := NewWriter(&b)
	taken := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w.Begin(taken, "of x")
	for range 3 {
		if err := w.Write(all); err != nil {
			t.Fatal(err)
		}
	}
	w.End()
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	r := NewReader(&b, "f")
	got, err := readAll(r)
	if err != nil || len(got) != 3 || !r.Taken.Equal(taken) {
		t.Fatalf("%d objects, taken %s: %v", len(got), r.Taken, err)
	}
	for key, want := range all {
		if !reflect.DeepEqual(got[2][key], want) {
			t.Errorf("%s:\n got %#v\nwant %#v", key, got[2][key], want)
		}
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'l'; c++ {
		p := string(c - 1)
		bomb += fmt.Sprintf("%c: &%c [*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s,*%s]\n", c, c, p, p, p, p, p, p, p, p, p)
	}
	const end = "---\n" + markEnd
	for name, tt := range map[string]struct {
		in    string
		names string // of the objects
		err   string // "" for none
	}{
		"nothing":         {"", "", ""},
		"comments":        {"# a\n---\n# b\n---\n\n", "", ""},
		"one":             {"metadata: {name: a}", "a", ""},
		"mark and bytes":  {"\xef\xbb\xbf--- {metadata: {name: a}}\r\n---\r\nmetadata: {name: b}\r\n...\n--- # c\nmetadata: {name: c}\n", "a b c", ""},
		"JSON":            {`{"metadata":{"name":"a"}}`, "a", ""},
		"list":            {"kind: List\nitems:\n- metadata: {name: a}\n- {kind: PodList, items: [{metadata: {name: b}}]}\n---\nmetadata: {name: c}", "a b c", ""},
		"empty list":      {"kind: List\nitems: []\n", "", ""},
		"list by name":    {"kind: PlayList\nmetadata: {name: a}\nitems: []\n", "a", ""},
		"middle":          {"metadata: {name: a}\n---\n\nmetadata: {name: [}\n---\nmetadata: {name: b}\n", "a b", "f: line 4: did not find"},
		"middle of ours":  {markBegin + "\n---\na: [\n" + end + "1\n", "", "f: line 4: did not find"},
		"twice":           {"a: 1\na: 2\n", "", "f: line 2: "},
		"bomb":            {bomb, "", "excessive aliasing"},
		"scalar":          {"hello", "", "f: line 1: not an object of Kubernetes"},
		"sequence":        {"- a\n", "", "not an object"},
		"binary":          {"\x00\x01\x02", "", "f: line 1: control characters"},
		"whole":           {markBegin + "2026-01-02T03:04:05Z\n---\nmetadata: {name: a}\n" + end + "1\n", "a", ""},
		"cut":             {markBegin + "2026-01-02T03:04:05Z\n---\nmetadata: {name: a}\n", "a", "a part of the file is missing"},
		"less":            {markBegin + "\n---\nmetadata: {name: a}\n" + end + "2\n", "a", "of 2 objects 1 are there"},
		"more":            {markBegin + "\n---\nmetadata: {name: a}\n" + end + "0\n", "a", ""},
		"bad count":       {markBegin + "\n---\nmetadata: {name: a}\n" + end + "x\n", "a", "a part of the file is missing"},
		"offset":          {"metadata: {name: \"$(time-offset-nanosecond -1500000000)\"}", "2026-01-02T03:04:03.500000Z", ""},
		"a line too long": {"metadata: {name: a}\n---\na: " + strings.Repeat("x", maxDocument), "a", "line 2: a document is larger than 16 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := NewReader(strings.NewReader(tt.in), "f")
			r.Now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			objects, err := readAll(r)
			var names []string
			for _, o := range objects {
				names = append(names, o["metadata"].(map[string]any)["name"].(string))
			}
			if got := strings.Join(names, " "); got != tt.names {
				t.Errorf("objects %q, want %q", got, tt.names)
			}
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

// TestReaderStopsEarly reads a line that never ends: no more of it is kept than is allowed.
func TestReaderStopsEarly(t *testing.T) {
	t.Parallel()
	in := &endless{}
	_, err := readAll(NewReader(in, "f"))
	if !errors.Is(err, errTooLong) || in.n > 2*maxDocument {
		t.Errorf("%d bytes read: %v", in.n, err)
	}
}

// endless is a line that never ends.
type endless struct{ n int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	e.n += int64(len(p))
	return len(p), nil
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a.yaml", "a.yaml.gz", "a.tgz", "-"} {
		path := filepath.Join(dir, name)
		var out bytes.Buffer
		if name == "-" {
			path = name
		}
		fill := func(w io.Writer) error { _, err := io.WriteString(w, "hello"); return err }
		if err := Save(path, &out, fill); err != nil {
			t.Fatal(err)
		}
		in, err := Open(path, &out)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if string(text) != "hello" || err != nil {
			t.Errorf("%s: %q %v", name, text, err)
		}
		if want := map[string]string{"a.yaml": path}[name]; in.plain() != want {
			t.Errorf("%s: others may read it as %q, want %q", name, in.plain(), want)
		}
		if name == "-" {
			continue
		}
		if err := in.Rewind(); err != nil {
			t.Error(err)
		}
		if text, _ := io.ReadAll(in); string(text) != "hello" {
			t.Errorf("%s, again: %q", name, text)
		}
		in.Close()
		if info, _ := os.Stat(path); info.Mode() != 0o600 {
			t.Errorf("%s: mode %s", name, info.Mode())
		}
		if err := Save(path, nil, fill); err == nil || !strings.Contains(err.Error(), "exists") {
			t.Errorf("%s was written over: %v", name, err)
		}
	}
	failed := errors.New("no")
	if err := Save(filepath.Join(dir, "b.gz"), nil, func(io.Writer) error { return failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*b*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func FuzzReader(f *testing.F) {
	for _, seed := range []string{"metadata: {name: a}\n---\n", markBegin + "2026-01-02T03:04:05Z\n---\na: b\n---\n" + markEnd + "1\n", "kind: List\nitems: [{a: &a [*a]}]", "\x1f\x8b", "--- |\n a\n...\n", "a: $(time-offset-nanosecond -1)", "{\"kind\":\"PodList\",\"items\":[{}]}", "? a\n: b\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		objects, err := readAll(NewReader(strings.NewReader(text), "f"))
		if err != nil {
			return
		}
		var b bytes.Buffer
		w := NewWriter(&b)
		for _, o := range objects {
			if err := w.Write(o); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		again, err := readAll(NewReader(&b, "f"))
		if err != nil || len(again) != len(objects) || len(objects) > 0 && !reflect.DeepEqual(objects, again) {
			t.Errorf("read %q, written and read again %q: %v", objects, again, err)
		}
	})
}
