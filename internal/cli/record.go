package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"kwokctl/internal/files"
	"kwokctl/internal/kube"
	"kwokctl/internal/snapshot"
)

func newRecord(env *Env) *cobra.Command {
	var (
		o          snapshotOptions
		record     snapshot.Record
		kubeconfig string
		secrets    bool
	)
	cmd := &cobra.Command{
		Use: "record [KIND...]", Short: "Write all objects to a file, and then every change until interrupted",
		Example: "  kwokctl snapshot record --path run.yaml\n  kwokctl snapshot record nodes pods --kubeconfig ~/.kube/config --path run.yaml.gz",
	}
	kinds := completeFilter(func() (string, error) {
		if kubeconfig != "" {
			return kubeconfig, nil
		}
		return env.adminConfig()
	})
	cmd.ValidArgsFunction = kinds
	o.flags(cmd, kinds, "file to write, which must not exist; compressed if it ends in .gz; - for standard output", "", "")
	f := cmd.Flags()
	f.StringVar(&kubeconfig, "kubeconfig", "", "record the cluster that the current context of this file leads to, ready to be simulated")
	f.BoolVar(&secrets, "with-secrets", false, "with --kubeconfig: keep the data of Secrets")
	f.BoolVar(&record.Snapshot, "snapshot", false, "end after the objects")
	prefixFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.filter.Kinds = append(o.filter.Kinds, args...)
		if err := o.check(); err != nil {
			return err
		}
		record.Filter = o.filter
		if kubeconfig != "" {
			record.Source, record.Simulate = "a cluster of "+filepath.Base(kubeconfig), &snapshot.Simulate{Secrets: secrets}
			return env.record(cmd.Context(), kubeconfig, o.path, record)
		}
		c, err := env.open()
		if err != nil {
			return err
		}
		if err := c.Running(cmd.Context()); err != nil && !env.dryRun {
			return err
		}
		record.Source = "cluster " + c.Name
		return env.record(cmd.Context(), c.Kubeconfig(), o.path, record)
	}
	return cmd
}

// prefixFlag takes a flag of upstream's kectl, which has one meaning here.
func prefixFlag(cmd *cobra.Command) {
	prefix := cmd.Flags().String("prefix", "/registry", "where etcd keeps objects")
	_ = cmd.Flags().MarkHidden("prefix") // it is there
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *prefix != "/registry" {
			return fmt.Errorf("--prefix %q: allowed is /registry", *prefix)
		}
		return nil
	}
}

// record records until the context ends.
func (e *Env) record(ctx context.Context, kubeconfig, path string, record snapshot.Record) error {
	if e.dryRun {
		changes := ", and then every change"
		if record.Snapshot {
			changes = ""
		}
		_, err := fmt.Fprintf(e.Out, "# Record objects of the cluster in %s to %s%s\n", kubeconfig, path, changes)
		return err
	}
	if err := snapshot.CheckNew(path); err != nil {
		return err
	}
	config, err := kube.Connect(kubeconfig, "")
	if err != nil {
		return err
	}
	config.UserAgent = "kwokctl/" + e.Version
	config.Impersonate.UserName, config.Impersonate.Groups = record.As, record.AsGroups
	kinds, err := snapshot.Discover(ctx, config)
	if err == nil {
		_, err = kinds.Choose(record.Kinds)
	}
	if err != nil {
		return interrupted(ctx, err)
	}
	out, err := snapshot.Create(path, e.Out)
	if err != nil {
		return err
	}
	began, begun := time.Now(), false
	var objects, changes, bytes atomic.Int64
	show := e.newStatus(func() string {
		return fmt.Sprintf(" %d objects, %d changes, %s in %s", objects.Load(), changes.Load(), mebibytes(bytes.Load()), time.Since(began).Round(time.Second))
	})
	record.Warn = show.say
	record.Begun = func(objects int) {
		begun = true
		show.say(fmt.Sprintf("Recording %d objects and every change from now on; interrupt to end.", objects))
	}
	record.Progress = func(o, c int, b int64) {
		objects.Store(int64(o))
		changes.Store(int64(c))
		bytes.Store(b)
	}
	done, err := record.Run(ctx, kinds, out)
	show.end()
	if err = errors.Join(err, out.Close()); err != nil {
		if !begun && path != "-" { // nothing in it could be of use
			err = errors.Join(err, files.Remove(path))
		}
		return interrupted(ctx, err)
	}
	fmt.Fprintf(e.say(), "%d objects and %d changes of %s are recorded in %s.\n", done.Objects, done.Changes, seconds(done.Length), place(path, "standard output"))
	return nil
}
