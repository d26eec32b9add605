//go:build unix

package files

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	checksModes   = true // permission bits mean something here
	removesLocked = true // a file that is open can be removed
)

// owned gives the owner of a file as text, and whether that is this process.
func owned(info fs.FileInfo) (string, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "unknown", false
	}
	return "uid " + strconv.Itoa(int(st.Uid)), int(st.Uid) == os.Geteuid()
}

func sharedWrite(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }

func tooOpen(info fs.FileInfo) bool { return info.Mode().Perm() != 0o700 }

// keepOwner gives tmp the owner of the file it replaces, so that root does not take a user's file away. Only root
// can; for everybody else the owners are the same already, or the file becomes ours as with any editor.
func keepOwner(tmp *os.File, target string) {
	info, err := os.Lstat(target)
	if err != nil {
		return
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		_ = tmp.Chown(int(st.Uid), int(st.Gid))
	}
}

// syncDir makes a rename in dir durable. File systems that cannot sync a directory say EINVAL or ENOTSUP, and some
// refuse to open one; the rename itself has been done.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// openLock does not follow a symlink: it could lead the text that sign writes into a foreign file.
func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
}

func tryLock(f *os.File) error { return flock(f, unix.LOCK_EX|unix.LOCK_NB) }

func blockLock(f *os.File) error { return flock(f, unix.LOCK_EX) }

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return errBusy
		case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS):
			return errors.New("its file system has no file locks (flock); choose a directory on a local disk")
		}
		return err
	}
}

// writable tells why files cannot be made in dir.
func writable(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }

func freeSpace(path string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}
