package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"kwokctl/internal/api"
	"kwokctl/internal/components"
	"kwokctl/runtimes"
	"kwokctl/runtimes/docker"
	"kwokctl/runtimes/process"
)

// Runtimes are the names of the runtimes there are; the first is the default.
func Runtimes() []string { return []string{"binary", docker.Docker, docker.Podman} }

// checkRuntime refuses what names no runtime; "" is the default.
func checkRuntime(o *components.Options) error {
	known := func(name string) bool { return slices.Contains(Runtimes(), name) }
	switch {
	case o.Runtime != "" && !known(o.Runtime):
		return fmt.Errorf("runtime %q: allowed are %s", o.Runtime, strings.Join(Runtimes(), ", "))
	case o.Runtime == "" && len(o.Runtimes) > 0 && !slices.ContainsFunc(o.Runtimes, known):
		return fmt.Errorf("runtimes %s: none of them is %s", strings.Join(o.Runtimes, ","), strings.Join(Runtimes(), " or "))
	}
	return nil
}

// checkContained refuses what a container could not do.
func checkContained(cfg *api.KwokctlConfiguration) error {
	o := &cfg.Options
	if !components.Contained(o) {
		return nil
	}
	for _, row := range components.Table() {
		if row.Binary != nil && *row.Binary(o) != "" {
			return fmt.Errorf("program of %[1]s: %[2]s: with runtime %[3]s all programs come from images; name one with --%[1]s-image", row.Name, *row.Binary(o), o.Runtime)
		}
	}
	for _, l := range images(cfg) {
		if err := docker.CheckImage(l.from); err != nil {
			return fmt.Errorf("image of %s: %w", l.component, err)
		}
	}
	return nil
}

// surroundings are what components see of their runtime and of each other.
func (c *Cluster) surroundings() components.Surroundings {
	o := &c.Config.Options
	around := components.Surroundings{Bind: o.BindAddress, Read: c.read}
	host := func(string) string { return loopback }
	switch {
	case components.Contained(o): // the network of the cluster is its own
		around.Bind, host = "0.0.0.0", func(component string) string { return component }
	case around.Bind == "":
		around.Bind = loopback
	}
	around.Addr = func(component, port string) string {
		switch {
		case component == "etcd" && port == "tls":
			return net.JoinHostPort(host(component), strconv.Itoa(o.EtcdPort))
		case component == "etcd":
			return "unix://" + components.ClientSocket
		}
		return net.JoinHostPort(host(component), strconv.Itoa(components.Number(o, component, port)))
	}
	return around
}

// read returns a file of the cluster directory, nil if it cannot be read.
func (c *Cluster) read(path string) []byte {
	text, _ := os.ReadFile(filepath.Join(c.Dir, path))
	return text
}

// runtime returns the runtime of a cluster by its stored name. It touches nothing.
func (h Home) runtime(cluster string, options *components.Options) runtimes.Runtime {
	if !components.Contained(options) {
		return process.New(process.Options{Dir: h.dir(cluster), Log: h.Log})
	}
	o := docker.Options{
		Name: cluster, Dir: h.dir(cluster), Engine: options.Runtime, Getenv: os.Getenv, Log: h.Log,
		Publish:  options.BindAddress,
		Programs: []string{"kubectl", "etcdctl", "etcdutl", AuditApplet}, Keep: kept(options),
	}
	for _, row := range components.Table() {
		o.Programs = append(o.Programs, row.Name)
		if row.Data != "" {
			o.Data = append(o.Data, row.Data)
		}
	}
	return docker.New(o)
}

// kept are the files of a cluster directory that no component gets to see in a container: what only the process
// runtime has there, the keys that sign others, and the administrator's credentials unless a component needs them.
func kept(o *components.Options) []string {
	list := []string{
		markerFile, adminConfig, "*.lock", "*.sock", "state.json", "logs", "bin", "export", "restore", "etcd", "etcd.*", "etcd:*",
		pkiDir + ".new", pkiDir + "/*ca.key", "manifests", "webhooks/*/ca.key",
	}
	if !components.Administered(o) {
		list = append(list, pkiDir+"/admin.*")
	}
	return list
}

// choose settles the runtime of a new cluster, or says in one line why it cannot be used: the one that is named, else
// the first of the list that can be used, else the default. It returns the host of an engine that is not on this machine.
func (h Home) choose(ctx context.Context, cluster string, cfg *api.KwokctlConfiguration) (engineHost string, err error) {
	o := &cfg.Options
	names := []string{o.Runtime}
	if o.Runtime == "" && len(o.Runtimes) > 0 {
		names = o.Runtimes
	}
	for _, name := range names {
		if name != "" && !slices.Contains(Runtimes(), name) {
			continue // one of upstream's
		}
		rt := h.runtime(cluster, &components.Options{Runtime: name})
		if err = rt.Available(ctx); err == nil {
			o.Runtime = name
			if err = components.Locate(o, runtime.GOOS, runtime.GOARCH); err == nil {
				err = checkContained(cfg)
			}
			if err != nil {
				return "", err
			}
			engineHost, err = elsewhere(ctx, rt, o)
			break
		}
	}
	if err != nil {
		return "", fmt.Errorf("create cluster %q: %w", cluster, err)
	}
	return engineHost, nil
}

// elsewhere returns the host of an engine that is not on this machine, or says why clusters on it would be out of reach.
func elsewhere(ctx context.Context, rt runtimes.Runtime, o *components.Options) (host string, err error) {
	engine, ok := rt.(*docker.Runtime)
	if !ok {
		return "", nil
	}
	if host, err = engine.Elsewhere(ctx); host == "" || err != nil {
		return "", err
	}
	at, _ := netip.ParseAddr(host)
	switch {
	case o.InsecureKubeconfig:
		return "", fmt.Errorf("insecureKubeconfig: the insecure port is on 127.0.0.1 alone, and %s runs on %s", o.Runtime, host)
	case !at.IsLoopback() && (o.BindAddress == "" || o.BindAddress == loopback): // a tunnel ends at that address
		return "", fmt.Errorf("%s runs on %s, where ports are published on 127.0.0.1 alone; with bindAddress: 0.0.0.0 among the options of the configuration they are on all addresses", o.Runtime, host)
	}
	return host, nil
}

// Shared returns the function that removes what clusters share, and outlives them: the image, on the engines that run
// them and on those that the environment points to. It returns the images that others still use. Ask for it before the
// clusters are deleted.
func (h Home) Shared(names []string) (purge func(context.Context) (used []string, err error)) {
	var dirs []string
	for _, name := range names {
		dirs = append(dirs, h.dir(name))
	}
	places := docker.Places(dirs, os.Getenv)
	return func(ctx context.Context) (used []string, err error) {
		for _, place := range places {
			left, err := place.Purge(ctx)
			used = append(used, left...)
			if err != nil && !errors.Is(err, runtimes.ErrUnavailable) {
				return used, err
			}
		}
		return used, nil
	}
}
