package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Tail copies a log to w that is written and rotated meanwhile, from the oldest file that rotation has left. list
// names its files, which are all in dir: the current one first, there or not, the oldest last. With follow Tail goes
// on until ctx ends, which is no error.
func Tail(ctx context.Context, dir string, list func() []string, w io.Writer, follow bool) error {
	return tail(ctx, dir, tailer{list: list, w: w}, follow)
}

// Follow copies a file to w from where begin leaves it, and with follow goes on until ctx ends, as Tail does, with
// what is appended. A file that was cut short, or another one that took its name, is copied from its start.
func Follow(ctx context.Context, name string, begin func(*os.File) error, w io.Writer, follow bool) error {
	real, err := filepath.EvalSymlinks(name) // what it leads to is written elsewhere
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	list := func() []string { return []string{real} }
	return tail(ctx, filepath.Dir(real), tailer{list: list, w: w, begin: begin}, follow)
}

func tail(ctx context.Context, dir string, t tailer, follow bool) error {
	defer t.close()
	if !follow {
		return t.copyAll()
	}
	n, err := newNotifier(dir)
	if err != nil {
		return fmt.Errorf("follow log: %w", err)
	}
	defer n.close()
	for {
		if err := t.copyAll(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := n.wait(ctx); err != nil {
			if ctx.Err() != nil {
				return nil // to end it is all the caller could do
			}
			return fmt.Errorf("follow log: %w", err)
		}
	}
}

// tailer copies a log that grows and is rotated meanwhile.
type tailer struct {
	list  func() []string
	w     io.Writer
	begin func(*os.File) error // where to begin in the first file; nil: at its start
	f     *os.File             // where it is; nil before the first file
}

func (t *tailer) close() {
	if t.f != nil {
		t.f.Close()
	}
}

// copyAll copies all there is that was not copied yet.
func (t *tailer) copyAll() error {
	for {
		if t.f != nil {
			if err := t.copyOn(); err != nil {
				return err
			}
		}
		next, err := t.next()
		if err != nil || next == nil {
			return err
		}
		if t.f != nil {
			// It may have grown between the copy and the rotation; now it does not grow any more.
			if err := t.copyOn(); err != nil {
				next.Close()
				return err
			}
			t.f.Close()
		} else if t.begin != nil {
			if err := t.begin(next); err != nil {
				next.Close()
				return err
			}
		}
		t.f = next
	}
}

// copyOn copies what the present file has got since. If it has become shorter, it was emptied and begun anew.
func (t *tailer) copyOn() error {
	at, err := t.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("copy log: %w", err)
	}
	if info, err := t.f.Stat(); err == nil && info.Size() < at {
		if _, err := t.f.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("copy log: %w", err)
		}
	}
	if _, err := io.Copy(t.w, t.f); err != nil {
		return fmt.Errorf("copy log: %w", err)
	}
	return nil
}

// next opens the file that comes after the present one; nil means that the present one is still the last.
func (t *tailer) next() (*os.File, error) {
	for {
		names := t.list()
		at := t.position(names)
		if at == 0 {
			return nil, nil
		}
		f, err := os.Open(names[at-1])
		switch {
		case err == nil && t.position(t.list()) != at: // rotated again between the two steps
			f.Close()
		case err == nil:
			return f, nil
		case errors.Is(err, fs.ErrNotExist) && t.f != nil:
			return nil, nil // in the middle of a rotation; its end will be noticed
		default:
			return nil, fmt.Errorf("read log: %w", err)
		}
	}
}

// position is where the present file is among names. Before the first file, and when the present one was removed,
// it is one behind the oldest. Rotation goes from the oldest to the newest file and this search the other way, so
// it cannot miss one.
func (t *tailer) position(names []string) int {
	var mine os.FileInfo
	if t.f != nil {
		mine, _ = t.f.Stat()
	}
	oldest := 0
	for i, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			continue
		}
		if mine != nil && os.SameFile(mine, info) {
			return i
		}
		oldest = i
	}
	return oldest + 1
}
