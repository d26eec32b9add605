package kubelet

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"strconv"
	"time"

	"kwokctl/internal/api"
)

// dialTime bounds how long a target may take to answer.
const dialTime = 10 * time.Second

// checkForward returns the first port that is none.
func checkForward(f *api.PortForward) error {
	bad := func(field string, port int32) error {
		return fmt.Errorf("%s %s: spec.forwards%s %d: allowed are 1 to 65535", f.Kind, f.Metadata.Name, field, port)
	}
	for i, rule := range f.Spec.Forwards {
		for j, port := range rule.Ports {
			if !api.IsPort(int(port)) {
				return bad(fmt.Sprintf("[%d].ports[%d]", i, j), port)
			}
		}
		if to := rule.Target; to != nil && !api.IsPort(int(to.Port)) {
			return bad(fmt.Sprintf("[%d].target.port", i), to.Port)
		}
	}
	return nil
}

// forwarder leads the ports of a pod to where the rules say.
type forwarder struct {
	target
	rules *Rules
}

// PortForward connects one stream with what a port stands for.
func (f *forwarder) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	rule := f.rules.current().forwards.Find(f.namespace, f.pod, port)
	switch {
	case rule != nil && len(rule.Command) > 0:
		return forwardCommand(ctx, rule.Command, stream)
	case rule != nil && rule.Target != nil:
		return forwardTCP(ctx, rule.Target, stream)
	}
	return fmt.Errorf("port %d: %s", port, f.nothing("PortForward"))
}

func forwardTCP(ctx context.Context, to *api.ForwardTarget, stream io.ReadWriter) error {
	d := net.Dialer{Timeout: dialTime}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(to.Address, strconv.Itoa(int(to.Port))))
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, stream)
		_ = conn.(*net.TCPConn).CloseWrite() // he has said all, and may still be answered
	}()
	if _, err := io.Copy(stream, conn); err != nil && ctx.Err() == nil {
		return fmt.Errorf("copy from %s: %w", conn.RemoteAddr(), err)
	}
	return nil
}

// forwardCommand connects the stream with the input and output of a command.
func forwardCommand(ctx context.Context, command []string, stream io.ReadWriter) error {
	l := &local{log: slog.New(slog.DiscardHandler)}
	cmd, err := l.prepare(command)
	if err != nil {
		return err
	}
	err = runPipes(ctx, cmd, stream, stream, nil)
	if _, ended := err.(*exec.ExitError); ended && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", command[0], err)
	}
	return nil
}
