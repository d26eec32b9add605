package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// Lock is a held lock on a file: nobody else holds one on the same path, in this process or another. The kernel
// gives it back when the process dies.
type Lock struct {
	f    *os.File
	path string
}

// errBusy means that somebody else holds the lock; errReplaced that the file was removed by who held it before.
var (
	errBusy     = errors.New("lock is held")
	errReplaced = errors.New("lock file was replaced")
)

// again is how often a waiting caller is told that it still waits.
const again = 5 * time.Second

// Acquire takes the lock at path, creating the file; its directory must exist. The file says who holds it ("who pid
// time"). When somebody else does, waiting (which may be nil) is called at once and every five seconds with the
// holder and the time it took the lock, until the lock is free or ctx ends.
func Acquire(ctx context.Context, path, who string, waiting func(holder string, since time.Time)) (*Lock, error) {
	for {
		l, err := acquire(ctx, path, who, waiting)
		if errors.Is(err, errReplaced) {
			continue // the one before us removed the file; lock the one that is there now
		}
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return l, nil
	}
}

func acquire(ctx context.Context, path, who string, waiting func(string, time.Time)) (*Lock, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	f, err := openLock(path)
	if err != nil {
		return nil, cause(err)
	}
	err = tryLock(f)
	if errors.Is(err, errBusy) {
		if err := wait(ctx, f, waiting); err != nil {
			return nil, err
		}
		err = nil
	}
	if err == nil && !current(f, path) {
		err = errReplaced
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	sign(f, who)
	return &Lock{f: f, path: path}, nil
}

// wait blocks in the kernel, since a lock given back is no event that Go could select on. When ctx ends first the
// blocked call is left behind, and gives the lock back as soon as it has it. On error f is, or will be, closed.
func wait(ctx context.Context, f *os.File, waiting func(string, time.Time)) error {
	began := time.Now()
	holder, since := readHolder(f, began)
	done := make(chan error, 1)
	go func() { done <- blockLock(f) }()
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		if waiting != nil {
			waiting(holder, since)
		}
		select {
		case err := <-done:
			if err != nil {
				_ = f.Close()
			}
			return err
		case <-ctx.Done():
			go func() {
				<-done
				_ = f.Close()
			}()
			return fmt.Errorf("held by %s since %s: %w", holder, since.Format(time.TimeOnly), context.Cause(ctx))
		case <-tick.C:
			holder, since = readHolder(f, began)
		}
	}
}

// current tells whether path still names f. A holder removes the file before it unlocks, so one who waited for it
// may get the lock of a file that nobody can find any more.
func current(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, there)
}

// sign writes the holder into the file. The text only informs, so a full disk must not stop whoever wants to delete.
func sign(f *os.File, who string) {
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt(fmt.Appendf(nil, "%s %d %s\n", who, os.Getpid(), time.Now().Format(time.RFC3339)), 0)
	}
}

// readHolder reads what sign wrote; a holder that has not signed yet is just "another process".
func readHolder(f *os.File, unknown time.Time) (string, time.Time) {
	text, _ := io.ReadAll(io.NewSectionReader(f, 0, 1024))
	words := strings.Fields(string(text))
	if len(words) < 3 {
		return "another process", unknown
	}
	pid, when := words[len(words)-2], words[len(words)-1]
	since, err := time.Parse(time.RFC3339, when)
	if _, bad := strconv.Atoi(pid); bad != nil || err != nil {
		return "another process", unknown
	}
	return fmt.Sprintf("%s (pid %s)", strings.Join(words[:len(words)-2], " "), pid), since
}

// Release removes the file and gives the lock back. A nil Lock is released already.
func (l *Lock) Release() error {
	if l == nil || l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	var err error
	if removesLocked && current(f, l.path) {
		err = os.Remove(l.path)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("unlock %s: %w", l.path, cause(err))
	}
	return nil
}
