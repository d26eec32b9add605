// Package snapshot turns the state of a cluster into a file and back: etcd's own format, which is exact, and a
// stream of YAML documents, which can be read, filtered and moved to another cluster.
package snapshot

import (
	"bufio"
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"kwokctl/internal/yaml"
)

// maxDocument is how long one document may be. An object is at most half of it in etcd; the rest is for lists.
const maxDocument = 16 << 20

// Marks of the files we write. They are comments, so that other programs read these files too; with them a file that
// was cut is known as such.
const (
	markBegin = "# kwokctl snapshot "
	markEnd   = "# kwokctl snapshot ends, objects: "
	markWhole = "# whole up to here\n" // of a recording, whose end may never come
)

// Document is one object of a stream.
type Document struct {
	Line int    // where it begins, from 1
	JSON []byte // the object
	// Whole tells that something follows: the last document of a file that was cut may be YAML and yet not all.
	Whole bool
}

// LineError is a document that cannot be read.
type LineError struct {
	Name string // of the stream
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("%s: line %d: %v", e.Name, e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// errTooLong is a document beyond maxDocument.
var errTooLong = fmt.Errorf("a document is larger than %d MiB", maxDocument>>20)

// Reader reads a stream of YAML or JSON documents, one at a time. Lists become their items.
type Reader struct {
	// Now replaces upstream's $(time-offset-nanosecond N): such times are Now plus N. It is the time of NewReader
	// unless set.
	Now time.Time
	// Taken is when the snapshot was taken, zero when the stream does not say.
	Taken time.Time

	in     *bufio.Reader
	name   string
	line   int // of the line that was read last
	queue  []Document
	rest   []byte // what follows --- on its line
	ended  bool   // nothing is left to read
	count  int    // objects so far
	begun  bool   // there was a mark of the beginning
	closed bool   // there was a mark of the end
	whole  bool   // the document that was read last ends with markWhole
	moving bool   // there were times that depend on Now

	keep  *parsed      // takes what Next returns; nil for nobody
	known *gob.Decoder // has what Next is to return; nil when that has to be read from in
}

// NewReader reads from in, which name is for messages.
func NewReader(in io.Reader, name string) *Reader {
	return &Reader{Now: time.Now(), in: bufio.NewReaderSize(in, 1<<16), name: name}
}

// Next returns the next object, or io.EOF after the last. A *LineError concerns one document only: Next may be
// called again, unless it was too long. A stream of ours that lacks its end, or objects before it, gives
// ErrCut.
func (r *Reader) Next() (Document, error) {
	if r.known != nil {
		return r.again()
	}
	d, err := r.next()
	if r.keep != nil && !r.keep.keep(r, d, err) {
		r.keep.close()
		r.keep = nil
	}
	return d, err
}

// ahead calls Next on a goroutine of its own, beside the work of whoever takes what it returns, up to the end or an error
// after which Next must not be called. stop waits for it.
func (r *Reader) ahead() (next func() (Document, error), stop func()) {
	type found struct {
		d   Document
		err error
	}
	const most = 4 // documents, each of which may be large
	out, over := make(chan found, most), make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			d, err := r.Next()
			select {
			case out <- found{d, err}:
			case <-over:
				return
			}
			if line := (*LineError)(nil); err != nil && (!errors.As(err, &line) || errors.Is(err, errTooLong)) {
				return
			}
		}
	})
	return func() (Document, error) { f := <-out; return f.d, f.err }, sync.OnceFunc(func() { close(over); work.Wait() })
}

func (r *Reader) next() (Document, error) {
	for len(r.queue) == 0 {
		if r.ended {
			if r.begun && !r.closed {
				return Document{}, fmt.Errorf("%s: %w", r.name, ErrCut)
			}
			return Document{}, io.EOF
		}
		text, line, err := r.read()
		if err != nil {
			r.ended, r.closed = true, true
			return Document{}, err
		}
		if r.queue, err = r.parse(text, line); err != nil {
			r.count++
			return Document{}, err
		}
	}
	d := r.queue[0]
	r.queue = r.queue[1:]
	r.count++
	return d, nil
}

// ErrCut is a file of ours of which a part is missing.
var ErrCut = errors.New("a part of the file is missing")

// read returns the text of the next document and the line it begins on.
func (r *Reader) read() (text []byte, line int, err error) {
	text, r.rest = r.rest, nil
	line = max(r.line, 1)
	sealed := -1 // where markWhole ends
	for {
		begin := len(text)
		text, err = r.readLine(text)
		// What was sealed is whole, though a part follows of what separates it from the next.
		atSeal := err != nil && sealed >= 0 && strings.HasPrefix("--", string(text[sealed:]))
		switch {
		case errors.Is(err, io.EOF):
			r.ended = true
			if atSeal {
				text, r.whole = text[:sealed], true
			}
			return text, line, nil
		case errors.Is(err, errTooLong):
			return nil, line, &LineError{r.name, line, err}
		case errors.Is(err, io.ErrUnexpectedEOF) && atSeal: // of a compressed file, which says so again
			r.whole = true
			return text[:sealed], line, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, line, fmt.Errorf("%s: %w", r.name, ErrCut)
		case err != nil:
			return nil, line, fmt.Errorf("read %s: line %d: %w", r.name, r.line, err)
		}
		last := text[begin:]
		if r.whole = string(last) == markWhole; r.whole {
			sealed = len(text)
		}
		if begin == 0 && r.line == 1 {
			last = bytes.TrimPrefix(last, []byte("\xef\xbb\xbf"))
			text = last
		}
		if rest, ok := separator(last); ok {
			r.rest = append([]byte(nil), rest...)
			return text[:begin], line, nil
		}
		if last[0] == '#' && last[len(last)-1] == '\n' { // else its end is cut off
			if err := r.mark(string(bytes.TrimRight(last, "\r\n"))); err != nil {
				return nil, line, err
			}
		}
	}
}

