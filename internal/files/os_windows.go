package files

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

const (
	checksModes   = false // access lists of the user's profile protect it; Go's mode bits say nothing
	removesLocked = false // an open file cannot be removed, so the lock file stays
)

func owned(fs.FileInfo) (string, bool) { return "unknown", true }

func sharedWrite(fs.FileInfo) bool { return false }

func tooOpen(fs.FileInfo) bool { return false }

func keepOwner(*os.File, string) {}

func syncDir(string) error { return nil }

func openLock(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) }

func tryLock(f *os.File) error {
	return lockFile(f, windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY)
}

func blockLock(f *os.File) error { return lockFile(f, windows.LOCKFILE_EXCLUSIVE_LOCK) }

// lockFile locks one byte far behind the text, because the lock is mandatory and waiters read the text.
func lockFile(f *os.File, flags uint32) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return errBusy
	}
	return err
}

// writable finds nothing: who may write is in access lists here, which a write looks at.
func writable(string) error { return nil }

func freeSpace(path string) (uint64, error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, err
	}
	var free uint64
	err = windows.GetDiskFreeSpaceEx(p, &free, nil, nil)
	return free, err
}
