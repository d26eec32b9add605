package docker

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// away is an engine behind ssh, as ssh://USER@HOST:PORT/SOCKET says it. All but the host may be missing.
type away struct{ user, host, port, socket string }

func (e endpoint) ssh() bool { return strings.HasPrefix(e.Host, "ssh://") }

// away returns what an address with ssh:// says, which was checked.
func (e endpoint) away(engine string) away {
	u, err := url.Parse(e.Host)
	if err != nil {
		return away{}
	}
	socket := "/var/run/docker.sock"
	if engine == Podman {
		socket = "/run/podman/podman.sock"
	}
	return away{u.User.Username(), u.Hostname(), u.Port(), cmp.Or(strings.TrimRight(u.Path, "/"), socket)}
}

// checkAway tells whether ssh understands an address as we do: nothing in it is an option to it, a list or a variable.
func checkAway(u *url.URL) bool {
	_, secret := u.User.Password()
	plain := func(text, more string) bool {
		return !strings.HasPrefix(text, "-") && !strings.ContainsFunc(text, func(c rune) bool {
			return c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("._-"+more, c)
		})
	}
	return !secret && u.Hostname() != "" && plain(u.Hostname(), ":%") && plain(u.User.Username(), "@+") && plain(u.Path, "/@+,=") &&
		u.RawQuery == "" && u.Fragment == ""
}

// args are those that name the host, and what follows them.
func (a away) args(rest ...string) (args []string) {
	if a.user != "" {
		args = append(args, "-l", a.user)
	}
	if a.port != "" {
		args = append(args, "-p", a.port)
	}
	return append(append(args, "--", a.host), rest...)
}

// name is the one by which others find the host, which may have a name of its own in the configuration of ssh.
func (a away) name(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	said, err := exec.CommandContext(ctx, "ssh", append([]string{"-G"}, a.args()...)...).Output()
	for line := range strings.Lines(string(said)) {
		if name, ok := strings.CutPrefix(line, "hostname "); ok && err == nil {
			return strings.TrimSpace(name)
		}
	}
	return a.host
}

// tunnel is the user's ssh, which leads from a socket of this machine to that of an engine elsewhere. One of it carries
// all connections to the engine, each of which ends by itself in either direction. There needs to be nothing but sshd
// and a shell: no docker command, as for its dial-stdio, of which each connection would need one, behind an ssh of its
// own, while sshd turns down those of many that come at once.
type tunnel struct {
	dir  string // with the socket; of this user alone
	cmd  *exec.Cmd
	in   io.Closer // with which ssh ends, also when this process is killed
	said bytes.Buffer
	gone chan struct{} // closed when ssh has ended
}

const (
	tunnelDir  = "kwok-ssh-*"
	greeting   = "kwokctl" // that comes back when ssh is through
	tunnelTime = time.Second
)

func (t *tunnel) socket() string { return filepath.Join(t.dir, "s") }

// dig returns a tunnel that somebody at the other end has answered through.
func dig(ctx context.Context, to away) (*tunnel, error) {
	removeStale()
	dir, err := os.MkdirTemp("", tunnelDir)
	if err != nil {
		return nil, err
	}
	t := &tunnel{dir: dir, gone: make(chan struct{})}
	// What the user's configuration says holds, but for what would ask, or outlive us.
	options := []string{
		"-T", "-a", "-x", "-e", "none", "-o", "BatchMode=yes", "-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "RemoteCommand=none",
		"-o", "ExitOnForwardFailure=no", "-o", "ServerAliveInterval=15", "-o", "LogLevel=ERROR", "-o", "StreamLocalBindMask=0177",
		"-L", t.socket() + ":" + to.socket,
	}
	t.cmd = exec.Command("ssh", append(options, to.args("cat")...)...)
	t.cmd.Stderr, t.cmd.SysProcAttr, t.cmd.WaitDelay = &t.said, ownGroup(), tunnelTime
	up, err := t.start()
	if err != nil {
		t.remove()
		return nil, err
	}
	select {
	case <-up:
		if exists(t.socket()) {
			return t, nil
		}
		err = errors.New("ssh forwards no socket to " + t.socket())
	case <-t.gone:
		err = errors.New("ssh ended: " + t.cmd.ProcessState.String())
	case <-ctx.Done():
		err = ctx.Err()
	}
	t.Close()
	if last := lastOf(t.said.String()); last != "" && ctx.Err() == nil {
		err = &sshFault{last}
	}
	return nil, err
}