// separator tells whether a line ends a document, and what of the next one it holds.
func separator(line []byte) (rest []byte, ok bool) {
	for _, mark := range []string{"---", "..."} {
		if rest, found := bytes.CutPrefix(line, []byte(mark)); found && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0) {
			return rest, true
		}
	}
	return nil, false
}

// readLine appends a line to text, with its end. io.EOF comes alone.
func (r *Reader) readLine(text []byte) ([]byte, error) {
	r.line++
	begin := len(text)
	for {
		part, err := r.in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case len(text) > maxDocument:
			return text, errTooLong
		case err == nil:
			return text, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(text) > begin:
			return text, nil
		default:
			return text, err
		}
	}
}

// mark takes note of a comment of ours.
func (r *Reader) mark(comment string) error {
	if text, ok := strings.CutPrefix(comment, markEnd); ok {
		// The document before it has been parsed by now: a separator comes between. More objects may have been added.
		if n, err := strconv.Atoi(text); err != nil || n > r.count {
			return &LineError{r.name, r.line, fmt.Errorf("%w: of %s objects %d are there; if they were taken out on purpose, change the number in this line", ErrCut, text, r.count)}
		}
		r.closed = true
	} else if text, ok := strings.CutPrefix(comment, markBegin); ok && r.count == 0 {
		r.begun = true
		if f := strings.Fields(text); len(f) > 0 {
			r.Taken, _ = time.Parse(time.RFC3339, f[0])
		}
	}
	return nil
}

// offset is how upstream writes times.
var offset = regexp.MustCompile(`\$\(time-offset-nanosecond (-?[0-9]{1,19})\)`)

// parse turns the text of a document into objects.
func (r *Reader) parse(text []byte, line int) ([]Document, error) {
	if bytes.Contains(text, []byte("$(time-offset-nanosecond ")) {
		r.moving = true
		text = offset.ReplaceAllFunc(text, func(m []byte) []byte {
			n, _ := strconv.ParseInt(string(offset.FindSubmatch(m)[1]), 10, 64)
			return r.Now.Add(time.Duration(n)).UTC().AppendFormat(nil, "2006-01-02T15:04:05.000000Z")
		})
	}
	object, err := yaml.ToJSON(text)
	if err != nil {
		return nil, r.yamlError(err, line)
	}
	if string(object) == "null" {
		return nil, nil
	}
	docs, err := items(nil, Document{Line: line, JSON: object, Whole: !r.ended}, "", "")
	if err != nil {
		return nil, &LineError{r.name, line, err}
	}
	return docs, nil
}

var (
	yamlLine = regexp.MustCompile(`line ([0-9]+): `)
	// fromZero are the messages of the library's parser, which counts lines from zero; its scanner counts from one.
	fromZero = regexp.MustCompile(`^did not find expected (<|node|'-|key|',)`)
)

// yamlError gives an error the line it has in the stream, not in its document.
func (r *Reader) yamlError(err error, line int) error {
	text := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	text = strings.Join(strings.Fields(strings.TrimPrefix(text, "yaml: ")), " ")
	if m := yamlLine.FindStringSubmatchIndex(text); m != nil {
		n, _ := strconv.Atoi(text[m[2]:m[3]])
		line += n - 1
		text = text[:m[0]] + text[m[1]:]
		if fromZero.MatchString(text) {
			line++
		}
	}
	return &LineError{r.name, line, errors.New(strings.TrimPrefix(text, "unmarshal errors: "))}
}

// items appends d, or what it is a list of. Items of a typed list need not say what they are.
func items(to []Document, d Document, apiVersion, kind string) ([]Document, error) {
	var o struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(d.JSON, &o); err != nil {
		return to, fmt.Errorf("not an object of Kubernetes: %w", unfit(err))
	}
	if o.Kind == "" && kind != "" {
		d.JSON = append(fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,`, apiVersion, kind), bytes.TrimPrefix(bytes.TrimSpace(d.JSON), []byte("{"))...)
		return append(to, d), nil
	}
	of, list := strings.CutSuffix(o.Kind, "List")
	if !list || o.Metadata.Name != "" || o.Items == nil {
		return append(to, d), nil
	}
	for _, text := range o.Items {
		var err error
		if to, err = items(to, Document{Line: d.Line, JSON: text, Whole: d.Whole}, o.APIVersion, of); err != nil {
			return to, err
		}
	}
	return to, nil
}
