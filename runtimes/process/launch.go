//go:build linux || darwin

package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"kwokctl/internal/files"
)

// ensure returns when a supervisor listens, launching one if there is none.
func (r *Runtime) ensure(ctx context.Context) error {
	if err := checkDir(r.dir); err != nil {
		return err
	}
	// The lock makes others who want to start the same cluster wait until our supervisor listens.
	launch, err := lock(ctx, filepath.Join(r.dir, launchName))
	if err != nil {
		return err
	}
	defer launch.Close()
	var reply statusReply
	err = newClient(r.dir).call(ctx, r.wait, "GET", "/status", nil, &reply)
	if !errors.Is(err, errNobody) {
		return err
	}
	return r.launch(ctx, launch)
}

// launch starts a supervisor and waits until it listens or says why it cannot.
func (r *Runtime) launch(ctx context.Context, lock *os.File) error {
	began := time.Now()
	self := r.self
	if self == "" {
		path, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find own binary: %w", err)
		}
		self = path
	}
	log, err := openOwnLog(r.dir)
	if err != nil {
		return err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	p, err := os.StartProcess(self, []string{SuperviseApplet, "--dir", r.dir}, &os.ProcAttr{
		Dir:   r.dir,
		Env:   append(cleanEnvironment(), notifyEnv+"=3"),
		Files: []*os.File{null, log, log, out, lock},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	out.Close()
	if err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	gone := make(chan struct{})
	go func() { // so that it leaves no zombie if we live longer
		_, _ = p.Wait()
		close(gone)
	}()
	if err := awaitNotice(ctx, in); err != nil {
		select { // having said why, it ends
		case <-gone:
		case <-ctx.Done():
		case <-time.After(r.wait):
		}
		return err
	}
	r.log.Debug("supervisor listens", "pid", p.Pid, "elapsed", time.Since(began))
	return nil
}

func awaitNotice(ctx context.Context, in *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = in.SetReadDeadline(time.Now()) })
	defer stop()
	text, err := io.ReadAll(io.LimitReader(in, 64<<10))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("start supervisor: %w", err)
	case string(text) == listening:
		return nil
	case len(text) == 0:
		return errors.New("start supervisor: it ended without a word")
	}
	return fmt.Errorf("start supervisor: %s", text)
}

// openOwnLog opens the supervisor's own log. It says little, so one old file is enough.
func openOwnLog(dir string) (*os.File, error) {
	if err := files.MkdirPrivate(filepath.Join(dir, logsDir)); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, logsDir, ownLog)
	if info, err := os.Stat(path); err == nil && info.Size() > 1<<20 {
		_ = os.Rename(path, path+".1")
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
}

// cleanEnvironment is what a supervisor may know of its launcher's environment; secrets are often found there.
func cleanEnvironment() []string {
	var env []string
	for _, key := range []string{"PATH", "HOME", "TMPDIR", "TZ", "GOMAXPROCS", "GOCOVERDIR"} {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	return env
}
