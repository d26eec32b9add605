package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"kwokctl/internal/cluster"
	"kwokctl/internal/kube"
	"kwokctl/internal/kubeconfig"
	"kwokctl/internal/snapshot"
)

// Formats of snapshots.
const (
	formatEtcd = "etcd"
	formatK8s  = "k8s"
)

// snapshotOptions are the flags that save, restore and export share.
type snapshotOptions struct {
	path, format, labels string
	filter               snapshot.Filter
	flagSet              *pflag.FlagSet // nil: there are no such flags
}

// flags defines them. kinds are what filters may name.
func (o *snapshotOptions) flags(cmd *cobra.Command, kinds completer, path, format, formatText string) {
	f := cmd.Flags()
	o.flagSet = f
	f.StringVar(&o.path, "path", "", path)
	if formatText != "" {
		f.StringVar(&o.format, "format", format, formatText)
		_ = cmd.RegisterFlagCompletionFunc("format", complete(-1, func() []string { return []string{formatEtcd, formatK8s} }))
	}
	f.StringSliceVar(&o.filter.Kinds, "filter", nil, "kinds of objects, as resource, resource.group or resource.version.group; all but events and leases when not given")
	_ = cmd.RegisterFlagCompletionFunc("filter", kinds) // the flag is there
	f.StringSliceVarP(&o.filter.Namespaces, "namespace", "n", nil, "namespaces of objects; all when not given")
	f.StringVarP(&o.labels, "selector", "l", "", "labels of objects, as kubectl has them")
}

// check finds mistakes in the flags.
func (o *snapshotOptions) check() error {
	if o.path == "" {
		return errors.New("--path is missing: the file; - for standard input or output")
	}
	if o.format != "" && o.format != formatEtcd && o.format != formatK8s {
		return fmt.Errorf("--format %q: allowed are %s, %s", o.format, formatEtcd, formatK8s)
	}
	for _, name := range []string{"filter", "namespace", "selector"} {
		if o.flagSet != nil && o.flagSet.Changed(name) && slices.Contains([]string{"", "[]"}, o.flagSet.Lookup(name).Value.String()) {
			return fmt.Errorf("--%s: it is empty, which would mean everything; leave it out for that", name)
		}
	}
	for _, name := range o.filter.Namespaces {
		if bad := validation.IsDNS1123Label(name); len(bad) > 0 {
			return fmt.Errorf("--namespace %q: %s", name, bad[0])
		}
	}
	if o.labels != "" {
		selector, err := labels.Parse(o.labels)
		if err != nil {
			return fmt.Errorf("--selector %q: %w", o.labels, err)
		}
		o.filter.Labels = selector
	}
	if o.format == formatEtcd && o.filters() {
		return errors.New("--filter, --namespace, --selector: the etcd format holds everything; they need --format k8s")
	}
	return nil
}

func (o *snapshotOptions) filters() bool {
	return len(o.filter.Kinds)+len(o.filter.Namespaces)+len(o.labels) > 0
}

func newSnapshotSave(env *Env) *cobra.Command {
	var o snapshotOptions
	cmd := &cobra.Command{Use: "save", Short: "Save the state of a cluster in a file", Args: exactly(cobra.NoArgs),
		Example: "  kwokctl snapshot save --path state.db\n  kwokctl snapshot save --format k8s --path state.yaml.gz --namespace shop"}
	o.flags(cmd, completeFilter(env.adminConfig), "file to write, which must not exist; compressed if it ends in .gz; - for standard output", formatEtcd,
		"etcd: exact, all of it; k8s: YAML to read, filter and move")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(); err != nil {
			return err
		}
		c, err := env.open()
		if err != nil {
			return err
		}
		if env.dryRun {
			return c.DrySave(o.path, o.format == formatEtcd, &cluster.Script{Out: env.Out})
		}
		if err := c.Running(cmd.Context()); err != nil {
			return err
		}
		if o.format == formatEtcd {
			return saveEtcd(cmd.Context(), env, c, o.path)
		}
		return env.saveObjects(cmd.Context(), c.Kubeconfig(), o, snapshot.List{Filter: o.filter, Source: "cluster " + c.Name})
	}
	return cmd
}

