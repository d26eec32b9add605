package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"kwokctl/internal/components"
	"kwokctl/internal/files"
	"kwokctl/internal/snapshot"
	"kwokctl/runtimes"
)

// Directories and files of a restore, in the cluster directory.
//
// New data are made in stageDir while the cluster runs on. They get their place by two renames, and the data of
// before stay as prevDir until the cluster is ready with the new. Whenever a restore is cut, what is found says what to
// do: settle does it before the next start.
const (
	stageDir   = "restore"
	prevDir    = "etcd.prev"
	spoolFile  = "snapshot"  // in stageDir: a copy of what is restored
	servedFile = "served"    // the cluster was ready once, so it has data
	backupFile = "before.db" // in stageDir: the state of before, while objects are written one after the other
)

// restartTime is how long the data of before may take to be served again after a restore failed.
const restartTime = 30 * time.Second

// keeper is a runtime that keeps the data of components where we do not see them.
type keeper interface {
	// Replace makes the files of a directory the data of a component that does not run, all or none.
	Replace(ctx context.Context, s runtimes.Spec, dir string) error
	// Kept tells whether the data of before are kept; Revert puts them back, Settle removes them.
	Kept() bool
	Revert(ctx context.Context, s runtimes.Spec) error
	Settle(ctx context.Context, s runtimes.Spec) error
}

// adopt hands data in the cluster directory, with which a new cluster begins, to a runtime that keeps them elsewhere.
func (c *Cluster) adopt(ctx context.Context) error {
	dir := filepath.Join(c.Dir, components.DataDir)
	if _, err := os.Lstat(dir); err != nil {
		return nil
	}
	if err := c.rt.(keeper).Replace(ctx, c.specs[0], dir); err != nil {
		return err
	}
	return files.RemoveTree(c.Dir, components.DataDir)
}

// Restore is what to restore.
type Restore struct {
	From     *snapshot.Input
	SkipHash bool // the file may come from a data directory
	Objects  snapshot.Filter
	Wait     Wait
	Observe  Observe
	Progress snapshot.Progress
	Tell     func(text string) // is told what was found, before anything is changed
}

// Restore replaces the state of a cluster by that of a snapshot, or adds the objects of one in YAML. Afterwards the
// cluster runs if it ran before. Whatever happens, its state is the old one whole or the new one whole.
func (h Home) Restore(ctx context.Context, name string, r Restore) (err error) {
	ctx, done := bound(ctx, r.Wait.Timeout, "restore cluster", &err)
	defer done()
	c, release, err := h.locked(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	if c.loading() {
		return c.unfinished()
	}
	before, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if err := c.settle(ctx); err != nil && c.lost() == nil { // what is lost is about to be replaced
		return err
	}
	stage := filepath.Join(c.Dir, stageDir)
	if err := files.MkdirPrivate(stage); err != nil {
		return err
	}
	ran := slices.ContainsFunc(before, func(s runtimes.Status) bool { return s.State != runtimes.Stopped })
	if r.From.IsEtcd {
		err = c.restoreEtcd(ctx, r, ran)
	} else {
		err = c.restoreObjects(ctx, r, ran)
	}
	if c.cut() { // what undoes it failed as well; the next start tries again
		return cause(ctx, err)
	}
	return errors.Join(cause(ctx, err), files.RemoveTree(c.Dir, stageDir))
}

// Running returns an error unless the API server and etcd can be asked.
func (c *Cluster) Running(ctx context.Context) error {
	return c.none(ctx, func(s runtimes.Spec, state runtimes.State) bool { return core(s) && state != runtimes.Ready })
}

// Runs returns an error when nobody answers at the ports of a component, and that is not about to change. It may run
// although its supervisor cannot be asked.
func (c *Cluster) Runs(ctx context.Context, component string) error {
	err := c.none(ctx, func(s runtimes.Spec, state runtimes.State) bool {
		return s.Name == component && slices.Contains([]runtimes.State{runtimes.Stopped, runtimes.Waiting, runtimes.CrashLoop}, state)
	})
	if down := (*downError)(nil); errors.As(err, &down) || errors.Is(err, runtimes.ErrUnavailable) {
		return err
	}
	return nil
}

// downError says that a component is not as a command needs it, and what to do about it.
type downError struct {
	cluster, component string
	state              runtimes.State
}

func (e *downError) Error() string {
	return fmt.Sprintf("cluster %q: %s is %s; kwokctl start cluster --name %[1]s", e.cluster, e.component, e.state)
}

// none returns an error when a component is in a state that is bad.
func (c *Cluster) none(ctx context.Context, bad func(runtimes.Spec, runtimes.State) bool) error {
	list, err := c.Status(ctx)
	if err != nil {
		return err
	}
	for i, s := range c.specs {
		if bad(s, list[i].State) {
			return &downError{c.Name, s.Name, list[i].State}
		}
	}
	return nil
}

// SaveEtcd writes the state of the cluster to w, in etcd's format, and returns its size.
func (c *Cluster) SaveEtcd(ctx context.Context, w io.Writer, progress snapshot.Progress) (int64, error) {
	socket, done, err := c.ShortEtcdSocket()
	if err != nil {
		return 0, err
	}
	defer done()
	return snapshot.SaveEtcd(ctx, socket, w, progress)
}

// dataFrom checks a snapshot in etcd's format, of which it may keep a copy in dir. The function that it returns makes a data
// directory of it in dir. Version is that of the etcd that is to use it.
func dataFrom(ctx context.Context, r Restore, dir, version string) (func() error, error) {
	e, err := snapshot.CheckEtcd(ctx, r.From, filepath.Join(dir, spoolFile), r.SkipHash, version, r.Progress)
	if err != nil {
		return nil, err
	}
	r.Tell("Snapshot of etcd: " + e.String())
	return func() error {
		if err := files.RemoveTree(dir, components.DataDir); err != nil {
			return err
		}
		return snapshot.RestoreEtcd(ctx, e, filepath.Join(dir, components.DataDir), components.Member, components.PeerURL, time.Now())
	}, nil
}

func (c *Cluster) restoreEtcd(ctx context.Context, r Restore, ran bool) error {
	dir := filepath.Join(c.Dir, stageDir)
	data, err := dataFrom(ctx, r, dir, c.Config.Options.EtcdVersion)
	if err != nil {
		return err
	}
	if err := data(); err != nil {
		return err
	}
	return c.replace(ctx, filepath.Join(dir, components.DataDir), ran, r)
}

// replace makes data the data of the cluster. When the cluster ran it must become ready with them, else it gets back
// those of before.
func (c *Cluster) replace(ctx context.Context, data string, ran bool, r Restore) error {
	err := c.swap(ctx, data)
	if err == nil && ran {
		err = c.start(ctx, r.Wait, r.Observe) // removes prevDir
	}
	if err == nil {
		return nil
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), restartTime)
	defer cancel()
	if back := c.unswap(undo); back != nil {
		return errors.Join(cause(ctx, err), back)
	}
	if ran {
		if back := c.start(undo, Wait{}, nil); back != nil {
			return errors.Join(cause(ctx, err), back)
		}
	}
	return fmt.Errorf("restore cluster %q: %w; it is as it was before", c.Name, cause(ctx, err))
}

