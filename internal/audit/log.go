package audit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kwokctl/internal/files"
)

// Event is one step of one request: what we read of the API server's audit.k8s.io/v1 Event.
type Event struct {
	ID       string    `json:"auditID"`
	Stage    string    `json:"stage"` // ResponseStarted (of what runs long), ResponseComplete, Panic
	URI      string    `json:"requestURI"`
	Verb     string    `json:"verb"`
	User     User      `json:"user"`
	Object   Object    `json:"objectRef"`
	Response Response  `json:"responseStatus"`
	Received time.Time `json:"requestReceivedTimestamp"`
	Time     time.Time `json:"stageTimestamp"`
}

// User is who asks.
type User struct {
	Name string `json:"username"`
}

// Object is what is asked for; empty for what is no object, such as /version.
type Object struct {
	Group       string `json:"apiGroup"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
}

// Response is how it went.
type Response struct {
	Code int `json:"code"`
}

// Resource is what kind of thing the request was about: deployments.apps, pods/status, or the first two steps of a
// path that is no resource's.
func (e *Event) Resource() string {
	o := e.Object
	if o.Resource == "" {
		path, _, _ := strings.Cut(e.URI, "?")
		steps := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 3)
		return "/" + strings.Join(steps[:min(2, len(steps))], "/")
	}
	name := o.Resource
	if o.Group != "" {
		name += "." + o.Group
	}
	if o.Subresource != "" {
		name += "/" + o.Subresource
	}
	return name
}

// Took is how long the request took up to this stage.
func (e *Event) Took() time.Duration { return e.Time.Sub(e.Received) }

// Log is the audit log of a cluster. Its files are the current one at path and those that rotation left beside it.
type Log struct {
	Path string
	// Far does what Copy does, for a log that is not on this machine; nil: it is.
	Far func(ctx context.Context, w io.Writer, since time.Time, follow bool) error
}

// Copy copies the log to w, from the oldest file on that was written to at since or later; with follow, until ctx ends.
func (l Log) Copy(ctx context.Context, w io.Writer, since time.Time, follow bool) error {
	if l.Far != nil {
		return l.Far(ctx, w, since, follow)
	}
	return files.Tail(ctx, filepath.Dir(l.Path), func() []string { return l.list(since) }, w, follow)
}

// Events calls each with the events that were received at since or later; with follow, until ctx ends. It returns
// how many lines were no events.
func (l Log) Events(ctx context.Context, since time.Time, follow bool, each func(*Event)) (bad int, err error) {
	d := newDecoder(since, each)
	err = l.Copy(ctx, d, since, follow)
	d.end()
	return d.bad, err
}

// list names the files of the log, the current one first, the oldest last; those only that were written to at since
// or later. Rotation puts the time into their names such that they sort by it.
func (l Log) list(since time.Time) []string {
	dir, base := filepath.Split(l.Path)
	ext := filepath.Ext(base)
	stem := strings.TrimSuffix(base, ext) + "-"
	names := []string{l.Path}
	entries, _ := os.ReadDir(filepath.Clean(dir)) // sorted; what cannot be read is reported when the file is opened
	for _, e := range slices.Backward(entries) {
		if !strings.HasPrefix(e.Name(), stem) || filepath.Ext(e.Name()) != ext {
			continue
		}
		if info, err := e.Info(); err == nil && !info.ModTime().Before(since) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names
}

// Events calls each with the events in r, such as a file from elsewhere, and returns how many lines were none. It may
// be compressed by gzip. That all lines are none is an error.
func Events(r io.Reader, since time.Time, each func(*Event)) (bad int, err error) {
	b := bufio.NewReader(r)
	r = b
	if head, _ := b.Peek(2); string(head) == "\x1f\x8b" {
		if r, err = gzip.NewReader(b); err != nil {
			return 0, err
		}
	}
	d := newDecoder(since, each)
	_, err = io.Copy(d, r)
	d.end()
	if err == nil && d.good == 0 && d.bad > 0 {
		err = fmt.Errorf("no audit log: none of its %d lines is an event", d.bad)
	}
	return d.bad, err
}

// maxLine is how much of one event is kept, in bytes. The API server takes no object that is larger than a few MiB.
const maxLine = 32 << 20

// decoder is a writer of lines, each of which is an event.
type decoder struct {
	each func(*Event)
	good int    // lines that are events, also those of before since
	bad  int    // lines that are no event
	part []byte // of a line whose end has not come yet
}

func newDecoder(since time.Time, each func(*Event)) *decoder {
	return &decoder{each: func(e *Event) {
		if !e.Received.Before(since) {
			each(e)
		}
	}}
}

func (d *decoder) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		line := p[:i]
		if len(d.part) > 0 {
			line = append(d.part, line...)
		}
		d.line(line)
		d.part = d.part[:0]
		p = p[i+1:]
	}
	if len(d.part)+len(p) <= maxLine {
		d.part = append(d.part, p...)
	}
	return n, nil
}

// end takes what came behind the last end of a line.
func (d *decoder) end() {
	d.line(d.part)
	d.part = nil
}

func (d *decoder) line(text []byte) {
	if len(bytes.TrimSpace(text)) == 0 {
		return
	}
	var e Event
	err := json.Unmarshal(text, &e)
	if err != nil || e.ID == "" {
		d.bad++
		// A server that was killed leaves half a line, and the next one writes on behind it.
		if i := bytes.LastIndex(text, []byte(`{"kind":"Event"`)); i > 0 {
			d.line(text[i:])
		}
		return
	}
	d.good++
	d.each(&e)
}
