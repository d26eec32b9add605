// Package cli is the command line of kwokctl: it parses, calls, and alone speaks to the user.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kwokctl/internal/cluster"
)

// Env is what commands use of the world.
type Env struct {
	In     io.Reader
	Out    io.Writer // results
	Err    io.Writer // progress, logs, errors
	Getenv func(string) string
	// Environ returns all variables, as KEY=VALUE; nil: none are looked at but by name.
	Environ func() []string
	// Version of this program, with the leading v.
	Version string
	// Applet becomes one of the embedded programs and returns its exit status.
	Applet func(name string, args []string) int
	// Check holds the checks of the embedded programs.
	Check Check

	name      string // of the cluster
	configs   []string
	verbosity string
	logFormat string
	dryRun    bool
}

// Check holds what embedded programs know of their own input. A check that is nil is not made.
type Check struct {
	SchedulerConfig func(text []byte) error  // of kube-scheduler
	FeatureGates    func(gates string) error // of Kubernetes
	RuntimeConfig   func(pairs string) error // of kube-apiserver
	Args            func(program string, args []string) error
}

// Exit statuses. A program that we become for the user has its own.
const (
	statusFailed      = 1
	statusTimeout     = 124 // as timeout(1) has it
	statusInterrupted = 130 // as shells have it for SIGINT
	statusPipe        = 141 // as they have it for SIGPIPE: nobody reads what is printed
)

// statusError carries the exit status of a program that has spoken for itself.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// sameSignal is how soon after the first a signal counts as the same one.
const sameSignal = 100 * time.Millisecond

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// Main runs the command line args and returns the exit status.
func Main(args []string, env Env) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // nothing is left half done because nobody reads of it
	go func() {
		<-signals
		cancel(errInterrupted)
		// The second time nothing is undone; the next run recovers. timeout(1) sends its one signal twice, at once.
		for first := time.Now(); ; {
			if <-signals; time.Since(first) > sameSignal {
				os.Exit(statusInterrupted)
			}
		}
	}()
	err := run(ctx, args, &env)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil { // whoever says so may not know why
		err = context.Cause(ctx)
	}
	status := exitStatus(err)
	var (
		spoken statusError
		write  *fs.PathError
	)
	if errors.As(err, &write) && write.Path == os.Stdout.Name() && errors.Is(write, syscall.EPIPE) {
		return statusPipe // as with kwokctl logs | head
	}
	if err != nil && !errors.As(err, &spoken) {
		env.complain(errorText(err))
	}
	return status
}

func run(ctx context.Context, args []string, env *Env) error {
	// What is linked in has put flags of its own where cobra finds them. They are for the programs we may become.
	ours, linked, become, check := pflag.NewFlagSet("kwokctl", pflag.ContinueOnError), pflag.CommandLine, env.Applet, env.Check.Args
	pflag.CommandLine = ours
	env.Applet = func(name string, args []string) int {
		pflag.CommandLine = linked
		return become(name, args)
	}
	if check != nil {
		env.Check.Args = func(program string, args []string) error {
			pflag.CommandLine = linked
			defer func() { pflag.CommandLine = ours }()
			return check(program, args)
		}
	}
	root := newRoot(env)
	root.SetArgs(joinLevel(args))
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	return root.ExecuteContext(ctx)
}

// joinLevel joins -v and a level that is negative, which would be taken for another flag.
func joinLevel(args []string) []string {
	for i, arg := range args {
		switch {
		case arg == "--" || slices.Contains([]string{"kubectl", "etcdctl", "kectl", "hack"}, arg):
			return args // what follows may be another program's
		case (arg == "-v" || arg == "--v") && i+1 < len(args) && negative.MatchString(args[i+1]):
			return slices.Concat(args[:i], []string{arg + "=" + args[i+1]}, joinLevel(args[i+2:]))
		}
	}
	return args
}

var negative = regexp.MustCompile(`^-[0-9]+$`)

func exitStatus(err error) int {
	var (
		timeout *cluster.TimeoutError
		spoken  statusError
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &spoken):
		return int(spoken)
	case errors.Is(err, errInterrupted):
		return statusInterrupted
	case errors.As(err, &timeout):
		return statusTimeout
	}
	return statusFailed
}

// errorText drops what errors.Join adds when only one error is left, and keeps lines that belong to an error.
func errorText(err error) string { return inWords(strings.TrimRight(err.Error(), "\n")) }

