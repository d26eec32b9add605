package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// MkdirPrivate makes path, and parents that are missing, for this user alone (0700). A path that is there already
// must pass CheckPrivate and is left as it is.
func MkdirPrivate(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make directory %s: %w", path, err)
	}
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return CheckPrivate(path)
	}
	if err != nil {
		return fmt.Errorf("make directory %s: %w", path, cause(err))
	}
	return nil
}

// CheckPrivate says why path is not a directory that nobody else can write to: it must be a directory and not a
// symlink, belong to this user, and give group and others no write permission.
func CheckPrivate(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("check directory %s: %w", path, cause(err))
	}
	return checkPrivate(path, info)
}

func checkPrivate(path string, info fs.FileInfo) error {
	const allowed = "a directory of your own that group and others cannot write to (such as mode 0700)"
	owner, ours := owned(info)
	var what string
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		what = "it is a symlink"
	case !info.IsDir():
		what = "it is not a directory"
	case !ours:
		what = "it belongs to somebody else"
	case sharedWrite(info):
		what = "others can write to it"
	default:
		return nil
	}
	return fmt.Errorf("check directory %s: %s: owner %s, mode %s; need %s", path, what, owner, info.Mode(), allowed)
}

// RepairPrivate is CheckPrivate that also takes away what group and others may do with path, so that its mode
// becomes 0700. It refuses a directory that others could write to, since its content may not be ours.
func RepairPrivate(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("repair directory %s: %w", path, cause(err))
	}
	if err := checkPrivate(path, info); err != nil {
		return err
	}
	if !tooOpen(info) {
		return nil
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return fmt.Errorf("repair directory %s: %w", path, cause(err))
	}
	return nil
}

// Repair closes a cluster directory to group and others: directories become 0700 and files lose those bits. It
// follows no link, calls log (which may be nil) for each change, and goes on after an error, to return the first.
func Repair(root string, log func(path string, was, now os.FileMode)) error {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("repair %s: %w", root, cause(err))
	}
	defer dir.Close()
	var first error
	_ = fs.WalkDir(dir.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = repairOne(dir, name, d, log)
		}
		// A running component may remove its own files meanwhile.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && first == nil {
			first = fmt.Errorf("repair %s: %w", filepath.Join(root, name), cause(err))
		}
		return nil
	})
	return first
}

func repairOne(dir *os.Root, name string, d fs.DirEntry, log func(string, os.FileMode, os.FileMode)) error {
	info, err := d.Info()
	if err != nil || info.Mode()&fs.ModeSymlink != 0 || !checksModes {
		return err
	}
	was, now := info.Mode().Perm(), info.Mode().Perm()&^0o077
	if info.IsDir() {
		now = 0o700
	}
	if was == now {
		return nil
	}
	if err := dir.Chmod(filepath.FromSlash(name), now); err != nil {
		return err
	}
	if log != nil {
		log(filepath.Join(dir.Name(), filepath.FromSlash(name)), was, now)
	}
	return nil
}
