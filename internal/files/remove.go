package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// RemoveTree deletes root/name and everything below it. It cannot leave root, whatever name or links inside say,
// because it goes through os.Root; a link is removed, never followed. name is one path element. Directories
// without write permission are no obstacle, no disk space is needed, and what is missing is no error.
func RemoveTree(root, name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"+string(filepath.Separator)) {
		return fmt.Errorf("remove %q in %s: not the name of one directory entry", name, root)
	}
	dir, err := os.OpenRoot(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", filepath.Join(root, name), cause(err))
	}
	defer dir.Close()
	err = dir.RemoveAll(name)
	if errors.Is(err, fs.ErrPermission) {
		unlock(dir, name)
		err = dir.RemoveAll(name)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", filepath.Join(root, name), err)
	}
	return nil
}

// unlock makes every directory below name writable, as far as it can: only then can their entries be unlinked.
func unlock(dir *os.Root, name string) {
	if info, err := dir.Lstat(name); err != nil || !info.IsDir() || dir.Chmod(name, 0o700) != nil {
		return
	}
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return
	}
	defer sub.Close()
	// Each directory is opened up before it is read: WalkDir shows it first. Errors come back from RemoveAll.
	_ = fs.WalkDir(sub.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = sub.Chmod(filepath.FromSlash(name), 0o700)
		}
		return nil
	})
}

// Remove deletes one file or empty directory; what is missing is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", path, cause(err))
	}
	return nil
}

// FreeSpace is the number of bytes this user may still write to the file system of path, or of its nearest parent
// that exists.
func FreeSpace(path string) (uint64, error) {
	at, err := filepath.Abs(path)
	if err != nil {
		return 0, fmt.Errorf("measure free space of %s: %w", path, err)
	}
	for {
		n, err := freeSpace(at)
		if err == nil {
			return n, nil
		}
		parent := filepath.Dir(at)
		if !errors.Is(err, fs.ErrNotExist) || parent == at {
			return 0, fmt.Errorf("measure free space of %s: %w", path, err)
		}
		at = parent
	}
}