func newRoot(env *Env) *cobra.Command {
	cobra.EnablePrefixMatching = false // etcd's tools, which are linked in, turn it on for all
	root := &cobra.Command{
		Use:              "kwokctl",
		Short:            "Start simulated Kubernetes clusters",
		Version:          fmt.Sprintf("%s %s (%s/%s)", env.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH),
		SilenceErrors:    true,
		TraverseChildren: true, // so that flags before kubectl are ours and flags behind it are its own
		SilenceUsage:     true,
		Args:             group,
		RunE:             func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if f := cmd.Flags().Lookup("config"); f.Changed && len(env.configs) == 0 {
				env.configs = []string{""} // the flag's parser takes it for none
			}
			return cmp.Or(env.prepareLog(), env.checkDry(cmd), env.checkConfigs())
		},
	}
	root.SetVersionTemplate("kwokctl version {{.Version}}\n")
	root.SetFlagErrorFunc(flagMistake)
	flags := root.PersistentFlags()
	flags.StringVar(&env.name, "name", "kwok", "name of the cluster")
	flags.StringSliceVarP(&env.configs, "config", "c", nil, "configuration files and directories, - for standard input; kwok.yaml in the work directory is read before them")
	flags.StringVarP(&env.verbosity, "v", "v", "INFO", "log level: DEBUG, INFO, WARN, ERROR, a number, or a name and a number as in INFO+1")
	flags.StringVar(&env.logFormat, "log-format", "text", "format of what is written to stderr: text or json")
	flags.BoolVar(&env.dryRun, "dry-run", false, "print what would be done, as a shell script, and do nothing")
	root.AddCommand(
		parent("create", "Create a cluster", newCreate(env)),
		parent("delete", "Delete a cluster", newDelete(env)),
		parent("start", "Start a stopped cluster or component", newStart(env), newStartComponent(env)),
		parent("stop", "Stop a cluster or component; start brings it back as it was", newStop(env), newStopComponent(env)),
		parent("export", "Copy the logs of a cluster", newExportLogs(env)),
		parent("get", "List clusters, components, or how to connect", newGetClusters(env), newGetComponents(env), newGetKubeconfig(env), newGetArtifacts(env)),
		newLogs(env),
		newAudit(env),
		newScale(env),
		newPortForward(env),
		newDoctor(env),
		newConfig(env),
		newStage(env),
		parent("snapshot", "Save, restore, export, record and replay the state of clusters",
			newSnapshotSave(env), newSnapshotRestore(env), newSnapshotExport(env), newRecord(env), newReplay(env)),
		newKubectl(env),
		newEtcdctl(env),
		newKectl(env, "kectl", "Read and write objects in etcd, without the API server"),
		newHack(env),
	)
	strict(root)
	completeFlags(env, root)
	refuseLines(root)
	return root
}

// strict makes the commands of cobra's own fail for what is not there; they end well otherwise.
func strict(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	if c, _, err := root.Find([]string{"completion"}); err == nil {
		c.Args, c.RunE = group, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	if c, _, err := root.Find([]string{"help"}); err == nil {
		c.Run, c.RunE = nil, func(_ *cobra.Command, args []string) error {
			topic, rest, err := root.Find(args)
			if err == nil && topic.HasSubCommands() {
				err = group(topic, rest)
			}
			if err != nil {
				return err
			}
			return topic.Help()
		}
	}
}

// parent is a command that only groups others.
func parent(use, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: group,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(children...)
	return cmd
}

const workdirVariable = "KWOK_WORKDIR"

// home is where clusters live: $KWOK_WORKDIR, else ~/.kwok.
func (e *Env) home() (cluster.Home, error) {
	log, err := e.logger()
	if err != nil {
		return cluster.Home{}, err
	}
	dir := e.Getenv(workdirVariable)
	if dir == "" {
		user := e.Getenv("HOME")
		if user == "" {
			return cluster.Home{}, errors.New("neither KWOK_WORKDIR nor HOME is set; set one to a directory that is yours")
		}
		dir = filepath.Join(user, ".kwok")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return cluster.Home{}, fmt.Errorf("find the work directory: %w", err)
	}
	return cluster.Home{Dir: dir, Version: strings.TrimPrefix(e.Version, "v"), Log: log, Waiting: func(what, holder string, since time.Time) {
		fmt.Fprintf(e.say(), "waiting for %s, held by %s for %s\n", what, holder, time.Since(since).Round(time.Second))
	}}, nil
}

// open opens the cluster that --name names.
func (e *Env) open() (*cluster.Cluster, error) {
	home, err := e.home()
	if err != nil {
		return nil, err
	}
	c, err := home.Open(e.name)
	if errors.Is(err, cluster.ErrNotFound) {
		if names, _ := home.List(); len(names) > 0 {
			return nil, fmt.Errorf("%w; there are %s", err, strings.Join(names, ", "))
		}
	}
	return c, err
}
