package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"

	"kwokctl/runtimes"
)

// Forward listens on a unix socket of this machine, and connects whoever comes to an address in the container of a
// component: by network unix a path in the cluster directory, by tcp HOST:PORT. It needs no port of the engine's machine,
// wherever that is. With done the listener ends, and so do connections through ssh; others go on until either side ends
// them.
func (r *Runtime) Forward(ctx context.Context, s runtimes.Spec, network, address, socket string) (done func(), err error) {
	e, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, fmt.Errorf("%s does not run", s.Name)
	}
	have, err := r.containers(ctx, e)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	at := host(have, []runtimes.Spec{s})
	if have[s.Name].State != container.StateRunning {
		return nil, errors.Join(fmt.Errorf("%s does not run", s.Name), e.Close())
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(err, e.Close())
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("forward %s: %w", s.Name, err), e.Close())
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(err, l.Close(), e.Close())
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				defer conn.Close()
				if err := r.join(conn, e, at, network, address); err != nil {
					r.Log.Debug("forwarding ended", "component", s.Name, "err", err)
				}
			}()
		}
	}()
	return func() {
		l.Close()
		e.Close()
	}, nil
}

// join copies between a connection and an address in a container until either ends.
func (r *Runtime) join(conn net.Conn, e *engine, host, network, address string) error {
	s, err := r.beside(context.Background(), e, host, "/bin/"+DialApplet, network, address)
	if err != nil {
		return err
	}
	defer s.Close()
	go func() {
		_, _ = io.Copy(s.Conn, conn)
		_ = s.CloseWrite()
	}()
	said := &lastLine{}
	_, err = stdcopy.StdCopy(conn, said, s.Reader)
	if said.text != "" {
		return errors.New(said.text)
	}
	return err
}
