//go:build linux || darwin

package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"kwokctl/runtimes"
)

// forker starts all processes from one thread that lives as long as the supervisor. The kernel kills a child when
// the thread that forked it ends, not the process; any other thread might end sooner.
type forker chan func()

func newForker() forker {
	f := make(forker)
	go func() {
		runtime.LockOSThread()
		for call := range f {
			call()
		}
	}()
	return f
}

func (f forker) start(path string, argv []string, attr *os.ProcAttr) (p *os.Process, err error) {
	done := make(chan struct{})
	f <- func() {
		p, err = os.StartProcess(path, argv, attr)
		close(done)
	}
	<-done
	return p, err
}

// child is one process of a component.
type child struct {
	proc    *os.Process
	id      identity
	began   time.Time
	gate    *os.File // nil when it has none or it was opened
	out     *drain
	kills   uint64 // out-of-memory kills on this machine before it was started
	exited  chan struct{}
	code    int    // these two once exited is closed
	reason  string // "exit status 1"
	mu      sync.Mutex
	reaped  bool // its pid may belong to somebody else now
	ordered bool // we sent it SIGKILL
}

// spawn starts one process of a component. With gated it is to wait at its gate.
func spawn(fork forker, spec runtimes.Spec, program string, gated bool, log *logFile) (*child, error) {
	path, err := link(spec.Dir, spec.Name, program)
	if err != nil {
		return nil, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	c := &child{exited: make(chan struct{}), kills: oomKills()}
	attr := &os.ProcAttr{Dir: spec.Dir, Env: environment(spec.Env), Files: []*os.File{null, w, w}, Sys: ownGroup()}
	if gated {
		their, our, err := os.Pipe()
		if err != nil {
			r.Close()
			return nil, err
		}
		defer their.Close()
		c.gate = our
		attr.Files = append(attr.Files, their)
		attr.Env = append(attr.Env, runtimes.GateEnv+"=3")
	}
	c.began = time.Now()
	c.proc, err = fork.start(path, append([]string{spec.Name}, spec.Args...), attr)
	if err != nil {
		r.Close()
		c.shut()
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fmt.Errorf("run %s: %w", program, err)
	}
	if c.id, err = identify(c.proc.Pid); err != nil {
		c.id = identity{PID: c.proc.Pid} // it has ended already
	}
	yieldMemory(c.proc.Pid)
	c.out = newDrain(r, log)
	go c.reap()
	return c, nil
}

// link makes bin/<name> a link to program, so that the process goes by the name of its component.
func link(dir, name, program string) (string, error) {
	path := filepath.Join(dir, binDir, name)
	if there, err := os.Readlink(path); err == nil && there == program {
		return path, nil
	}
	tmp := filepath.Join(dir, binDir, "."+name+".tmp")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.Symlink(program, tmp); err != nil {
		return "", err
	}
	return path, os.Rename(tmp, path)
}

// environment is what a component sees: its own variables and three of ours.
func environment(own []string) []string {
	env := append([]string(nil), own...)
	for _, key := range []string{"PATH", "HOME", "TMPDIR"} {
		value, ok := os.LookupEnv(key)
		for _, entry := range own {
			ok = ok && !strings.HasPrefix(entry, key+"=")
		}
		if ok {
			env = append(env, key+"="+value)
		}
	}
	return env
}

// open lets the process pass its gate.
func (c *child) open() {
	if c.gate != nil {
		_, _ = c.gate.Write([]byte{1}) // when it fails the process has ended, which is noticed elsewhere
	}
	c.shut()
}

// shut closes the gate: a process that still waits there gives up.
func (c *child) shut() {
	if c.gate != nil {
		c.gate.Close()
		c.gate = nil
	}
}

// signal sends sig to the process and all of its group. Until it is reaped, nobody else can have its pid.
func (c *child) signal(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaped {
		return
	}
	c.ordered = c.ordered || sig == syscall.SIGKILL
	_ = syscall.Kill(-c.id.PID, sig)
	if sig != syscall.SIGKILL {
		_ = syscall.Kill(-c.id.PID, syscall.SIGCONT) // a process that is stopped could not act on it
	}
}

func (c *child) reap() {
	status := c.await()
	c.out.finish()
	c.code, c.reason = describe(status)
	if status.Signaled() && status.Signal() == syscall.SIGKILL && !c.ordered && oomKills() > c.kills {
		c.reason += " (out of memory)"
	}
	close(c.exited)
}

// describe gives the exit code as a shell would, and the reason in words.
func describe(s syscall.WaitStatus) (int, string) {
	if s.Signaled() {
		return 128 + int(s.Signal()), fmt.Sprintf("killed by signal %d", s.Signal())
	}
	return s.ExitStatus(), fmt.Sprintf("exit status %d", s.ExitStatus())
}

// wait reaps a process.
func wait(p *os.Process) syscall.WaitStatus {
	s, err := p.Wait()
	if err != nil {
		return syscall.WaitStatus(255 << 8) // nobody else reaps our children, so this cannot be
	}
	return s.Sys().(syscall.WaitStatus)
}
