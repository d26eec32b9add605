package files

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SyncTree waits until all files and directories below root are on the disk.
func SyncTree(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
		case d.IsDir():
			err = syncDir(path)
		case d.Type().IsRegular():
			err = syncFile(path)
		}
		if err != nil {
			return fmt.Errorf("sync %s: %w", path, cause(err))
		}
		return nil
	})
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Rename gives what is at path another name on the same file system, and waits until that is on the disk.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("rename %s to %s: %w", from, to, cause(err))
	}
	if err := syncDir(filepath.Dir(to)); err != nil {
		return fmt.Errorf("sync %s: %w", filepath.Dir(to), cause(err))
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		return nil
	}
	return syncDir(filepath.Dir(from))
}
