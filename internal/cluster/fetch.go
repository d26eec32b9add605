package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"kwokctl/internal/api"
	"kwokctl/internal/components"
	"kwokctl/internal/download"
	"kwokctl/runtimes"
	"kwokctl/runtimes/docker"
	"kwokctl/runtimes/process"
)

// Fetching is the state, told to an Observe, of a program that is being fetched. Its reason says how far it is.
const Fetching runtimes.State = "Fetching"

// cache is where programs that were fetched are kept.
func (h Home) cache(o *components.Options) *download.Cache {
	if o.CacheDir != "" {
		return &download.Cache{Dir: o.CacheDir}
	}
	return &download.Cache{Dir: filepath.Join(h.Dir, "cache")}
}

// location is where the program of a component comes from.
type location struct{ component, from string }

// images are those of others in a cluster of containers.
func images(cfg *api.KwokctlConfiguration) (all []location) {
	if !components.Contained(&cfg.Options) {
		return nil
	}
	names, _ := components.Names(&cfg.Options) // which was checked
	for _, row := range components.Table() {
		if row.Image != nil && slices.Contains(names, row.Name) && *row.Image(&cfg.Options) != "" {
			all = append(all, location{row.Name, *row.Image(&cfg.Options)})
		}
	}
	for _, c := range cfg.Components {
		if c.Image != "" && !slices.Contains(names, c.Name) {
			all = append(all, location{c.Name, c.Image})
		}
	}
	return all
}

// locations are those of programs that have to be fetched or unpacked.
func locations(cfg *api.KwokctlConfiguration) []location {
	if components.Contained(&cfg.Options) {
		return nil
	}
	var all []location
	names, _ := components.Names(&cfg.Options) // which was checked
	for _, row := range components.Table() {
		if row.Binary != nil && slices.Contains(names, row.Name) {
			all = append(all, location{row.Name, *row.Binary(&cfg.Options)})
		}
	}
	for _, c := range cfg.Components {
		all = append(all, location{c.Name, c.Binary})
	}
	return slices.DeleteFunc(all, func(l location) bool { return download.Plain(l.from) })
}

// Artifact is something that has to be fetched or unpacked for a cluster.
type Artifact struct {
	Component string `json:"component"`
	Kind      string `json:"kind"`     // binary, image or manifest
	Location  string `json:"location"` // a URL or a path, with the member of an archive behind #
}

// Artifacts are those of a cluster with this configuration. What is part of this program is not among them.
func Artifacts(cfg *api.KwokctlConfiguration) ([]Artifact, error) {
	if err := checkRuntime(&cfg.Options); err != nil {
		return nil, err
	}
	if err := components.Locate(&cfg.Options, runtime.GOOS, runtime.GOARCH); err != nil {
		return nil, err
	}
	if err := checkContained(cfg); err != nil {
		return nil, err
	}
	all := []Artifact{}
	for _, l := range locations(cfg) {
		all = append(all, Artifact{l.component, "binary", l.from})
	}
	for _, l := range images(cfg) {
		all = append(all, Artifact{l.component, "image", l.from})
	}
	for _, m := range components.Managers(&cfg.Options) {
		for _, from := range m.Manifests {
			if remote(from) {
				all = append(all, Artifact{m.Name, "manifest", from})
			}
		}
	}
	return all, nil
}

// fetch gets the programs and images of a cluster that are not here yet.
func (h Home) fetch(ctx context.Context, cluster string, cfg *api.KwokctlConfiguration, observe Observe) error {
	cache := h.cache(&cfg.Options)
	for _, l := range locations(cfg) {
		if err := fetching(l, observe, func(progress func(done, total int64)) error {
			cache.Progress = func(_ string, done, total int64) { progress(done, total) }
			path, err := cache.Get(ctx, l.from)
			if err != nil {
				return err
			}
			return l.says(ctx, path, components.Says(&cfg.Options, l.component, l.from, runtime.GOOS, runtime.GOARCH))
		}); err != nil {
			return unfetched(cfg, l, cause(ctx, err))
		}
	}
	engine, ok := h.runtime(cluster, &cfg.Options).(*docker.Runtime)
	if !ok {
		return nil
	}
	for _, l := range images(cfg) {
		if err := fetching(l, observe, func(progress func(done, total int64)) error {
			return engine.Pull(ctx, l.from, progress)
		}); err != nil {
			return unfetched(cfg, l, cause(ctx, err))
		}
	}
	return nil
}

