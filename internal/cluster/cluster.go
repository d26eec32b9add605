package cluster

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"kwokctl/internal/components"
	"kwokctl/internal/files"
	"kwokctl/internal/kubeconfig"
	"kwokctl/internal/pki"
	"kwokctl/runtimes"
	"kwokctl/runtimes/docker"
)

// loopback is the address that servers listen on.
const loopback = "127.0.0.1"

// Context returns the name of a cluster's kubeconfig context.
func Context(name string) string { return "kwok-" + name }

// plan derives specs and runtime from the configuration. With into it also returns the whole plan there.
func (c *Cluster) plan(into *components.Plan) error {
	o := &c.Config.Options
	if err := checkRuntime(o); err != nil {
		return fmt.Errorf("cluster %q: %w", c.Name, err)
	}
	plan, err := components.Make(c.Config, c.surroundings())
	if err != nil {
		return fmt.Errorf("cluster %q: %w", c.Name, err)
	}
	for i := range plan.Specs {
		plan.Specs[i].Cluster, plan.Specs[i].Dir = c.Name, c.Dir
	}
	extra, err := stageManifests(o.EnableCRDs, c.Others)
	if err != nil {
		return fmt.Errorf("cluster %q: %w", c.Name, err)
	}
	plan.Manifests = append(plan.Manifests, extra...)
	c.specs, c.last = plan.Specs, plan.Last
	c.home.usePrograms(&c.Config.Options, c.specs)
	if c.rt == nil { // it remembers what it has found out
		c.rt = c.home.runtime(c.Name, o)
	}
	if into != nil {
		*into = *plan
	}
	return nil
}

// Status reports on each component, in the order of need.
func (c *Cluster) Status(ctx context.Context) ([]runtimes.Status, error) {
	return c.rt.Status(ctx, c.specs)
}

// Specs returns the components of the cluster, in the order of need.
func (c *Cluster) Specs() []runtimes.Spec { return c.specs }

// Logs copies the log of a component, or that called audit, to w; with follow, until ctx ends.
func (c *Cluster) Logs(ctx context.Context, component string, w io.Writer, follow bool) error {
	if component == auditLog {
		log, err := c.AuditLog()
		if err != nil {
			return err
		}
		return log.Copy(ctx, w, time.Time{}, follow)
	}
	return c.logs(ctx, c.rt, component, w, follow)
}

func (c *Cluster) logs(ctx context.Context, rt runtimes.Runtime, component string, w io.Writer, follow bool) error {
	s, err := c.Spec(component)
	if err != nil {
		return fmt.Errorf("%w; and %s", err, auditLog)
	}
	if err = rt.Logs(ctx, s, w, follow); errors.Is(err, fs.ErrNotExist) {
		return nil // it has said nothing yet
	}
	return err
}

// Kubeconfig returns the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.Dir, adminConfig) }

// EtcdSocket returns the path of etcd's client socket.
func (c *Cluster) EtcdSocket() string { return filepath.Join(c.Dir, components.ClientSocket) }

// Entry is how to reach the cluster as its administrator.
func (c *Cluster) Entry() (kubeconfig.Entry, error) {
	e := kubeconfig.Entry{Name: Context(c.Name), Server: c.Server()}
	for name, into := range map[string]*[]byte{"ca.crt": &e.CA, "admin.crt": &e.Cert, "admin.key": &e.Key} {
		data, err := os.ReadFile(filepath.Join(c.Dir, pkiDir, name))
		if err != nil {
			return e, fmt.Errorf("read credentials of cluster %q: %w", c.Name, err)
		}
		*into = data
	}
	return e, nil
}

// Start brings a stopped cluster up and returns when all its components are ready. It does nothing to those that
// are, and tells whether there were others. When it fails it stops what it started.
func (h Home) Start(ctx context.Context, name string, wait Wait, observe Observe) (changed bool, err error) {
	ctx, done := bound(ctx, wait.Timeout, "start cluster", &err)
	defer done()
	c, release, err := h.locked(ctx, name)
	if err != nil {
		return false, err
	}
	defer release()
	if c.loading() {
		return false, c.unfinished()
	}
	if !c.cut() && c.isReady(ctx, "") {
		return false, c.tidy(ctx)
	}
	renewed, err := c.renew()
	if err != nil {
		return false, err
	}
	if err := c.unusable(ctx, c.start(ctx, wait, observe)); err != nil || !renewed {
		return true, err
	}
	return true, c.announce(ctx, c.Config.Status.Kubeconfig, false)
}

// renew puts the files of a cluster in order, certificates that run out soon first, and tells whether the user's
// credentials are new.
func (c *Cluster) renew() (bool, error) {
	if _, err := os.Lstat(filepath.Join(c.Dir, pkiDir)); err != nil {
		return false, nil // others could not be trusted by anybody; the start says what is missing
	}
	before := c.read(pkiDir + "/admin.crt")
	err := c.install()
	return !bytes.Equal(before, c.read(pkiDir+"/admin.crt")), err
}

