package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"kwokctl/internal/api"
	"kwokctl/internal/components"
	"kwokctl/internal/files"
	"kwokctl/internal/kubeconfig"
	"kwokctl/internal/pki"
	"kwokctl/runtimes"
)

// undoTime is how long a command that was interrupted may take to undo what it did.
const undoTime = 10 * time.Second

// minSpace is the free disk space that a new cluster asks for, in bytes.
const minSpace = 1 << 30

// Observe is told each change of a component, and of each step of ours as if it were one.
type Observe func(runtimes.Status)

// Wait says how long to wait, and for what.
type Wait struct {
	Timeout time.Duration // for the whole command; 0: no limit of its own
	Ready   time.Duration // for the cluster to be usable, see the --wait flag; 0: components only
}

// Create is what to create.
type Create struct {
	Name   string
	Config *api.KwokctlConfiguration
	Others []api.Object      // stages and the like for the controller
	Files  []components.File // of the user's, for the cluster directory
	// ReadManifest returns the manifests in a file or directory of the user's.
	ReadManifest func(path string) ([]byte, error)
	// CheckArgs tells what an embedded program has against its arguments; nil: nobody knows.
	CheckArgs   func(program string, args []string) error
	Kubeconfig  string // file that gets the context; "": none
	KeepContext bool   // the context does not become the current one
	Retain      bool   // keep what was made when it fails, for its logs
	Wait        Wait
	Restore     *Restore // what it begins with; nil: nothing

	engineHost string // see KwokctlStatus
}

// Create makes a cluster and returns when it is ready. A cluster of that name that is there already is started,
// and finished if it was half made, with the options it was made with. When Create fails, what it made is removed,
// unless Retain is set. The returned flag tells whether anything was changed.
func (h Home) Create(ctx context.Context, req Create, observe Observe) (c *Cluster, changed bool, err error) {
	ctx, done := bound(ctx, req.Wait.Timeout, "create cluster", &err)
	defer done()
	if err := req.check(); err != nil {
		return nil, false, err
	}
	if req.Kubeconfig != "" { // before anything is started
		if err := files.TryWritable(req.Kubeconfig); err != nil {
			return nil, false, fmt.Errorf("kubeconfig: %w", err)
		}
	}
	made := h.missing()
	defer func() {
		if err != nil && !req.Retain {
			giveBack(made)
		}
	}()
	lock, err := h.lock(ctx, req.Name)
	if err != nil {
		return nil, false, err
	}
	defer lock.Release()

	c, err = h.Open(req.Name)
	if err == nil && c.loading() { // nobody was told of it
		if err := c.remove(ctx, ""); err != nil {
			return nil, false, err
		}
		err = ErrNotFound
	}
	switch {
	case errors.Is(err, ErrNotFound):
		c, err = h.createFrom(ctx, req, observe)
		return c, true, err
	case err != nil:
		return nil, false, err
	case req.Restore != nil:
		return nil, false, fmt.Errorf("cluster %q exists: kwokctl snapshot restore --name %[1]s --path FILE restores into it", req.Name)
	case !c.cut() && c.isReady(ctx, req.Kubeconfig):
		return c, false, c.tidy(ctx)
	}
	if !c.cut() { // else the start puts in order what a restore has left
		if err := c.lost(); err != nil {
			return nil, false, err
		}
	}
	req.Restore = nil
	return c, true, c.unusable(ctx, c.finish(ctx, req, observe))
}

// portTries is how often a new cluster gets other ports when somebody was faster. Nobody has been told the ports of
// a cluster that never ran, so they may change.
const portTries = 5

// lostPort tells whether a component died because somebody else listens on its port. That port may be one of its
// extra arguments, or all its own affair: those are not ours to change.
func lostPort(err error, cfg *api.KwokctlConfiguration) bool {
	var exit *runtimes.ExitError
	return errors.As(err, &exit) && strings.Contains(strings.Join(exit.Tail, "\n"), "address already in use") &&
		!slices.ContainsFunc(cfg.Options.ExtraArgs, func(arg string) bool { return strings.HasPrefix(arg, exit.Component+"=") }) &&
		!slices.ContainsFunc(cfg.ComponentsPatches, func(p api.ComponentsPatches) bool { return p.Name == exit.Component }) &&
		!slices.ContainsFunc(cfg.Components, func(c api.Component) bool { return c.Name == exit.Component })
}