// swap ends the cluster and puts data in place of its own, which it keeps. What an orderly end would still write, such as
// the leases of all nodes, is about to be replaced; only etcd has an orderly end, which gives back the space of its next log.
func (c *Cluster) swap(ctx context.Context, data string) error {
	etcd, others := c.specs[:1], c.specs[1:]
	if _, err := c.rt.Stop(ctx, others, true); err != nil {
		return err
	}
	if _, err := c.rt.Stop(ctx, etcd, false); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if k, ok := c.rt.(keeper); ok {
		return k.Replace(ctx, c.specs[0], data)
	}
	if err := files.RemoveTree(c.Dir, prevDir); err != nil {
		return err
	}
	own, prev := filepath.Join(c.Dir, components.DataDir), filepath.Join(c.Dir, prevDir)
	if err := files.Rename(own, prev); err != nil && !errors.Is(err, os.ErrNotExist) { // it may have been lost
		return err
	}
	return files.Rename(data, own)
}

// unswap puts the data of before back, if they are not in place.
func (c *Cluster) unswap(ctx context.Context) error {
	own, prev, bad := filepath.Join(c.Dir, components.DataDir), filepath.Join(c.Dir, prevDir), filepath.Join(c.Dir, stageDir, "bad")
	if k, ok := c.rt.(keeper); ok {
		if !k.Kept() {
			return nil
		}
		_, err := c.rt.Stop(ctx, c.specs, true)
		if err == nil {
			err = k.Revert(ctx, c.specs[0])
		}
		return err
	}
	if _, err := os.Lstat(prev); err != nil {
		return nil
	}
	if _, err := c.rt.Stop(ctx, c.specs, true); err != nil {
		return err
	}
	if err := errors.Join(files.MkdirPrivate(filepath.Dir(bad)), files.RemoveTree(filepath.Dir(bad), filepath.Base(bad))); err != nil {
		return err
	}
	if err := files.Rename(own, bad); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return files.Rename(prev, own)
}

// cut tells whether there is something for settle to put back.
func (c *Cluster) cut() bool {
	is := func(path ...string) bool {
		_, err := os.Lstat(filepath.Join(append([]string{c.Dir}, path...)...))
		return err == nil
	}
	_, elsewhere := c.rt.(keeper)
	return is(stageDir, backupFile) || !elsewhere && is(prevDir) && !is(components.DataDir)
}

