package process

import (
	"context"
	"net"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// mostFiles is the highest soft limit of open files under a hard one.
func mostFiles(hard uint64) uint64 { return hard }

// dialSocket connects to the supervisor of the cluster in dir. The name of a socket has at most 107 bytes, so a long
// one is taken by way of the open directory.
func dialSocket(ctx context.Context, dir string) (net.Conn, error) {
	path := filepath.Join(dir, socketName)
	if len(path) > 107 {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		defer unix.Close(fd)
		path = filepath.Join("/proc/self/fd", strconv.Itoa(fd), socketName)
	}
	return new(net.Dialer).DialContext(ctx, "unix", path)
}

// checkDir refuses a directory whose socket cannot be reached; here there is none.
func checkDir(string) error { return nil }
