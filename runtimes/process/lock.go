//go:build linux || darwin

package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// These locks differ from those of package files: a supervisor inherits one that its launcher took, others ask
// whether one is held without taking it, and the file stays and names its holder beyond doubt.

// tryLock takes the lock on f if it is free.
func tryLock(f *os.File, how int) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// lock takes the lock on the file path, waiting for it until ctx ends.
func lock(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	ok, err := tryLock(f, unix.LOCK_EX)
	if ok {
		return f, nil
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- blockLock(f) }()
	select {
	case err := <-done:
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return f, nil
	case <-ctx.Done():
		// The call in the kernel cannot be ended; whenever it gets the lock, it gives it back.
		go func() {
			<-done
			f.Close()
		}()
		return nil, fmt.Errorf("lock %s: %w", path, ctx.Err())
	}
}

func blockLock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// locked tells whether somebody holds the lock on the file path.
func locked(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at lock %s: %w", path, err)
	}
	defer f.Close()
	// Shared, so that two who look at the same time do not see each other.
	free, err := tryLock(f, unix.LOCK_SH)
	return !free, err
}

// sign writes who holds the lock into it.
func sign(f *os.File, id identity) error {
	text, err := json.Marshal(id)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("sign %s: %w", f.Name(), err)
	}
	if _, err := f.WriteAt(text, 0); err != nil {
		return fmt.Errorf("sign %s: %w", f.Name(), err)
	}
	return nil
}

// holder reads who signed the lock file last.
func holder(path string) (identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return identity{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return identity{}, err
	}
	var id identity
	if err := json.Unmarshal(text, &id); err != nil {
		return identity{}, fmt.Errorf("read %s: %w", path, err)
	}
	return id, nil
}