func saveEtcd(ctx context.Context, env *Env, c *cluster.Cluster, path string) error {
	began, bar := time.Now(), newBar(env, "save")
	var size int64
	err := snapshot.Save(path, env.Out, func(w io.Writer) (err error) {
		size, err = c.SaveEtcd(ctx, w, bar.transfer)
		return err
	})
	bar.end()
	if err != nil {
		return interrupted(ctx, err)
	}
	fmt.Fprintf(env.say(), "Cluster %s is saved in %s: %s (%s).\n", c.Name, place(path, "standard output"), mebibytes(size), seconds(time.Since(began)))
	return nil
}

// saveObjects writes objects of the API server that a kubeconfig leads to.
func (e *Env) saveObjects(ctx context.Context, kubeconfig string, o snapshotOptions, list snapshot.List) error {
	if err := snapshot.CheckNew(o.path); err != nil {
		return err
	}
	config, err := kube.Connect(kubeconfig, "")
	if err != nil {
		return err
	}
	config.UserAgent = "kwokctl/" + e.Version
	config.Impersonate.UserName, config.Impersonate.Groups = list.As, list.AsGroups
	began := time.Now()
	kinds, err := snapshot.Discover(ctx, config)
	if err != nil {
		return interrupted(ctx, err)
	}
	bar := newBar(e, "save")
	var done *snapshot.Listed
	err = snapshot.Save(o.path, e.Out, func(w io.Writer) (err error) {
		done, err = snapshot.SaveObjects(ctx, kinds, list, w, bar.transfer)
		return err
	})
	bar.end()
	if err != nil {
		return interrupted(ctx, err)
	}
	for _, what := range done.Missing {
		fmt.Fprintf(e.Err, "  left out: %s\n", what)
	}
	fmt.Fprintf(e.say(), "%d objects of revision %s are saved in %s (%s).\n", done.Objects, done.Revision, place(o.path, "standard output"), seconds(time.Since(began)))
	return nil
}

// interrupted gives the reason for which ctx ended in place of an error that only says that it did.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || strings.Contains(err.Error(), context.Canceled.Error())) {
		return context.Cause(ctx)
	}
	return err
}

func newSnapshotRestore(env *Env) *cobra.Command {
	var (
		o snapshotOptions
		r cluster.Restore
	)
	cmd := &cobra.Command{Use: "restore", Short: "Give a cluster the state saved in a file", Args: exactly(cobra.NoArgs),
		Long: "Give a cluster the state saved in a file: of the etcd format all of it, in place of what is there; of the k8s\n" +
			"format the objects, beside or in place of those that are there. The cluster may run or be stopped.",
		Example: "  kwokctl snapshot restore --path state.db\n  kwokctl snapshot restore --path state.yaml.gz --filter pod,deployment.apps"}
	o.flags(cmd, completeFilter(env.adminConfig), "file to read; - for standard input", "", "etcd or k8s; seen from the file when not given")
	f := cmd.Flags()
	f.BoolVar(&o.filter.IgnoreErrors, "ignore-errors", false, "leave out objects that cannot be restored")
	f.BoolVar(&o.filter.IgnoreUnknown, "ignore-unknown", false, "leave out objects of kinds that the API server does not have")
	f.BoolVar(&o.filter.Shift, "shift-times", false, "move all times of objects by the age of the snapshot, as if it were of now (k8s)")
	f.BoolVar(&r.SkipHash, "skip-hash-check", false, "take a file that was copied from a data directory of etcd, which has no hash (etcd)")
	f.DurationVar(&r.Wait.Timeout, "timeout", 0, "time limit for all of it; 0 for none")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(); err != nil {
			return err
		}
		if err := checkWait(r.Wait); err != nil {
			return err
		}
		home, err := env.home()
		if err != nil {
			return err
		}
		if _, err := home.Open(env.name); err != nil {
			return err
		}
		show := newProgress(env, "Restoring cluster "+env.name)
		defer show.end()
		bar := newBar(env, "restore")
		closeFile, err := env.prepareRestore(&r, o, bar)
		if err != nil {
			return err
		}
		defer closeFile()
		if env.dryRun {
			return env.dryCluster(func(c *cluster.Cluster, s *cluster.Script) error { return c.DryRestore(cmd.Context(), r, s) })
		}
		r.Observe = show.observe
		began := time.Now()
		if err := home.Restore(cmd.Context(), env.name, r); err != nil {
			return err
		}
		fmt.Fprintf(env.say(), "Cluster %s is restored from %s (%s).\n", env.name, place(o.path, "standard input"), seconds(time.Since(began)))
		return nil
	}
	return cmd
}

