package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"kwokctl/internal/api"
	"kwokctl/internal/components"
	"kwokctl/internal/download"
	"kwokctl/runtimes"
	"kwokctl/runtimes/docker"
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
			_, err := cache.Get(ctx, l.from)
			return err
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
			return unpulled(cfg, l, cause(ctx, err))
		}
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

// unpulled says what can be done without that image.
func unpulled(cfg *api.KwokctlConfiguration, l location, err error) error {
	err = fmt.Errorf("image of %s: %w", l.component, err)
	if v := cfg.Options.KubeVersion; v != "" && strings.HasPrefix(l.component, "kube-") && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w; Kubernetes %s is part of this program: leave out version %s, name a mirror with KWOK_KUBE_IMAGE_PREFIX, or give your own with --%s-image",
			err, components.Embedded(), v, l.component)
	}
	return err
}

// unfetched says what can be done without that program.
func unfetched(cfg *api.KwokctlConfiguration, l location, err error) error {
	err = fmt.Errorf("program of %s: %w", l.component, err)
	if v := cfg.Options.KubeVersion; v != "" && strings.HasPrefix(l.component, "kube-") {
		return fmt.Errorf("%w; Kubernetes %s is embedded: leave out --kube-version %s, name a mirror with KWOK_KUBE_BINARY_PREFIX, or give your own with --%s-binary",
			err, components.Embedded(), v, l.component)
	}
	return err
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
