package components

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"kwokctl/internal/api"
)

// InsecureProxy is the component that serves the API without TLS and without asking who calls.
const InsecureProxy = "kube-apiserver-insecure-proxy"

// kueueviz stands for two components.
const kueueviz = "kueueviz"

// Known are the names that lists of components may have.
func Known() []string {
	var all []string
	for _, c := range Table() {
		all = append(all, c.Name)
	}
	return append(all, kueueviz)
}

// Names returns the names of the components of a cluster with options o, in the order of need: those listed, enabled
// and implied by other options, without those disabled. It fails on unknown names and when a component is missing
// that the others cannot do without.
func Names(o *Options) ([]string, error) {
	all := Known()
	on, off := wanted(o)
	for _, list := range []struct {
		field string
		names []string
	}{{"components", o.Components}, {"enable", o.Enable}, {"components", on}, {"disable", off}} {
		for _, name := range list.names {
			if err := known(list.field, name, all); err != nil {
				return nil, err
			}
		}
	}
	var names []string
	for _, c := range Table() {
		listed := func(list []string) bool {
			return slices.Contains(list, c.Name) || strings.HasPrefix(c.Name, kueueviz+"-") && slices.Contains(list, kueueviz)
		}
		in := listed(on) && !listed(off)
		switch {
		case in:
			names = append(names, c.Name)
		case c.Must:
			return nil, fmt.Errorf("components: %s is missing; a cluster cannot do without it", c.Name)
		}
	}
	return names, nil
}

// wanted returns the components that are asked for and those that are not to be, deprecated options included.
func wanted(o *Options) (on, off []string) {
	on, off = slices.Clone(o.Components), slices.Clone(o.Disable)
	if len(on) == 0 {
		on = api.DefaultComponents()
	}
	on = append(on, o.Enable...)
	for _, rule := range []struct {
		holds bool
		list  *[]string
		names []string
	}{
		{o.KubeApiserverInsecurePort != 0, &on, []string{InsecureProxy}},
		{o.PrometheusPort != 0, &on, []string{"prometheus"}},
		{o.JaegerPort != 0, &on, []string{"jaeger"}},
		{o.KueuevizPort != 0, &on, []string{"kueue", kueueviz}},
		{o.DashboardPort != 0, &on, []string{"dashboard"}},
		{o.EnableMetricsServer, &on, []string{"metrics-server"}},
		{o.DisableKubeScheduler, &off, []string{"kube-scheduler"}},
		{o.DisableKubeControllerManager, &off, []string{"kube-controller-manager"}},
	} {
		if rule.holds {
			*rule.list = append(*rule.list, rule.names...)
		}
	}
	return on, off
}

func known(field, name string, all []string) error {
	switch {
	case slices.Contains(all, name):
		return nil
	}
	return fmt.Errorf("%s: no component %q; there are %s%s", field, name, strings.Join(all, ", "), api.DidYouMean(name, all))
}

// Check tells what is wrong with what a user asks for, before anything is decided.
func Check(cfg *api.KwokctlConfiguration) error {
	o := &cfg.Options
	names, err := Names(o)
	if err != nil {
		return err
	}
	for _, row := range Table() {
		switch {
		case !row.Foreign || !slices.Contains(names, row.Name) || !Processes(o):
		case row.Binary == nil:
			return fmt.Errorf("%s runs in containers only: give --runtime docker or podman", row.Name)
		case *row.Binary(o) == "":
			return fmt.Errorf("%[1]s is not embedded: give a program with --%[1]s-binary", row.Name)
		}
	}
	for i, c := range cfg.Components {
		if slices.Contains(names, c.Name) {
			return fmt.Errorf("components[%d]: %s is built in; change it under componentsPatches, or leave it out with options.disable", i, c.Name)
		}
	}
	return errors.Join(checkPatches(cfg, append(names, userNames(cfg, names)...)), checkOptions(o))
}

// Verbosity lets the components of a cluster log as much as was asked of this program, by patches before those of the
// user's.
func Verbosity(cfg *api.KwokctlConfiguration, level slog.Level) error {
	names, err := Names(&cfg.Options)
	if err != nil || level == slog.LevelInfo {
		return err
	}
	word := strings.ToLower(named(level))
	var patches []api.ComponentsPatches
	for _, name := range names {
		key, value := "v", fmt.Sprint(max(0, -int(level)))
		switch name {
		case InsecureProxy: // says nothing anyway
			continue
		case "etcd", "jaeger":
			key, value = "log-level", word
		case "kwok-controller":
			value = named(level)
		case "prometheus":
			key, value = "log.level", word
		case "jobset", "lws", "kueue": // whose library knows no warnings
			key, value = "zap-log-level", strings.Replace(word, "warn", "error", 1)
		}
		patches = append(patches, api.ComponentsPatches{Name: name, ExtraArgs: []api.ExtraArg{{Key: key, Value: &value}}})
	}
	cfg.ComponentsPatches = append(patches, cfg.ComponentsPatches...)
	return nil
}

// named rounds a level to one that has a name.
func named(level slog.Level) string {
	switch {
	case level < slog.LevelInfo:
		return "DEBUG"
	case level < slog.LevelWarn:
		return "INFO"
	case level < slog.LevelError:
		return "WARN"
	}
	return "ERROR"
}
