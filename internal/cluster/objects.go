package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"kwokctl/internal/files"
	"kwokctl/internal/kube"
	"kwokctl/internal/snapshot"
	"kwokctl/runtimes"
)

// core tells whether a component is one of those that hold the state; all others act on it.
func core(s runtimes.Spec) bool { return s.Name == "etcd" || s.Name == "kube-apiserver" }

// startCore starts etcd and the API server, unless they run.
func (c *Cluster) startCore(ctx context.Context, r Restore) error {
	if err := c.rt.Start(ctx, slices.DeleteFunc(slices.Clone(c.specs), func(s runtimes.Spec) bool { return !core(s) }), r.Observe); err != nil {
		return err
	}
	return c.reach(ctx)
}

// restoreObjects adds the objects of a YAML snapshot to the cluster, or replaces those that are there, all or none.
// Whoever acts on objects is stopped meanwhile.
func (c *Cluster) restoreObjects(ctx context.Context, r Restore, ran bool) (err error) {
	if err := errors.Join(c.lost(), c.plain()); err != nil {
		return err
	}
	dir := filepath.Join(c.Dir, stageDir)
	if err := r.From.Spool(ctx, filepath.Join(dir, spoolFile)); err != nil {
		return err
	}
	if !ran { // what is wrong with the file alone is found before anything is started
		if _, err := snapshot.CheckObjects(ctx, r.From, nil, r.Objects, r.Progress); err != nil {
			return err
		}
	}
	backup := filepath.Join(dir, backupFile)
	touched := false
	defer func() { err = c.afterObjects(ctx, err, r, ran, touched, backup) }()
	if c.Running(ctx) != nil {
		if err := c.startCore(ctx, r); err != nil {
			return err
		}
	}
	objects, err := c.checkObjects(ctx, r)
	if err != nil {
		return err
	}
	touched = true
	if _, err := c.rt.Stop(ctx, slices.DeleteFunc(slices.Clone(c.specs), core), false); err != nil {
		return err
	}
	if err := files.WriteStream(backup, 0o600, func(w io.Writer) error {
		_, err := c.SaveEtcd(ctx, w, nil)
		return err
	}); err != nil {
		return err
	}
	if err := c.putObjects(ctx, r, objects); err != nil {
		return err
	}
	return files.Rename(backup, filepath.Join(dir, spoolFile)) // from here on the new state is the state
}

// afterObjects leaves the cluster as it is to be after restoreObjects, which returned err.
func (c *Cluster) afterObjects(ctx context.Context, err error, r Restore, ran, touched bool, backup string) error {
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), restartTime)
	defer cancel()
	if err == nil && !ran {
		_, err = c.rt.Stop(undo, c.specs, false)
		return err
	}
	if err == nil {
		if err = c.start(ctx, r.Wait, r.Observe); err != nil && ctx.Err() != nil { // too late to go back
			err = errors.Join(fmt.Errorf("%w; cluster %s has the new state", cause(ctx, err), c.Name), c.start(undo, Wait{}, nil))
		}
		return err
	}
	err = cause(ctx, err)
	if touched {
		if back := c.settle(undo); back != nil {
			return fmt.Errorf("%w\n%w; kwokctl start cluster --name %s tries again", err, back, c.Name)
		}
		err = fmt.Errorf("%w; cluster %s is as it was before", err, c.Name)
	}
	switch {
	case !ran:
		_, back := c.rt.Stop(undo, c.specs, false)
		return errors.Join(err, back)
	case touched:
		return errors.Join(err, c.start(undo, Wait{}, nil))
	}
	return err
}

// checkObjects finds out whether the API server can have the objects of a snapshot.
func (c *Cluster) checkObjects(ctx context.Context, r Restore) (*snapshot.Objects, error) {
	config, err := kube.Connect(c.Kubeconfig(), "")
	if err != nil {
		return nil, err
	}
	kinds, err := snapshot.Discover(ctx, config)
	if err != nil {
		return nil, err
	}
	r.Objects.Prefix = c.EtcdPrefix()
	objects, err := snapshot.CheckObjects(ctx, r.From, kinds, r.Objects, r.Progress)
	if err == nil {
		r.Tell("Snapshot in YAML: " + objects.String())
	}
	return objects, err
}

// putObjects writes them.
func (c *Cluster) putObjects(ctx context.Context, r Restore, objects *snapshot.Objects) error {
	socket, done, err := c.ShortEtcdSocket()
	if err != nil {
		return err
	}
	defer done()
	client, err := snapshot.Dial(socket)
	if err != nil {
		return err
	}
	defer client.Close()
	known := len(objects.Problems)
	err = objects.Put(ctx, r.From, client, r.Progress)
	for _, p := range objects.Problems[known:] {
		r.Tell("  left out: " + p.Error())
	}
	return err
}

// plain returns an error when the API server does not keep objects in our etcd in a form that others can write.
func (c *Cluster) plain() error {
	for _, arg := range []string{"--encryption-provider-config", "--etcd-servers-overrides"} {
		if _, given := c.argument("kube-apiserver", arg); given {
			return fmt.Errorf("cluster %q: kube-apiserver has %s, so only it can write objects; a snapshot of the etcd format can be restored", c.Name, arg)
		}
	}
	return nil
}

// EtcdPrefix is the prefix of all keys of the cluster.
func (c *Cluster) EtcdPrefix() string {
	prefix, _ := c.argument("kube-apiserver", "--etcd-prefix")
	return path.Join("/", prefix)
}

// argument is the value of a flag of a component.
func (c *Cluster) argument(component, flag string) (value string, given bool) {
	for _, s := range c.specs {
		for _, arg := range s.Args {
			if v, ok := strings.CutPrefix(arg, flag+"="); ok && s.Name == component {
				value, given = v, true
			}
		}
	}
	return value, given
}
