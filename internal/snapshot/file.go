package snapshot

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"kwokctl/internal/files"
)

// Save lets fill write what becomes the file at path, whole and private to the user, or nothing. The path - is out.
// A name that ends in .gz or .tgz is compressed. A file that is there is not replaced.
func Save(path string, out io.Writer, fill func(io.Writer) error) error {
	if path == "-" {
		return fill(out)
	}
	if err := CheckNew(path); err != nil {
		return err
	}
	return files.WriteStream(path, 0o600, func(w io.Writer) error {
		if !strings.HasSuffix(path, ".gz") && !strings.HasSuffix(path, ".tgz") {
			return fill(w)
		}
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return err
		}
		return errors.Join(fill(z), z.Close())
	})
}

// CheckNew returns an error if there is something at path, which Save does not replace.
func CheckNew(path string) error {
	if path == "-" {
		return nil
	}
	switch _, err := os.Lstat(path); {
	case err == nil:
		return fmt.Errorf("save %s: it exists; choose another name or remove it", path)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("save %s: %w", path, err)
	}
	return nil
}

// Input is a file that is read.
type Input struct {
	*bufio.Reader        // its content, decompressed if it was compressed
	Name          string // for messages
	IsEtcd        bool   // it is of etcd's format: a database, which begins with a page of its own
	zipped        bool
	file          *os.File
	raw           counted // as it is
	size          int64   // of the file; 0: not known
	parsed        *parsed // what was read of it, as YAML; nil for nothing
}

// counted counts what is read through it.
type counted struct {
	io.Reader
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// Open opens the file at path; the path - is in. Whether it is compressed is seen from its content. What is no
// regular file is refused: reading it might never end.
func Open(path string, in io.Reader) (*Input, error) {
	i := &Input{Name: path}
	if path == "-" {
		i.Name = "standard input"
		i.raw.Reader = in
	} else {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, unpath(err))
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("read %s: it is a %s; a file is needed", path, kindOf(info.Mode()))
		}
		if i.file, err = os.Open(path); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, unpath(err))
		}
		i.raw.Reader, i.size = i.file, info.Size()
	}
	if err := i.decompress(); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

func (i *Input) decompress() error {
	const at, magic = 16, "\xed\xda\x0c\xed"
	defer func() {
		head, _ := i.Peek(at + len(magic))
		i.IsEtcd = len(head) == at+len(magic) && string(head[at:]) == magic
	}()
	b := bufio.NewReaderSize(&i.raw, 1<<16)
	i.Reader = b
	head, err := b.Peek(2)
	if errors.Is(err, io.EOF) && len(head) == 0 {
		return fmt.Errorf("read %s: it is empty", i.Name)
	}
	if i.zipped = string(head) == "\x1f\x8b"; !i.zipped {
		return nil // an error comes again
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return fmt.Errorf("read %s: decompress: %w", i.Name, err)
	}
	i.Reader = bufio.NewReaderSize(z, 1<<16)
	return nil
}

// Rewind begins again from the start; standard input cannot.
func (i *Input) Rewind() error {
	if i.file == nil {
		return fmt.Errorf("read %s: it can be read only once", i.Name)
	}
	if _, err := i.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read %s: %w", i.Name, unpath(err))
	}
	i.raw.n.Store(0)
	return i.decompress()
}

// plain is a path by which every process finds the content as it is, "" if there is none: of what is compressed, or of
// standard input by another name.
func (i *Input) plain() string {
	if i.file == nil || i.zipped {
		return ""
	}
	path, err := filepath.Abs(i.file.Name())
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return ""
	}
	here, err1 := i.file.Stat()
	there, err2 := os.Stat(path)
	if err1 != nil || err2 != nil || !os.SameFile(here, there) {
		return ""
	}
	return path
}

// tell tells how much of the file has been read, and how many objects of it are done.
func (i *Input) tell(progress Progress, objects, ofObjects int64) {
	if progress != nil {
		progress(objects, i.raw.n.Load(), ofObjects, i.size)
	}
}

// Spool makes it possible to read standard input again: it is copied to path.
func (i *Input) Spool(ctx context.Context, path string) error {
	if i.file != nil {
		return nil
	}
	free, err := files.FreeSpace(path)
	if err != nil {
		return err
	}
	if err := files.WriteStream(path, 0o600, func(w io.Writer) error {
		n, err := io.CopyN(w, contextReader{ctx, i}, int64(free/2)) // others need space too
		if errors.Is(err, io.EOF) {
			return nil
		}
		return errors.Join(err, fmt.Errorf("it is larger than %d MiB, half of the space that is free", n>>20))
	}); err != nil {
		return fmt.Errorf("read %s: %w", i.Name, err)
	}
	file, err := Open(path, nil)
	if err != nil {
		return err
	}
	i.file, i.raw.Reader, i.size = file.file, file.file, file.size
	return i.Rewind()
}

// Close closes the file.
func (i *Input) Close() error {
	i.parsed.close()
	if i.file == nil {
		return nil
	}
	return i.file.Close()
}

// unpath strips the path that a message names already.
func unpath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}