// sayTime bounds how long a program may take to say its version.
const sayTime = 20 * time.Second

// says asks the program at path, which was fetched from l, for its version: the sum beside it tells that it is whole, and
// not that a mirror has the version that was asked for. No version, and it is not asked.
func (l location) says(ctx context.Context, path, version string) error {
	if version == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sayTime)
	defer cancel()
	out, err := process.OutputOf(ctx, path, l.component, "--version")
	if err != nil {
		return fmt.Errorf("%s: ask for its version: %w", l.from, err)
	}
	if said := strings.TrimSpace(string(out)); strings.TrimPrefix(said, "Kubernetes v") != version {
		return fmt.Errorf("%s is %.80q, not Kubernetes v%s", l.from, said, version)
	}
	return nil
}

// fetching tells how far it is with something that get fetches.
func fetching(l location, observe Observe, get func(progress func(done, total int64)) error) error {
	step := runtimes.Status{Name: "fetch " + l.component, State: Fetching}
	err := get(func(done, total int64) {
		far := fmt.Sprintf("%d MiB", done>>20)
		if total > 0 {
			far = fmt.Sprintf("%d/%d MiB", done>>20, total>>20)
		}
		if far == step.Reason {
			return
		}
		step.Reason = far
		if observe != nil {
			observe(step)
		}
	})
	if err == nil && step.Reason != "" && observe != nil {
		step.State = runtimes.Ready
		observe(step)
	}
	return err
}

// unfetched says what can be done without that program, or image.
func unfetched(cfg *api.KwokctlConfiguration, l location, err error) error {
	o := cfg.Options
	what, flag := "program", "binary"
	if components.Contained(&o) {
		what, flag = "image", "image"
	}
	err = fmt.Errorf("%s of %s: %w", what, l.component, err)
	if errors.Is(err, context.Canceled) || !l.chosen(o) {
		return err
	}
	own := fmt.Sprintf("give your own with --%s-%s", l.component, flag)
	for _, project := range []struct{ name, prefix, embedded, version string }{
		{"kube", "kube-", "Kubernetes " + components.Embedded(), o.KubeVersion},
		{"etcd", "etcd", "etcd " + components.EmbeddedEtcd(), o.EtcdVersion},
	} {
		if project.version != "" && strings.HasPrefix(l.component, project.prefix) {
			return fmt.Errorf("%w; %s is embedded: leave out %sVersion %s, name a mirror with KWOK_%s_%s_PREFIX, or %s", err,
				project.embedded, project.name, project.version, strings.ToUpper(project.name), strings.ToUpper(flag), own)
		}
	}
	return fmt.Errorf("%w; it is not part of this program: leave out %s, or %s", err, l.component, own)
}

// chosen tells whether we chose the location, and not the user.
func (l location) chosen(o api.KwokctlOptions) bool {
	o.EtcdBinaryTar, o.PrometheusBinaryTar, o.JaegerBinaryTar = "", "", ""
	for _, row := range components.Table() {
		if row.Name != l.component {
			continue
		}
		for _, field := range []func(*api.KwokctlOptions) *string{row.Binary, row.Image} {
			if field != nil {
				*field(&o) = ""
			}
		}
		if components.Locate(&o, runtime.GOOS, runtime.GOARCH) != nil {
			return false
		}
		return row.Binary != nil && *row.Binary(&o) == l.from || row.Image != nil && *row.Image(&o) == l.from
	}
	return false
}

// usePrograms puts the paths of programs that were fetched into specs.
func (h Home) usePrograms(o *components.Options, specs []runtimes.Spec) {
	cache := h.cache(o)
	for i := range specs {
		if path, ok := cache.Have(specs[i].Program); ok {
			specs[i].Program = path
		}
	}
}
