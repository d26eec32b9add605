package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"kwokctl/internal/cluster"
	"kwokctl/runtimes"
)

func newPortForward(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "port-forward COMPONENT LOCAL:PORT", Short: "Reach a port of a component at a port of 127.0.0.1 until interrupted",
		Args:    exactly(cobra.ExactArgs(2)),
		Example: "  kwokctl port-forward kwok-controller 8080:http\n  kwokctl port-forward etcd 2379:client    # plain, from its unix socket\n  kwokctl port-forward kube-scheduler :https    # a free port, which is told",
	}
	cmd.ValidArgsFunction = complete(0, env.componentNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		local, port, err := parseForward(args[1])
		if err != nil {
			return err
		}
		c, err := env.open()
		if err != nil {
			return err
		}
		spec, err := c.Spec(args[0])
		if err != nil {
			return err
		}
		dial, err := dialer(c, spec, port)
		if err != nil {
			return err
		}
		if env.dryRun {
			_, err := fmt.Fprintf(env.Out, "# Forward 127.0.0.1:%d to %s of %s\n", local, port, spec.Name)
			return err
		}
		if err := c.Runs(cmd.Context(), spec.Name); err != nil {
			return err
		}
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(local)))
		if err != nil {
			return fmt.Errorf("port-forward: port %d: %w", local, errors.Unwrap(err))
		}
		if local == 0 { // the free port is what was asked for
			fmt.Fprintln(env.Out, listener.Addr())
		}
		fmt.Fprintf(env.say(), "Forwarding %s to %s of %s until interrupted.\n", listener.Addr(), port, spec.Name)
		return forward(cmd.Context(), listener, dial, func(err error) { fmt.Fprintf(env.Err, "port-forward: %v\n", err) })
	}
	return cmd
}

// parseForward reads LOCAL:PORT, where an empty LOCAL is any free one, or PORT alone, a number, for both.
func parseForward(text string) (local int, port string, err error) {
	first, port, ok := strings.Cut(text, ":")
	if !ok {
		port = first
	}
	if first != "" {
		if local, err = strconv.Atoi(first); err != nil || local < 0 || local > 65535 {
			return 0, "", fmt.Errorf("%q: LOCAL:PORT has a number of 0 to 65535, and a number or name", text)
		}
	}
	if port == "" {
		return 0, "", fmt.Errorf("%q: no PORT behind the colon", text)
	}
	return local, port, nil
}

type dial func(ctx context.Context) (net.Conn, error)

// dialer finds the port of a component by name or number.
func dialer(c *cluster.Cluster, spec runtimes.Spec, port string) (dial, error) {
	var names []string
	var d net.Dialer
	for _, p := range spec.Ports {
		number := strconv.Itoa(p.Number)
		if (port == p.Name || port == number) && spec.Name != "etcd" { // whose port wants certificates
			if p.Hidden {
				return bySocket(func() (string, func(), error) { return c.PortSocket(spec, p) }), nil
			}
			if p.Local && c.Config.Status.EngineHost != "" {
				return nil, fmt.Errorf("port-forward: port %s of %s is on 127.0.0.1 of %s alone", number, spec.Name, c.Host())
			}
			return func(ctx context.Context) (net.Conn, error) {
				return d.DialContext(ctx, "tcp", net.JoinHostPort(c.Host(), number))
			}, nil
		}
		names = append(names, p.Name+" ("+number+")")
	}
	if spec.Name == "etcd" {
		own := func(p runtimes.Port) bool { return port == strconv.Itoa(p.Number) }
		if port == "client" || port == "http" || port == "2379" || slices.ContainsFunc(spec.Ports, own) {
			return bySocket(c.ShortEtcdSocket), nil
		}
		names = []string{"client (2379)"}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("port-forward: %s has no ports", spec.Name)
	}
	return nil, fmt.Errorf("port-forward: %s has no port %q; it has %s", spec.Name, port, strings.Join(names, ", "))
}

// bySocket dials a socket that open makes at the first connection: one for all, since the next would take the place of one
// that is about to be used.
func bySocket(open func() (path string, done func(), err error)) dial {
	var mu sync.Mutex
	var path string
	return func(ctx context.Context) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if path == "" {
			short, done, err := open()
			if err != nil {
				return nil, err
			}
			path = short
			context.AfterFunc(ctx, done)
		}
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
}

// forward joins each connection to listener with one of its own that dial makes, until ctx ends.
func forward(ctx context.Context, listener net.Listener, dial dial, failed func(error)) error {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		near, err := listener.Accept()
		if ctx.Err() != nil {
			return nil // that is how forwarding ends
		}
		if err != nil {
			listener.Close()
			return fmt.Errorf("port-forward: %w", err)
		}
		all.Go(func() {
			defer near.Close()
			far, err := dial(ctx)
			if err != nil {
				failed(err)
				return
			}
			defer far.Close()
			join(ctx, near, far)
		})
	}
}

// join copies both ways until both sides have ended or ctx does.
func join(ctx context.Context, a, b net.Conn) {
	stop := context.AfterFunc(ctx, func() {
		a.Close()
		b.Close()
	})
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // a side that breaks ends, and so does the other one
			if half, ok := way[0].(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
		})
	}
	both.Wait()
}
