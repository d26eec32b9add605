package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"kwokctl/internal/components"
	"kwokctl/runtimes"
)

// maxSocket is how long the path of a unix socket may be.
const maxSocket = 107

// forwarder is a runtime whose components' sockets are not in the cluster directory.
type forwarder interface {
	Forward(ctx context.Context, s runtimes.Spec, address, socket string) (done func(), err error)
}

// ShortEtcdSocket returns a path of etcd's client socket that the system accepts however deep the cluster directory
// lies. It is good until done is called.
func (c *Cluster) ShortEtcdSocket() (path string, done func(), err error) {
	f, forward := c.rt.(forwarder)
	path = c.EtcdSocket()
	if forward {
		c.removeStaleSockets()
		path = filepath.Join(c.Dir, fmt.Sprintf("%s.%d", components.ClientSocket, os.Getpid()))
	}
	release := func() {}
	if len(path) > maxSocket {
		dir, err := syscall.Open(c.Dir, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) // no os.File, which would be closed once forgotten
		if err != nil {
			return "", nil, fmt.Errorf("open cluster directory: %w", err)
		}
		path = fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path))
		release = func() { _ = syscall.Close(dir) }
	}
	if !forward {
		return path, release, nil
	}
	etcd, err := c.Spec("etcd")
	if err != nil {
		return "", nil, err
	}
	stop, err := f.Forward(context.Background(), etcd, components.ClientSocket, path)
	if err != nil {
		release()
		return "", nil, fmt.Errorf("cluster %q: %w", c.Name, err)
	}
	return path, func() { stop(); release() }, nil
}

// removeStaleSockets removes those of programs that have ended without a chance to do so.
func (c *Cluster) removeStaleSockets() {
	all, _ := filepath.Glob(filepath.Join(c.Dir, components.ClientSocket+".*"))
	for _, path := range all {
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
			continue
		}
		_ = os.Remove(path) // what is left of it hurts nobody
	}
}