// start begins, and returns what is closed when the greeting is back.
func (t *tunnel) start() (up chan struct{}, err error) {
	in, err := t.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, w := io.Pipe()
	t.cmd.Stdout = w
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	t.in, up = in, make(chan struct{})
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() { // what the shell there says by itself comes first
			if lines.Text() == greeting {
				close(up)
				break
			}
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	go func() {
		_ = t.cmd.Wait()
		_ = w.Close()
		close(t.gone)
	}()
	_, _ = fmt.Fprintln(in, greeting) // if that cannot be, ssh has ended
	return up, nil
}

// Close ends ssh, with the connections that go through it.
func (t *tunnel) Close() {
	_ = t.in.Close()
	if t.cmd.Process.Signal(syscall.SIGTERM) != nil {
		_ = t.cmd.Process.Kill()
	}
	select {
	case <-t.gone:
	case <-time.After(tunnelTime):
		_ = t.cmd.Process.Kill()
		<-t.gone
	}
	t.remove()
}

// removeStale removes the directories of programs that have ended without a chance to do so.
func removeStale() {
	all, _ := filepath.Glob(filepath.Join(os.TempDir(), tunnelDir))
	for _, dir := range all {
		removeOne(&tunnel{dir: dir})
	}
}

// removeOne removes the directory of a tunnel unless somebody listens there, or may soon. Others may write where
// directories for a time are, so nothing is removed by way of a link.
func removeOne(t *tunnel) {
	root, err := os.OpenRoot(t.dir)
	if err != nil {
		return
	}
	defer root.Close()
	opened, err := root.Stat(".")
	named, e := os.Lstat(t.dir)
	if err != nil || e != nil || !os.SameFile(opened, named) || time.Since(named.ModTime()) < time.Minute {
		return
	}
	if conn, err := net.DialTimeout("unix", t.socket(), tunnelTime); err == nil {
		conn.Close()
	} else if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		_ = root.Remove(filepath.Base(t.socket()))
		_ = os.Remove(t.dir)
	}
}

// remove removes the directory, where nobody listens. What is left of it hurts nobody.
func (t *tunnel) remove() {
	_ = os.Remove(t.socket())
	_ = os.Remove(t.dir)
}

// lastOf returns the last line that says something.
func lastOf(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// sshFault is why ssh did not come through, in its words.
type sshFault struct{ said string }

func (f *sshFault) Error() string { return f.said }

// astray says why nobody was met behind ssh; "" when that is not why.
func astray(s state, err error) (why, hint string) {
	if !s.At.ssh() {
		return "", ""
	}
	var fault *sshFault
	to := s.At.away(s.Engine)
	by := "ssh " + strings.Join(to.args(), " ")
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "there is no program ssh", "; install the client of OpenSSH"
	case errors.As(err, &fault) && strings.Contains(fault.said, "Permission denied"):
		return fault.said, "; nobody is asked for a password: let " + by + " log in by a key"
	case errors.As(err, &fault) && strings.Contains(fault.said, "Host key verification failed"):
		return "the key of that host is not known, or not the one of before", "; see what " + by + " says of it"
	case errors.As(err, &fault):
		return strings.TrimPrefix(fault.said, "ssh: "), hostHint(s.Engine)
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, fs.ErrNotExist):
		return "no engine listens there on " + to.socket + " for this user", "; start it, or give the path of its socket, as in ssh://HOST/PATH"
	}
	return "", ""
}
