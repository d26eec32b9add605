// Package runtimes says what a component is to whoever runs it. It knows nothing about Kubernetes.
package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Spec is one component, fully decided. It means the same to every Runtime.
type Spec struct {
	Cluster string   `json:"cluster"`
	Name    string   `json:"name"`              // also the applet to run when Program is empty
	Dir     string   `json:"dir"`               // cluster directory = working directory; absolute; set on open
	Program string   `json:"program,omitempty"` // "" = this binary; else a path or, in an Image of others, a name
	Args    []string `json:"args,omitempty"`    // paths relative to Dir
	Env     []string `json:"env,omitempty"`     // KEY=value; the only environment the component gets besides PATH, HOME and TMPDIR
	Ports   []Port   `json:"ports,omitempty"`
	Needs   []string `json:"needs,omitempty"` // components that must be ready first
	Probe   Probe    `json:"probe"`
	Data    string   `json:"data,omitempty"` // directory, relative to Dir, with what it must find again; a volume of its own in docker

	// What follows is for containers alone.
	Image   string   `json:"image,omitempty"`   // "" = that of this binary
	Command []string `json:"command,omitempty"` // in place of that image's own; empty: its own, else Program
	WorkDir string   `json:"workDir,omitempty"` // "" = the cluster directory
	User    string   `json:"user,omitempty"`    // "" = who all components are
	Mounts  []Mount  `json:"mounts,omitempty"`
}

// Mount is a file or directory of the engine's machine that the user wants in a container.
type Mount struct {
	Host     string `json:"host"`
	Inside   string `json:"inside"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	Create   bool   `json:"create,omitempty"` // a directory that is not there is made
}

// Port is one listener of a component, reachable from the host at 127.0.0.1:Number unless it is hidden.
type Port struct {
	Name   string `json:"name"`
	Number int    `json:"number"`
	Inside int    `json:"inside,omitempty"` // its number in a container; 0 = Number
	Local  bool   `json:"local,omitempty"`  // never on another address than 127.0.0.1
	Hidden bool   `json:"hidden,omitempty"` // in a container, on the cluster's network alone
}

// Published are the ports that the component takes of the host.
func (s Spec) Published() []Port {
	return slices.DeleteFunc(slices.Clone(s.Ports), func(p Port) bool { return p.Hidden })
}

// Probe tells how to ask a component for its health over HTTP.
type Probe struct {
	// Ready and Live are URLs that answer 200 when the component can serve, and when it is not stuck. The scheme
	// is http, https or unix; unix://etcd:0/readyz asks over the unix socket "etcd:0" in Dir. An empty Ready
	// means ready as soon as the process runs; an empty Live means the same as Ready.
	Ready string `json:"ready,omitempty"`
	Live  string `json:"live,omitempty"`
	CA    string `json:"ca,omitempty"`   // PEM file, relative to Dir, that signs the server's certificate
	Cert  string `json:"cert,omitempty"` // client certificate and key, relative to Dir; none when empty
	Key   string `json:"key,omitempty"`
	Host  string `json:"host,omitempty"` // to ask for by name, if not as the URL says
}

// State is what a component is doing.
type State string

// The states of a component.
const (
	Stopped   State = "Stopped"   // not running, and nobody wants it to
	Waiting   State = "Waiting"   // waits for what it needs
	Starting  State = "Starting"  // running, not yet ready
	Ready     State = "Ready"     // running, its probe answers
	NotReady  State = "NotReady"  // running, was ready, its probe does not answer
	Exited    State = "Exited"    // died; restarted after a pause
	CrashLoop State = "CrashLoop" // died five times within a minute; still restarted, slowly
)

// Status is what is known of one component at one moment.
type Status struct {
	Name     string        `json:"name"`
	State    State         `json:"state"`
	PID      int           `json:"pid,omitempty"`
	Restarts int           `json:"restarts"`           // since the cluster was started
	ExitCode *int          `json:"exitCode,omitempty"` // of the latest exit; 128+n when signal n killed it
	Reason   string        `json:"reason,omitempty"`   // why it exited or is not ready: "exit status 1", "killed by signal 9 (out of memory)", …
	LastExit string        `json:"lastExit,omitempty"` // why it exited the last time, also when it runs again
	Tail     []string      `json:"tail,omitempty"`     // the last log lines of its latest exit
	Started  time.Time     `json:"started,omitzero"`
	Took     time.Duration `json:"took,omitempty"` // from launch to ready, in nanoseconds
}

// Runtime runs Specs.
type Runtime interface {
	// Available returns nil when the runtime is usable on this machine, else an error wrapping ErrUnavailable.
	Available(ctx context.Context) error
	// Install makes what has to exist before Start: nothing for processes; image, network and containers for docker.
	Install(ctx context.Context, specs []Spec) error
	// Start brings all specs up, each when what it needs is ready, and returns when all are ready. It tells
	// observe (nil: nobody) each change of a component's status. A component that dies before it was ready
	// ends Start at once with an *ExitError; the others are left as they are. Components that are up stay untouched.
	Start(ctx context.Context, specs []Spec, observe func(Status)) error
	// Stop ends all specs in the reverse order of need and returns when they are gone. With kill there is no
	// grace. Those that had to be killed after their grace are named in the returned list.
	Stop(ctx context.Context, specs []Spec, kill bool) (killed []string, err error)
	// Status reports on each spec, in order.
	Status(ctx context.Context, specs []Spec) ([]Status, error)
	// Logs copies the log of one component to w; with follow, it goes on until ctx ends.
	Logs(ctx context.Context, s Spec, w io.Writer, follow bool) error
	// Uninstall removes what Install made. It is no error when that is gone already.
	Uninstall(ctx context.Context, specs []Spec) error
}

// ErrUnavailable is wrapped by errors of Available.
var ErrUnavailable = errors.New("runtime not available")

// ExitError says that a component died before it was ready.
type ExitError struct {
	Component string
	Reason    string   // "exit status 1"
	Tail      []string // its last log lines
	Log       string   // path of its log; "" if that was not kept, NoLog if there was none
}

// NoLog stands for the log of a component that never ran.
const NoLog = "none"

func (e *ExitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "start %s: %s", e.Component, e.Reason)
	switch e.Log {
	case NoLog:
	case "":
		b.WriteString("; --retain keeps its whole log")
	default:
		fmt.Fprintf(&b, "; log: %s", e.Log)
	}
	for _, line := range e.Tail {
		b.WriteString("\n    ")
		b.WriteString(line)
	}
	return b.String()
}

// tailLines is how many lines of a log say why a component died.
const tailLines = 20

// Tail returns the last lines of a log that say something.
func Tail(log string) []string {
	lines := strings.Split(strings.ToValidUTF8(log, "\uFFFD"), "\n")
	lines = slices.DeleteFunc(lines, help.MatchString)
	return lines[max(0, len(lines)-tailLines):]
}

// help matches a line of the list of flags that programs print about a wrong one: a flag, more words about it, the
// title of a group, or nothing. What is wrong stands before the list or behind it.
var help = regexp.MustCompile(`^\s+--?\w|^\s{20,}\S|^ +\t|^[\w ]*[Ff]lags:\s*$|^\s*$`)
