package cluster

import (
	"fmt"
	"path/filepath"
	"syscall"
)

// maxSocket is how long the path of a unix socket may be.
const maxSocket = 107

// ShortEtcdSocket returns a path of etcd's client socket that the system accepts however deep the cluster directory
// lies. It is good until done is called.
func (c *Cluster) ShortEtcdSocket() (path string, done func(), err error) {
	path = c.EtcdSocket()
	if len(path) <= maxSocket {
		return path, func() {}, nil
	}
	dir, err := syscall.Open(c.Dir, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) // no os.File, which would be closed once forgotten
	if err != nil {
		return "", nil, fmt.Errorf("open cluster directory: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path)), func() { _ = syscall.Close(dir) }, nil
}
