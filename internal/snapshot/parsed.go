package snapshot

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"kwokctl/internal/files"
)

// parsed is what a Reader found in a file, kept for those who read the same file after it: JSON is read many times
// faster than YAML. It is a file without a name, so that nobody else finds it and a kill does not leave it.
type parsed struct {
	file *os.File
	out  *bufio.Writer
	gob  *gob.Encoder
	left uint64 // bytes that it may still grow by
	size int64

	full  bool // all is in it
	taken time.Time
}

// parsedItem is what Next returned. Fault is "" for a document.
type parsedItem struct {
	Document
	Fault string
}

// newParsed returns nil where there is no room for it: it is not needed.
func newParsed() *parsed {
	dir := os.TempDir()
	free, err := files.FreeSpace(dir)
	if err != nil {
		return nil
	}
	file, err := os.CreateTemp(dir, "kwokctl-parsed-")
	if err != nil {
		return nil
	}
	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close()
		_ = os.Remove(file.Name())
		return nil
	}
	p := &parsed{file: file, left: free / 4} // others need space too
	p.out = bufio.NewWriterSize(file, 1<<16)
	p.gob = gob.NewEncoder(p)
	return p
}

// Write counts what is written.
func (p *parsed) Write(b []byte) (int, error) {
	if uint64(len(b)) > p.left {
		return 0, errors.New("no room")
	}
	p.left -= uint64(len(b))
	p.size += int64(len(b))
	return p.out.Write(b)
}

func (p *parsed) close() {
	if p != nil {
		_ = p.file.Close() // nothing in it is needed any more
	}
}

// keep takes what Next returned, and reports whether p is of use still. At the end of the stream it is full.
func (p *parsed) keep(r *Reader, d Document, err error) bool {
	item := parsedItem{Document: d}
	var line *LineError
	switch {
	case r.moving: // the next reader comes at another time
		return false
	case errors.Is(err, io.EOF):
		p.full, p.taken = p.out.Flush() == nil, r.Taken
		return p.full
	case errors.Is(err, errTooLong) || errors.Is(err, ErrCut):
		return false
	case errors.As(err, &line):
		item.Line, item.Fault = line.Line, line.Err.Error()
	case err != nil:
		return false
	}
	return p.gob.Encode(&item) == nil
}

// again is Next of a Reader that reads what was kept.
func (r *Reader) again() (Document, error) {
	var item parsedItem
	switch err := r.known.Decode(&item); {
	case errors.Is(err, io.EOF):
		return Document{}, io.EOF
	case err != nil:
		return Document{}, fmt.Errorf("read %s again: %w", r.name, err)
	case item.Fault != "":
		return Document{}, &LineError{r.name, item.Line, errors.New(item.Fault)}
	}
	return item.Document, nil
}

// reader begins again from the start of i.
func (i *Input) reader(ctx context.Context) (*Reader, error) {
	if err := i.Rewind(); err != nil {
		return nil, err
	}
	if i.parsed != nil && i.parsed.full {
		if _, err := i.parsed.file.Seek(0, io.SeekStart); err != nil {
			return nil, fmt.Errorf("read %s again: %w", i.Name, unpath(err))
		}
		in := &scaled{Reader: i.parsed.file, size: i.parsed.size, to: &i.raw.n, of: i.size}
		return &Reader{Taken: i.parsed.taken, name: i.Name, known: gob.NewDecoder(bufio.NewReaderSize(contextReader{ctx, in}, 1<<16))}, nil
	}
	i.parsed.close()
	i.parsed = newParsed()
	r := NewReader(contextReader{ctx, i}, i.Name)
	r.keep = i.parsed
	return r, nil
}

// scaled tells as progress in one file what is read of another.
type scaled struct {
	io.Reader
	n, size int64
	to      *atomic.Int64
	of      int64
}

func (s *scaled) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.n += int64(n)
	s.to.Store(int64(float64(s.of) * float64(s.n) / float64(max(1, s.size))))
	return n, err
}
