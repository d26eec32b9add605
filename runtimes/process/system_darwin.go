package process

import (
	"context"
	"fmt"
	"net"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mostFiles is the highest soft limit of open files under a hard one, which may be "no limit" while the kernel has
// one.
func mostFiles(hard uint64) uint64 {
	if n, err := unix.SysctlUint32("kern.maxfilesperproc"); err == nil {
		return min(hard, uint64(n))
	}
	return min(hard, needFiles)
}

// dialSocket connects to the supervisor of the cluster in dir.
func dialSocket(ctx context.Context, dir string) (net.Conn, error) {
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, socketName))
}

// checkDir refuses a directory whose socket cannot be reached.
func checkDir(dir string) error {
	const most = 103
	if path := filepath.Join(dir, socketName); len(path) > most {
		return fmt.Errorf("path too long for a unix socket: %s has %d bytes, at most %d are allowed; choose a shorter directory",
			path, len(path), most)
	}
	return nil
}