// takenThere says that a port of another machine, which the user chose, is not to be had: no further try finds another
// one, or who has it. It returns nil for what another try may mend.
func (r *Create) takenThere(err error) error {
	var exit *runtimes.ExitError
	if r.engineHost == "" || !errors.As(err, &exit) {
		return nil
	}
	for _, row := range components.Table() {
		for _, p := range row.Ports {
			if number := *p.Option(&r.Config.Options); row.Name == exit.Component && number != 0 {
				return fmt.Errorf("create cluster %q: port %d for %s is busy on %s", r.Name, number, row.Name, r.engineHost)
			}
		}
	}
	return nil
}

// createNew makes a cluster that is not there; all of it or, unless req.Retain is set, nothing.
func (h Home) createNew(ctx context.Context, req *Create, observe Observe) (*Cluster, error) {
	var err error
	if req.engineHost, err = h.choose(ctx, req.Name, req.Config); err != nil {
		return nil, cause(ctx, err)
	}
	if err := h.fetch(ctx, req.Name, req.Config, observe); err != nil {
		return nil, err
	}
	if err := req.bring(func(address string) ([]byte, error) { return h.cache(&req.Config.Options).Text(ctx, address) }); err != nil {
		return nil, cause(ctx, err)
	}
	c, err := h.reserve(ctx, *req)
	if err != nil {
		return nil, err
	}
	if err = c.finish(ctx, *req, observe); err == nil {
		return c, nil
	}
	err = cause(ctx, err)
	if !req.Retain {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		defer cancel()
		err = errors.Join(err, c.remove(undo, ""))
		if exit := (*runtimes.ExitError)(nil); errors.As(err, &exit) && exit.Log != runtimes.NoLog {
			exit.Log = "" // it is removed too
		}
	}
	return nil, err
}

// finish does whatever is left to do until the cluster is ready and announced. Each step finds out by itself.
func (c *Cluster) finish(ctx context.Context, req Create, observe Observe) error {
	runtime, specs := make(chan error, 1), c.specs // which install plans anew
	go func() { runtime <- c.rt.Install(ctx, specs) }()
	if err := errors.Join(c.install(), <-runtime); err != nil {
		return err
	}
	if err := c.load(ctx, req); err != nil {
		return err
	}
	if err := c.start(ctx, req.Wait, observe); err != nil {
		return err
	}
	return c.announce(ctx, req.Kubeconfig, !req.KeepContext)
}

// isReady tells whether nothing is left to do.
func (c *Cluster) isReady(ctx context.Context, kubeconfigPath string) bool {
	list, err := c.Status(ctx)
	if err != nil || slices.ContainsFunc(list, func(s runtimes.Status) bool { return s.State != runtimes.Ready }) {
		return false
	}
	if kubeconfigPath == "" {
		return true
	}
	has, err := kubeconfig.Has(kubeconfigPath, Context(c.Name))
	return err == nil && has
}

// reserve makes the directory of a new cluster with its configuration, all ports chosen. It holds the lock on ports,
// so that of many clusters created at once each gets its own.
func (h Home) reserve(ctx context.Context, req Create) (_ *Cluster, err error) {
	if free, err := files.FreeSpace(h.Dir); err == nil && free < minSpace {
		return nil, fmt.Errorf("create cluster %q: %d MiB free at %s; 1024 MiB are needed", req.Name, free>>20, h.Dir)
	}
	lock, err := h.acquire(ctx, ".ports.lock", "the choice of ports")
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	c := h.newCluster(req)
	if _, err := os.Lstat(c.Dir); err == nil && !h.ours(req.Name) {
		return nil, fmt.Errorf("create cluster %q: %s exists and kwokctl did not make it", req.Name, c.Dir)
	}
	if err := h.choosePorts(req.Name, c.Config); err != nil {
		return nil, fmt.Errorf("create cluster %q: %w", req.Name, err)
	}
	if err := c.plan(nil); err != nil {
		return nil, err
	}
	c.Config.Components = components.Stored(c.specs, req.Config.Components)
	defer func() {
		if err != nil {
			err = errors.Join(err, files.RemoveTree(h.clusters(), req.Name))
		}
	}()
	if err := h.mark(req); err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	for _, f := range req.Files {
		all[f.Path] = f.Data
	}
	if err := writeAll(c.Dir, all); err != nil {
		return nil, err
	}
	return c, c.save()
}

