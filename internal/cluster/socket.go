package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"kwokctl/internal/components"
	"kwokctl/runtimes"
)

// maxSocket is how long the path of a unix socket may be.
const maxSocket = 107

// forwarder is a runtime whose components' sockets are not in the cluster directory.
type forwarder interface {
	Forward(ctx context.Context, s runtimes.Spec, network, address, socket string) (done func(), err error)
}

// ShortEtcdSocket returns a path of etcd's client socket that the system accepts however deep the cluster directory
// lies. It is good until done is called.
func (c *Cluster) ShortEtcdSocket() (path string, done func(), err error) {
	if f, forward := c.rt.(forwarder); forward {
		etcd, err := c.Spec("etcd")
		if err != nil {
			return "", nil, err
		}
		return c.forward(f, etcd, "unix", components.ClientSocket)
	}
	return c.short(c.EtcdSocket())
}

// PortSocket returns the path of a unix socket that leads to a hidden port of a component. It is good until done is
// called.
func (c *Cluster) PortSocket(s runtimes.Spec, p runtimes.Port) (path string, done func(), err error) {
	f, forward := c.rt.(forwarder)
	if !forward {
		return "", nil, fmt.Errorf("port %s of %s leads nowhere", p.Name, s.Name)
	}
	return c.forward(f, s, "tcp", net.JoinHostPort(s.Name, strconv.Itoa(p.Number)))
}

// forward makes a socket in the cluster directory that leads to an address in a container.
func (c *Cluster) forward(f forwarder, s runtimes.Spec, network, address string) (path string, done func(), err error) {
	c.removeStaleSockets()
	path, release, err := c.short(filepath.Join(c.Dir, fmt.Sprintf("%s.%d", components.ClientSocket, os.Getpid())))
	if err != nil {
		return "", nil, err
	}
	stop, err := f.Forward(context.Background(), s, network, address, path)
	if err != nil {
		release()
		return "", nil, fmt.Errorf("cluster %q: %w", c.Name, err)
	}
	return path, func() { stop(); release() }, nil
}

// short returns a path that the system accepts for a socket in the cluster directory.
func (c *Cluster) short(path string) (short string, release func(), err error) {
	if len(path) <= maxSocket {
		return path, func() {}, nil
	}
	dir, err := syscall.Open(c.Dir, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) // no os.File, which would be closed once forgotten
	if err != nil {
		return "", nil, fmt.Errorf("open cluster directory: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path)), func() { _ = syscall.Close(dir) }, nil
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
