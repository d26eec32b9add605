package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/creack/pty"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"kwokctl/internal/api"
)

// local runs commands on this machine, or in this container.
type local struct {
	how api.ExecLocal
	log *slog.Logger
}

// ExecInContainer runs a command until it ends or ctx does, which kills it with all that it has started. What it sees
// of our environment is nothing but what the rule declares.
func (l *local) ExecInContainer(ctx context.Context, _, _, _ string, command []string, in io.Reader, out, errs io.WriteCloser,
	tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	cmd, err := l.prepare(command)
	if err != nil {
		return err
	}
	if tty {
		err = runTerminal(ctx, cmd, in, out, resize)
	} else {
		err = runPipes(ctx, cmd, in, out, errs)
	}
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		return err
	}
	l.log.Debug("command ended", "command", command, "err", err)
	return utilexec.CodeExitError{Err: err, Code: exitCode(ended.ProcessState)}
}

// prepare makes the command as the rule wants it.
func (l *local) prepare(command []string) (*exec.Cmd, error) {
	cmd := &exec.Cmd{Args: command, Env: []string{}, Dir: l.how.WorkDir} // a nil Env would be ours
	if cmd.Dir == "" {
		cmd.Dir = string(filepath.Separator) // not where we are, which is beside the keys of the cluster
	}
	search := ""
	for _, e := range l.how.Envs {
		cmd.Env = append(cmd.Env, e.Name+"="+e.Value)
		if e.Name == "PATH" {
			search = e.Value
		}
	}
	var err error
	if cmd.Path, err = program(command[0], search); err != nil {
		return nil, err
	}
	return cmd, isolate(cmd, l.how.SecurityContext)
}

// program finds a program, by the PATH that the rule declares, else by ours.
func program(name, search string) (string, error) {
	if search == "" || strings.ContainsRune(name, filepath.Separator) {
		return exec.LookPath(name)
	}
	for _, dir := range filepath.SplitList(search) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil && filepath.IsAbs(dir) {
			return path, nil
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}

// runPipes runs a command without a terminal.
func runPipes(ctx context.Context, cmd *exec.Cmd, in io.Reader, out, errs io.Writer) error {
	if out != nil {
		cmd.Stdout = out
	}
	if errs != nil {
		cmd.Stderr = errs
	}
	var stdin io.WriteCloser
	if in != nil {
		var err error
		if stdin, err = cmd.StdinPipe(); err != nil {
			return err
		}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { kill(cmd.Process) })()
	if in != nil {
		go func() { // not waited for: the client may say nothing more, and stay
			_, _ = io.Copy(stdin, in) // whoever ended first, nothing is left to do
			_ = stdin.Close()
		}()
	}
	return cmd.Wait()
}

// runTerminal runs a command on a terminal of its own.
func runTerminal(ctx context.Context, cmd *exec.Cmd, in io.Reader, out io.Writer, resize <-chan remotecommand.TerminalSize) error {
	terminal, err := pty.StartWithAttrs(cmd, nil, session(cmd))
	if err != nil {
		return fmt.Errorf("open terminal: %w", err)
	}
	ended, fitted := make(chan struct{}), make(chan struct{})
	go fit(terminal, resize, ended, fitted)
	defer func() {
		close(ended)
		<-fitted // its descriptor may not be used when it is another's
		_ = terminal.Close()
	}()
	defer context.AfterFunc(ctx, func() { kill(cmd.Process) })()
	if in != nil {
		go func() { _, _ = io.Copy(terminal, in) }()
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		if out == nil {
			out = io.Discard
		}
		_, _ = io.Copy(out, terminal) // ends with an error when the last one closes the terminal
	}()
	err = cmd.Wait()
	<-copied
	return err
}

// fit gives a terminal the size that its client has, until ended is closed, and closes done.
func fit(terminal *os.File, resize <-chan remotecommand.TerminalSize, ended <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	for {
		select {
		case size, more := <-resize:
			if !more {
				return
			}
			_ = pty.Setsize(terminal, &pty.Winsize{Rows: size.Height, Cols: size.Width}) // as good as it gets
		case <-ended:
			return
		}
	}
}

// exitCode is the status as shells have it.
func exitCode(s *os.ProcessState) int {
	if code := s.ExitCode(); code >= 0 {
		return code
	}
	return signalled(s)
}