// newCluster is the cluster that a request asks for, before anything of it is decided.
func (h Home) newCluster(req Create) *Cluster {
	cfg := *req.Config
	cfg.TypeMeta = api.TypeMeta{APIVersion: api.ConfigVersion, Kind: "KwokctlConfiguration"}
	cfg.Metadata = api.ObjectMeta{Name: req.Name}
	cfg.Status = api.KwokctlStatus{Version: h.Version, Kubeconfig: req.Kubeconfig, EngineHost: req.engineHost}
	return &Cluster{Name: req.Name, Dir: h.dir(req.Name), home: h, Others: req.Others, Config: &cfg}
}

// mark makes the directory of a cluster with our marker in it, and the data it begins with, in one step: a directory
// without the marker would be nobody's to delete.
func (h Home) mark(req Create) error {
	if h.ours(req.Name) { // of one that was cut; what it began with may not be what this one is to begin with
		if err := files.RemoveTree(h.clusters(), req.Name); err != nil {
			return err
		}
	}
	if err := files.RemoveTree(h.clusters(), unmarked(req.Name)); err != nil {
		return err
	}
	dir := filepath.Join(h.clusters(), unmarked(req.Name))
	if err := files.MkdirPrivate(dir); err != nil {
		return err
	}
	if err := files.WriteAtomic(filepath.Join(dir, markerFile), []byte(req.Name+"\n"), 0o600); err != nil {
		return err
	}
	if err := h.placeData(req, dir); err != nil {
		return err
	}
	return os.Rename(dir, h.dir(req.Name))
}

// unmarked is where the directory of a cluster is before it has our marker. No cluster has such a name.
func unmarked(name string) string { return "." + name + ".new" }

// install writes the files of a cluster that are missing: certificates, which are made once, and configurations,
// which follow from the plan.
func (c *Cluster) install() error {
	var plan components.Plan
	if err := c.plan(&plan); err != nil {
		return err
	}
	if err := errors.Join(c.installCertificates(), c.installManagers(time.Now())); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	all := map[string][]byte{}
	for _, f := range plan.Files {
		all[f.Path] = f.Data
	}
	entry, err := c.Entry()
	if err != nil {
		return err
	}
	if all[adminConfig], err = kubeconfig.Encode(entry); err != nil {
		return err
	}
	maps.DeleteFunc(all, func(path string, data []byte) bool { return bytes.Equal(c.read(path), data) })
	return writeAll(c.Dir, all)
}

// installCertificates makes all certificates, or none: the directory appears whole.
func (c *Cluster) installCertificates() error {
	dir := filepath.Join(c.Dir, pkiDir)
	if _, err := os.Lstat(dir); err == nil {
		return c.renewCertificates(time.Now())
	}
	made, err := pki.Make(c.certificates(), time.Now(), rand.Reader)
	if err != nil {
		return err
	}
	if err := files.RemoveTree(c.Dir, pkiDir+".new"); err != nil {
		return err
	}
	if err := writeAll(dir+".new", made); err != nil {
		return err
	}
	return os.Rename(dir+".new", dir)
}

// writeAll writes files below dir, at once: what takes long is that each waits for the disk.
func writeAll(dir string, all map[string][]byte) error {
	for name := range all {
		if err := files.MkdirPrivate(filepath.Dir(filepath.Join(dir, name))); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	errs := make(chan error, len(all))
	for name, data := range all {
		wg.Go(func() { errs <- files.WriteAtomic(filepath.Join(dir, name), data, 0o600) })
	}
	wg.Wait()
	close(errs)
	var failed []error
	for err := range errs {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// announce adds the context of the cluster to the user's kubeconfig file. It comes last: who finds the context
// finds a cluster behind it.
func (c *Cluster) announce(ctx context.Context, path string, makeCurrent bool) error {
	if path == "" {
		return nil
	}
	if c.Config.Status.Kubeconfig != path {
		c.Config.Status.Kubeconfig = path
		if err := c.save(); err != nil {
			return err
		}
	}
	entry, err := c.announced()
	if err != nil {
		return err
	}
	return kubeconfig.Add(ctx, path, entry, makeCurrent)
}
