//go:build linux || darwin

package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"kwokctl/runtimes"
)

// Logs implements runtimes.Runtime. It begins with the oldest file that rotation has left.
func (r *Runtime) Logs(ctx context.Context, s runtimes.Spec, w io.Writer, follow bool) error {
	t := tailer{path: logPath(r.dir, s.Name), w: w}
	defer t.close()
	if !follow {
		return t.copyAll()
	}
	n, err := newNotifier(filepath.Join(r.dir, logsDir))
	if err != nil {
		return fmt.Errorf("follow log of %s: %w", s.Name, err)
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
			return fmt.Errorf("follow log of %s: %w", s.Name, err)
		}
	}
}

// tailer copies a log that grows and is rotated meanwhile.
type tailer struct {
	path string
	w    io.Writer
	f    *os.File // where it is; nil before the first file
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
			if _, err := io.Copy(t.w, t.f); err != nil {
				return fmt.Errorf("copy log: %w", err)
			}
		}
		next, err := t.next()
		if err != nil || next == nil {
			return err
		}
		if t.f != nil {
			// It may have grown between the copy and the rotation; now it does not grow any more.
			if _, err := io.Copy(t.w, t.f); err != nil {
				next.Close()
				return fmt.Errorf("copy log: %w", err)
			}
			t.f.Close()
		}
		t.f = next
	}
}

// next opens the file that comes after the present one; nil means that the present one is still the last.
func (t *tailer) next() (*os.File, error) {
	for {
		at := t.position()
		if at == 0 {
			return nil, nil
		}
		f, err := os.Open(rotated(t.path, at-1))
		switch {
		case err == nil && t.position() != at: // rotated again between the two steps
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

// position is the number that the present file has now. Before the first file, and when the present one was removed,
// it is one more than that of the oldest. Rotation goes from the oldest to the newest file and this search the other
// way, so it cannot miss one.
func (t *tailer) position() int {
	var mine os.FileInfo
	if t.f != nil {
		mine, _ = t.f.Stat()
	}
	oldest := 0
	for i := range logKeep {
		info, err := os.Stat(rotated(t.path, i))
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