// prepareRestore opens the file and says what to do with it.
func (e *Env) prepareRestore(r *cluster.Restore, o snapshotOptions, bar *bar) (closeFile func(), err error) {
	in, err := snapshot.Open(o.path, e.In)
	if err != nil {
		return nil, err
	}
	format := formatK8s
	if in.IsEtcd {
		format = formatEtcd
	}
	ignore := o.filter.IgnoreErrors || o.filter.IgnoreUnknown || o.filter.Shift
	switch {
	case o.format != "" && o.format != format:
		err = fmt.Errorf("%s: it is not of the %s format", in.Name, o.format)
	case in.IsEtcd && ignore:
		err = errors.New("--ignore-errors, --ignore-unknown, --shift-times: the etcd format is restored as it is; they are for the k8s format")
	case !in.IsEtcd && r.SkipHash:
		err = errors.New("--skip-hash-check: the k8s format has no hash; it is for the etcd format")
	default:
		o.format = format
		err = o.check()
	}
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	r.From, r.Objects = in, o.filter
	r.Progress = bar.transfer
	r.Tell = func(text string) {
		bar.end()
		fmt.Fprintln(e.Err, text)
	}
	return func() { _ = in.Close() }, nil
}

// createFrom lets a new cluster begin with a snapshot, if one is given.
func (e *Env) createFrom(req *cluster.Create, path string) (closeFile func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	req.Restore = &cluster.Restore{}
	return e.prepareRestore(req.Restore, snapshotOptions{path: path}, newBar(e, "restore"))
}

func newSnapshotExport(env *Env) *cobra.Command {
	var (
		o          snapshotOptions
		list       snapshot.List
		simulate   snapshot.Simulate
		configPath string
		record     bool
	)
	cmd := &cobra.Command{Use: "export", Short: "Save the objects of any cluster, ready to be simulated", Args: exactly(cobra.NoArgs),
		Long: "Save the objects of any cluster in a file that snapshot restore and create cluster --from read. Nodes come out\n" +
			"as simulated ones, the data of Secrets are replaced, and what would call servers of that cluster is left out.\n" +
			"Reading is all that is done there; what may not be read is named.",
		Example: "  kwokctl snapshot export --kubeconfig ~/.kube/config --path production.yaml.gz\n  kwokctl create cluster --from production.yaml.gz"}
	source := func() (string, error) { return kubeconfig.Path(configPath, false, env.Getenv) }
	o.flags(cmd, completeFilter(source), "file to write, which must not exist; compressed if it ends in .gz; - for standard output", "", "")
	f := cmd.Flags()
	f.StringVar(&configPath, "kubeconfig", "", "kubeconfig file whose current context leads to the cluster; $KUBECONFIG, else ~/.kube/config, when not given")
	f.StringVar(&list.As, "as", "", "user to act as")
	f.StringSliceVar(&list.AsGroups, "as-group", nil, "groups to act as")
	f.IntVar(&list.Page, "page-size", snapshot.DefaultPage, "objects to ask for at a time")
	f.Int("page-buffer-size", 0, "without effect")
	_ = f.MarkHidden("page-buffer-size") // upstream's; it is there
	f.BoolVar(&simulate.Secrets, "with-secrets", false, "keep the data of Secrets")
	f.BoolVar(&record, "record", false, "go on with every change until interrupted, as snapshot record does")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(); err != nil {
			return err
		}
		if list.Page < 1 {
			return fmt.Errorf("--page-size %d: allowed are 1 and more", list.Page)
		}
		if len(list.AsGroups) > 0 && list.As == "" {
			return errors.New("--as-group needs --as")
		}
		path, err := source()
		if err != nil {
			return err
		}
		list.Filter, list.Simulate, list.Source = o.filter, &simulate, "an export"
		if record {
			return env.record(cmd.Context(), path, o.path, snapshot.Record{List: list})
		}
		if env.dryRun {
			_, err := fmt.Fprintf(env.Out, "# Export objects of the cluster in %s to %s\n", path, o.path)
			return err
		}
		return env.saveObjects(cmd.Context(), path, o, list)
	}
	return cmd
}

// place is where something was read or written.
func place(path, standard string) string {
	if path == "-" {
		return standard
	}
	return path
}

// mebibytes is a number of bytes to read.
func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
