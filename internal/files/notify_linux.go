package files

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// notifier tells when files of a directory grow, appear or are renamed.
type notifier struct{ f *os.File }

func newNotifier(dir string) (*notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init", err)
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "watch", Path: dir, Err: err}
	}
	return &notifier{f: os.NewFile(uintptr(fd), "inotify")}, nil
}

// wait returns nil after the next event. Events that came since the last call count.
func (n *notifier) wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = n.f.SetReadDeadline(time.Now()) })
	defer stop()
	_, err := n.f.Read(make([]byte, 16<<10))
	return err
}

func (n *notifier) close() { n.f.Close() }
