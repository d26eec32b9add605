// Package process runs components as local processes. One supervisor process per cluster is the parent of them
// all; the Runtime of this package starts it and talks to it over a private unix socket in the cluster directory.
package process

import (
	"log/slog"
	"path/filepath"
	"time"

	"kwokctl/runtimes"
)

// SuperviseApplet is the name the binary is called by to be the supervisor.
const SuperviseApplet = "supervise"

// Files of the supervisor, relative to the cluster directory. The cluster directory is its working directory, so
// that their names stay short however long its path is.
const (
	socketName = "supervisor.sock"
	lockName   = "supervisor.lock" // held by the supervisor for its life; names it
	launchName = "launch.lock"     // held from the launch of a supervisor until it listens
	stateName  = "state.json"
	logsDir    = "logs"
	binDir     = "bin"
	ownLog     = "supervisor.log"
)

// Options tell where a Runtime works.
type Options struct {
	Dir  string       // cluster directory; it must exist before Start
	Self string       // path of this binary; "" means os.Executable
	Log  *slog.Logger // nil means silence
}

// Runtime runs the components of one cluster as processes. It implements runtimes.Runtime.
type Runtime struct {
	dir  string
	self string
	log  *slog.Logger
	wait time.Duration // how long the supervisor may take to answer
}

// New returns the process runtime of the cluster in o.Dir. It touches nothing.
func New(o Options) *Runtime {
	r := &Runtime{dir: o.Dir, self: o.Self, log: o.Log, wait: 2 * time.Second}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	return r
}

// logPath is the log of a component, below the cluster directory dir.
func logPath(dir, component string) string {
	return filepath.Join(dir, logsDir, component+".log")
}

// Periods are the times of a supervisor. A zero field means the default, which is given behind it.
type Periods struct {
	ProbeFirst   time.Duration // 10ms: between probes right after a component was started
	ProbeMost    time.Duration // 100ms: the same, when it takes long
	Live         time.Duration // 3s: between probes of a component that was ready
	LiveTimeout  time.Duration // 3s: how long it may take to answer
	Hung         time.Duration // 60s: without an answer until it is told to dump its goroutines
	Dump         time.Duration // 2s: for that dump; then it is killed
	Grace        time.Duration // 20s: between SIGTERM and SIGKILL
	BackoffFirst time.Duration // 1s: pause before the first restart; doubles
	BackoffMost  time.Duration // 30s: longest pause
	Stable       time.Duration // 60s: a component that was up this long starts again with the first pause
	CrashWindow  time.Duration // 60s: five exits within it are a crash loop
	Leftover     time.Duration // 5s: how long processes of a killed supervisor may take to end
	Steady       time.Duration // 1s: how long one that exited during a start must be ready again before that start is done
	Idle         time.Duration // 10s: without any component until the supervisor ends
}

func (p Periods) orDefault() Periods {
	for _, f := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&p.ProbeFirst, 10 * time.Millisecond},
		{&p.ProbeMost, 100 * time.Millisecond},
		{&p.Live, 3 * time.Second},
		{&p.LiveTimeout, 3 * time.Second},
		{&p.Hung, 60 * time.Second},
		{&p.Dump, 2 * time.Second},
		{&p.Grace, 20 * time.Second},
		{&p.BackoffFirst, time.Second},
		{&p.BackoffMost, 30 * time.Second},
		{&p.Stable, 60 * time.Second},
		{&p.CrashWindow, 60 * time.Second},
		{&p.Leftover, 5 * time.Second},
		{&p.Steady, runtimes.Steady},
		{&p.Idle, 10 * time.Second},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return p
}
