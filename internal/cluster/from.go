package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"kwokctl/internal/components"
	"kwokctl/internal/files"
	"kwokctl/internal/snapshot"
)

// loadingFile is in the directory of a new cluster until the objects it begins with are in it.
const loadingFile = "loading"

// fromDir is where the data that a new cluster begins with are prepared. No cluster has such a name.
func fromDir(name string) string { return "." + name + ".from" }

// leftovers counts what a cut create of that name may have left outside of the cluster directory.
func (h Home) leftovers(name string) (n int) {
	for _, dir := range []string{unmarked(name), fromDir(name)} {
		if _, err := os.Lstat(filepath.Join(h.clusters(), dir)); err == nil {
			n++
		}
	}
	return n
}

// clear removes it.
func (h Home) clear(name string) error {
	return errors.Join(files.RemoveTree(h.clusters(), unmarked(name)), files.RemoveTree(h.clusters(), fromDir(name)))
}

// createFrom makes a cluster that is not there, with what it begins with.
func (h Home) createFrom(ctx context.Context, req Create, observe Observe) (c *Cluster, err error) {
	if req.Restore != nil {
		defer func() { err = errors.Join(err, h.clear(req.Name)) }()
	}
	data, err := h.prepareData(ctx, req)
	if err != nil {
		return nil, cause(ctx, err)
	}
	for try := 1; ; try++ {
		if err := data(); err != nil {
			return nil, cause(ctx, err)
		}
		if c, err = h.createNew(ctx, &req, observe); !lostPort(err, req.Config) || req.Retain || try == portTries {
			return c, err
		}
		if taken := req.takenThere(err); taken != nil {
			return nil, taken
		}
		h.Log.Debug("a port was taken meanwhile; choosing others", "err", err)
	}
}

// prepareData checks what a new cluster is to begin with. The function that it returns makes the data, for each try
// anew.
func (h Home) prepareData(ctx context.Context, req Create) (func() error, error) {
	r := req.Restore
	if r == nil {
		return func() error { return nil }, nil
	}
	if err := h.clear(req.Name); err != nil {
		return nil, err
	}
	dir := filepath.Join(h.clusters(), fromDir(req.Name))
	if err := files.MkdirPrivate(dir); err != nil {
		return nil, err
	}
	if r.From.IsEtcd {
		return dataFrom(ctx, *r, dir, req.Config.Options.EtcdVersion)
	}
	if err := r.From.Spool(ctx, filepath.Join(dir, spoolFile)); err != nil {
		return nil, err
	}
	// Kinds are known when there is an API server; all else is now.
	_, err := snapshot.CheckObjects(ctx, r.From, nil, r.Objects, r.Progress)
	return func() error { return nil }, err
}

// placeData puts the data that a new cluster begins with into dir, which is to become its directory.
func (h Home) placeData(req Create, dir string) error {
	switch {
	case req.Restore == nil:
		return nil
	case req.Restore.From.IsEtcd:
		return files.Rename(filepath.Join(h.clusters(), fromDir(req.Name), components.DataDir), filepath.Join(dir, components.DataDir))
	}
	return files.WriteAtomic(filepath.Join(dir, loadingFile), nil, 0o600)
}

// loading tells whether the objects that the cluster was to begin with are not all in it.
func (c *Cluster) loading() bool {
	_, err := os.Lstat(filepath.Join(c.Dir, loadingFile))
	return !errors.Is(err, fs.ErrNotExist)
}

func (c *Cluster) unfinished() error {
	return fmt.Errorf("cluster %q: its creation from a file was cut; create it again, or kwokctl delete cluster --name %[1]s", c.Name)
}

// load puts the objects into a new cluster that it is to begin with.
func (c *Cluster) load(ctx context.Context, req Create) error {
	if req.Restore == nil || !c.loading() {
		return nil
	}
	if err := c.plain(); err != nil {
		return err
	}
	if err := c.startCore(ctx, *req.Restore); err != nil {
		return err
	}
	objects, err := c.checkObjects(ctx, *req.Restore)
	if err != nil {
		return err
	}
	if err := c.putObjects(ctx, *req.Restore, objects); err != nil {
		return err
	}
	return files.Remove(filepath.Join(c.Dir, loadingFile))
}
