// Package files is the only writer and remover of files in this module: every write is whole or absent, every
// private directory is checked before it is trusted, and no deletion can leave the directory it was given.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteAtomic makes data the content of path with exactly this mode, whatever the umask. Readers, and a machine
// that loses power, see the old content or the new one. A symlink at path is kept and its target is written.
// The directory must exist. On error nothing is left behind and the old content is untouched.
func WriteAtomic(path string, data []byte, mode os.FileMode) error {
	return WriteStream(path, mode, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// WriteStream is WriteAtomic for content that is too large to hold: fill writes it, and its error abandons all.
func WriteStream(path string, mode os.FileMode, fill func(io.Writer) error) error {
	target, err := Target(path)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".tmp*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	if err := finish(tmp, target, mode, fill); err != nil {
		_ = tmp.Close()
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	return nil
}

// CheckWritable tells why WriteAtomic could not write path, made with its directory if that is missing, as far as that
// can be told without writing anything.
func CheckWritable(path string) error {
	_, _, err := nearest(path)
	return err
}

// TryWritable tells it for certain, by making a file or directory where one has to be made, and removing it at once.
func TryWritable(path string) error {
	dir, missing, err := nearest(path)
	if err != nil {
		return err
	}
	const name = ".kwokctl-*"
	var made string
	if missing {
		made, err = os.MkdirTemp(dir, name)
	} else {
		var f *os.File
		if f, err = os.CreateTemp(dir, name); err == nil {
			made, err = f.Name(), f.Close()
		}
	}
	if made != "" {
		err = errors.Join(err, os.Remove(made))
	}
	if errors.Is(err, fs.ErrNotExist) { // dir is there
		err = errors.New("its file system takes none")
	}
	if err != nil {
		return fmt.Errorf("write %s: no file can be made in %s: %w", path, dir, cause(err))
	}
	return nil
}

// nearest is the directory in which the file at path, or its missing directory, has to be made.
func nearest(path string) (dir string, missing bool, err error) {
	target, err := Target(path)
	if err != nil {
		return "", false, err
	}
	dir = filepath.Dir(target)
	info, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir, missing = filepath.Dir(dir), true
		info, err = os.Stat(dir)
	}
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	if err == nil {
		err = writable(dir)
	}
	if err != nil {
		return "", false, fmt.Errorf("write %s: no file can be made in %s: %w", path, dir, cause(err))
	}
	return dir, missing, nil
}

// finish fills tmp and puts it in the place of target.
func finish(tmp *os.File, target string, mode os.FileMode, fill func(io.Writer) error) error {
	if err := tmp.Chmod(mode.Perm()); err != nil {
		return err
	}
	keepOwner(tmp, target)
	if err := fill(tmp); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), target); err != nil {
		return err
	}
	// The new content is in place; without this a power cut could bring back the old one.
	return syncDir(filepath.Dir(target))
}

// Target is the file that a write to path changes: path itself, or where its chain of symlinks ends, be it
// there or not.
func Target(path string) (string, error) {
	const longest = 40 // as the kernel
	target := path
	for range longest {
		to, err := os.Readlink(target)
		if err != nil {
			return target, nil // no link, or nothing there: the write itself finds any other reason
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(target), to)
		}
		target = to
	}
	return "", fmt.Errorf("follow %s: too many symlinks", path)
}

// cause strips the name of the temporary file, which means nothing to the user.
func cause(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Err
	}
	return err
}

// CreateNew makes a file at path for this user alone; fs.ErrExist if there is one. It is the lock that programs without
// flock use.
func CreateNew(path, text string) error {
	f, err := OpenNew(path)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// OpenNew makes a file at path for this user alone, to be written bit by bit, such as a recording: what was written
// stays, whatever happens. fs.ErrExist if there is one.
func OpenNew(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, cause(err))
	}
	return f, nil
}