// settle finishes a restore that was cut, so that the state of the cluster is whole: with new data in place it is
// complete; else all is as before.
func (c *Cluster) settle(ctx context.Context) error {
	backup := filepath.Join(c.Dir, stageDir, backupFile)
	if _, err := os.Lstat(backup); err == nil {
		if err := c.rollBack(ctx, backup); err != nil {
			return fmt.Errorf("undo a restore that was cut: %w", err)
		}
	}
	if _, elsewhere := c.rt.(keeper); elsewhere {
		return errors.Join(c.adopt(ctx), files.RemoveTree(c.Dir, stageDir))
	}
	if _, err := os.Lstat(filepath.Join(c.Dir, components.DataDir)); errors.Is(err, os.ErrNotExist) {
		if err := c.unswap(ctx); err != nil {
			return fmt.Errorf("undo a restore that was cut: %w", err)
		}
	}
	if err := files.RemoveTree(c.Dir, stageDir); err != nil {
		return err
	}
	return c.lost()
}

// lost returns an error when a cluster that was ready has no data any more: etcd would begin with none.
func (c *Cluster) lost() error {
	if _, elsewhere := c.rt.(keeper); elsewhere {
		return nil // that runtime sees to it
	}
	if _, err := os.Lstat(filepath.Join(c.Dir, servedFile)); err != nil {
		return nil
	}
	for _, part := range []string{"member/snap/db", "member/wal/*.wal"} {
		if found, err := fs.Glob(os.DirFS(filepath.Join(c.Dir, components.DataDir)), part); err == nil && len(found) == 0 {
			return fmt.Errorf("cluster %q has lost its data: there is no %s; %s", c.Name, filepath.Join(c.Dir, components.DataDir, part), c.wayOut())
		}
	}
	return nil
}

// wayOut says what to do about data that are no good.
func (c *Cluster) wayOut() string {
	return fmt.Sprintf("kwokctl snapshot restore --name %s --path FILE replaces them", c.Name)
}

// rollBack makes the state of a backup that of the cluster.
func (c *Cluster) rollBack(ctx context.Context, backup string) error {
	in, err := snapshot.Open(backup, nil)
	if err != nil {
		return err
	}
	defer in.Close()
	dir := filepath.Join(c.Dir, stageDir)
	data, err := dataFrom(ctx, Restore{From: in, Tell: func(string) {}}, dir, c.Config.Options.EtcdVersion)
	if err != nil {
		return err
	}
	if err := data(); err != nil {
		return err
	}
	if err := c.swap(ctx, filepath.Join(dir, components.DataDir)); err != nil {
		return err
	}
	drop := func() error { return files.RemoveTree(c.Dir, prevDir) }
	if k, ok := c.rt.(keeper); ok {
		drop = func() error { return k.Settle(ctx, c.specs[0]) }
	}
	return errors.Join(drop(), files.Remove(backup)) // what was half written is nobody's
}

// settled is called when the cluster is ready: the data of before are needed no more.
func (c *Cluster) settled(ctx context.Context) error {
	served := filepath.Join(c.Dir, servedFile)
	if _, err := os.Lstat(served); errors.Is(err, os.ErrNotExist) {
		if err := files.WriteAtomic(served, nil, 0o600); err != nil {
			return err
		}
	}
	if k, ok := c.rt.(keeper); ok {
		return k.Settle(ctx, c.specs[0])
	}
	return files.RemoveTree(c.Dir, prevDir)
}

// tidy removes what a restore has left that was cut when the cluster was ready with the new data.
func (c *Cluster) tidy(ctx context.Context) error {
	return errors.Join(files.RemoveTree(c.Dir, stageDir), c.settled(ctx))
}

// unusable tells whether err is of data that etcd cannot use; then those of before a restore are put back, if there are
// any, and otherwise the way out is named.
func (c *Cluster) unusable(ctx context.Context, err error) error {
	var exit *runtimes.ExitError
	if !errors.As(err, &exit) || exit.Component != "etcd" {
		return err
	}
	_, missing := os.Lstat(filepath.Join(c.Dir, prevDir))
	if k, ok := c.rt.(keeper); missing == nil || ok && k.Kept() {
		if back := c.unswap(context.WithoutCancel(ctx)); back != nil {
			return errors.Join(err, back)
		}
		return fmt.Errorf("%w\nthe restored data cannot be used; those of before are back", err)
	}
	return fmt.Errorf("%w\nif its data in %s are damaged: %s", err, filepath.Join(c.Dir, components.DataDir), c.wayOut())
}