// Stop ends all components of a cluster, and returns the names of those that had to be killed.
func (h Home) Stop(ctx context.Context, name string) (killed []string, err error) {
	c, release, err := h.locked(ctx, name)
	if err != nil {
		return nil, err
	}
	defer release()
	return c.rt.Stop(ctx, c.specs, false)
}

// locked opens a cluster for a command that changes it, and locks it until release is called.
func (h Home) locked(ctx context.Context, name string) (c *Cluster, release func() error, err error) {
	if err := h.exists(name); err != nil {
		return nil, nil, err
	}
	lock, err := h.lock(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if c, err = h.Open(name); err != nil {
		lock.Release()
		return nil, nil, err
	}
	return c, lock.Release, nil
}

// Delete removes a cluster: its processes, its context in the kubeconfig file, its directory. It works on damaged
// and half-made ones, but only on directories that we made. ErrNotFound when there is none.
func (h Home) Delete(ctx context.Context, name, kubeconfigPath string) error {
	if h.leftovers(name) == 0 {
		if err := h.exists(name); err != nil {
			return err
		}
	}
	lock, err := h.lock(ctx, name)
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := h.clear(name); err != nil {
		return err
	}
	if err := h.exists(name); err != nil {
		return err
	}
	if !h.ours(name) {
		return fmt.Errorf("delete cluster %q: %s has no file %s, so kwokctl did not make it; remove it by hand", name, h.dir(name), markerFile)
	}
	c, err := h.Open(name)
	if err != nil {
		c = &Cluster{Name: name, Dir: h.dir(name), home: h, rt: h.runtime(name, &components.Options{Runtime: docker.EngineOf(h.dir(name))})}
		for _, row := range components.Table() { // any of them may run
			c.specs = append(c.specs, runtimes.Spec{Name: row.Name, Cluster: name, Dir: c.Dir})
		}
	}
	return c.remove(ctx, kubeconfigPath)
}

// exists returns ErrNotFound when there is nothing of that name. Nothing is written to find out.
func (h Home) exists(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if _, err := os.Lstat(h.dir(name)); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cluster %q: %w", name, ErrNotFound)
	}
	return nil
}

// remove deletes everything that a cluster consists of.
func (c *Cluster) remove(ctx context.Context, kubeconfigPath string) error {
	_, err := c.rt.Stop(ctx, c.specs, true)
	if err == nil {
		err = c.rt.Uninstall(ctx, c.specs)
	}
	if err != nil && !(c.home.Force && errors.Is(err, runtimes.ErrUnavailable)) {
		return fmt.Errorf("delete cluster %q: %w", c.Name, err)
	}
	paths := []string{kubeconfigPath}
	if c.Config != nil && !slices.Contains(paths, c.Config.Status.Kubeconfig) {
		paths = append(paths, c.Config.Status.Kubeconfig)
	}
	var errs []error
	for _, path := range paths {
		if path != "" {
			errs = append(errs, kubeconfig.Remove(ctx, path, Context(c.Name)))
		}
	}
	errs = append(errs, files.RemoveTree(c.home.clusters(), c.Name))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete cluster %q: %w", c.Name, err)
	}
	return nil
}

// renewCertificates issues anew what runs out within two months.
func (c *Cluster) renewCertificates(now time.Time) error {
	dir := filepath.Join(c.Dir, pkiDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read certificates: %w", err)
	}
	old := map[string][]byte{}
	for _, e := range entries {
		if old[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("read certificates: %w", err)
		}
	}
	renewed, err := pki.Renew(old, c.certificates(), now)
	if err != nil {
		return fmt.Errorf("renew certificates: %w", err)
	}
	for name, data := range renewed {
		if err := files.WriteAtomic(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) certificates() pki.Spec {
	hosts := append([]string{components.ServiceIP}, c.Config.Options.KubeApiserverCertSANs...)
	if host := c.Config.Status.EngineHost; host != "" {
		hosts = append(hosts, host)
	}
	all := map[string][]string{"kube-apiserver": hosts}
	if components.Contained(&c.Config.Options) { // they are found by the names of their containers too
		for _, row := range components.Table() {
			for _, server := range []string{row.Name, row.Name + "-server", row.Name + "-serving"} {
				all[server] = append(all[server], docker.ContainerName(c.Name, row.Name))
			}
		}
	}
	return pki.Spec{Hosts: all}
}

// announced is how the user's kubeconfig is to reach the cluster.
func (c *Cluster) announced() (kubeconfig.Entry, error) {
	if o := &c.Config.Options; o.InsecureKubeconfig {
		return kubeconfig.Entry{Name: Context(c.Name), Server: "http://" + loopback + ":" + strconv.Itoa(o.KubeApiserverInsecurePort)}, nil
	}
	return c.Entry()
}

// Server returns the address of the API server.
func (c *Cluster) Server() string {
	return "https://" + net.JoinHostPort(c.Host(), strconv.Itoa(c.Config.Options.KubeApiserverPort))
}

// Host is where the ports of the cluster are: this machine, or that of its engine.
func (c *Cluster) Host() string { return cmp.Or(c.Config.Status.EngineHost, loopback) }
