//go:build linux || darwin

package process

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"kwokctl/internal/files"
)

// notifyEnv names two inherited file descriptors of a supervisor: the pipe on which it tells its launcher how it
// went, and the launch lock, which it holds until then even if the launcher dies.
const notifyEnv = "KWOK_NOTIFY"

// listening is what a supervisor tells its launcher when all is well.
const listening = "listening"

// SuperviseMain is the applet "supervise": it reads its flags from args and returns the exit status.
func SuperviseMain(args []string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	flags := flag.NewFlagSet(SuperviseApplet, flag.ContinueOnError)
	dir := flags.String("dir", "", "cluster directory")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case *dir == "" || flags.NArg() > 0:
		fmt.Fprintln(os.Stderr, "supervise: usage: supervise --dir DIRECTORY")
		return 2
	}
	if err := Supervise(context.Background(), *dir, log, Periods{}); err != nil {
		log.Error("supervisor ended", "err", err)
		return 1
	}
	return 0
}

// Supervise is the supervisor of the cluster in dir. It returns when all components were stopped, after SIGTERM,
// SIGINT or the end of ctx has ended them, or when nothing was ever started. It changes the working directory,
// umask and file limit of the process, so it must have the process for itself.
func Supervise(ctx context.Context, dir string, log *slog.Logger, periods Periods) error {
	n := inherit()
	err := supervise(ctx, dir, log, periods.orDefault(), n)
	if err != nil {
		n.tell(err.Error())
	}
	return err
}

// notice is the way back to whoever launched this supervisor; nil when it was run by hand.
type notice struct{ pipe, launch *os.File }

func inherit() *notice {
	value, ok := os.LookupEnv(notifyEnv)
	if !ok {
		return nil
	}
	os.Unsetenv(notifyEnv)
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 3 {
		return nil
	}
	syscall.CloseOnExec(fd)
	syscall.CloseOnExec(fd + 1)
	return &notice{pipe: os.NewFile(uintptr(fd), "notify"), launch: os.NewFile(uintptr(fd+1), launchName)}
}

func (n *notice) tell(text string) {
	if n == nil || n.pipe == nil {
		return
	}
	_, _ = n.pipe.WriteString(text) // the launcher may have gone
	n.pipe.Close()
	n.launch.Close()
	n.pipe = nil
}

func supervise(ctx context.Context, dir string, log *slog.Logger, periods Periods, n *notice) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	dir, err := settle(dir)
	if err != nil {
		return err
	}
	own, err := takeOver(ctx, dir)
	if err != nil {
		return err
	}
	defer own.lock.Close()
	former := loadState(dir, log)
	if err := bury(former.processes(), periods.Leftover, periods.Leftover); err != nil {
		return fmt.Errorf("clear away processes of a former supervisor: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	s := newSupervisor(dir, self, own.id, log, periods)
	socket, err := listen()
	if err != nil {
		return err
	}
	return s.serve(ctx, socket, n)
}

// settle makes dir a place to work in and goes there.
func settle(dir string) (string, error) {
	syscall.Umask(0o077)
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := files.RepairPrivate(dir); err != nil {
		return "", err
	}
	if err := os.Chdir(dir); err != nil {
		return "", err
	}
	for _, sub := range []string{logsDir, binDir} {
		if err := files.MkdirPrivate(filepath.Join(dir, sub)); err != nil {
			return "", err
		}
	}
	return dir, raiseFiles()
}

// ownership is the lock that makes this process the only supervisor, and who it is.
type ownership struct {
	lock *os.File
	id   identity
}

// takeOver takes the supervisor's lock. A predecessor that is just ending is waited for.
func takeOver(ctx context.Context, dir string) (ownership, error) {
	const most = 30 * time.Second
	path := filepath.Join(dir, lockName)
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	f, err := lock(ctx, path)
	if err != nil {
		who, _ := holder(path)
		return ownership{}, fmt.Errorf("wait for the former supervisor (pid %d): %w", who.PID, err)
	}
	id, err := identify(os.Getpid())
	if err == nil {
		err = sign(f, id)
	}
	if err != nil {
		f.Close()
		return ownership{}, err
	}
	return ownership{lock: f, id: id}, nil
}

// listen opens the socket in the working directory; the lock says that whatever is there is dead.
func listen() (net.Listener, error) {
	if err := os.Remove(socketName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", socketName)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(socketName, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// serve answers requests until there is nothing left to supervise.
func (s *supervisor) serve(ctx context.Context, socket net.Listener, n *notice) error {
	saved := make(chan struct{})
	over := make(chan struct{})
	go s.save(over, saved)
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(socket) }()
	n.tell(listening)
	s.log.Info("supervisor listens", "dir", s.dir, "pid", s.id.PID)

	idle := time.AfterFunc(s.periods.Idle, func() { s.exitIfIdle() })
	defer idle.Stop()
	var err error
	select {
	case <-s.quit:
	case <-ctx.Done():
		s.stopAll()
	case err = <-failed:
		s.stopAll()
		err = fmt.Errorf("serve: %w", err)
	}
	patience, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = server.Shutdown(patience) // lets the last answer out, and removes the socket
	close(over)
	<-saved
	s.log.Info("supervisor ends", "pid", s.id.PID)
	return err
}

// save keeps the state file up to date until over.
func (s *supervisor) save(over <-chan struct{}, saved chan<- struct{}) {
	defer close(saved)
	var last string
	for more := true; more; {
		select {
		case <-s.board.dirty:
		case <-over:
			more = false
		}
		err := saveState(s.dir, s.board.save(s.id))
		if err != nil && err.Error() != last {
			s.log.Warn("state not saved", "err", err)
		}
		last = ""
		if err != nil {
			last = err.Error()
		}
	}
}

// needFiles is the least limit of open files with which a cluster works.
const needFiles = 8192

// raiseFiles raises the soft limit of open files to the hard one. Go's runtime does so too, but takes it back for
// children, unless it is set explicitly.
func raiseFiles() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	if err := checkFiles(limit.Max); err != nil {
		return err
	}
	limit.Cur = mostFiles(limit.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise limit of open files to %d: %w", limit.Cur, err)
	}
	return nil
}

// CheckLimits says which limit of this user is too low for a cluster.
func CheckLimits() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	return checkFiles(limit.Max)
}

func checkFiles(hard uint64) error {
	if hard >= needFiles {
		return nil
	}
	return fmt.Errorf("limit of open files is %d, need %d: raise it with \"ulimit -Hn %d\" as root, or in /etc/security/limits.conf",
		hard, needFiles, needFiles)
}
