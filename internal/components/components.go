// Package components is the table of what a cluster is made of, and the plan that follows from it.
package components

import (
	"fmt"
	"slices"
	"strings"

	"kwokctl/internal/api"
	"kwokctl/runtimes"
)

// Component is a row of Table. Adding a row is all it takes to add a component.
type Component struct {
	Name  string
	Needs []string                 // components that must be ready first
	Must  bool                     // a cluster cannot do without it
	Ports []string                 // by name
	Port  func(*Options) *int      // the option that holds its (first) port
	Args  func(c Context) []string // program arguments, paths relative to the cluster directory
	Probe func(c Context) runtimes.Probe
	Files func(c Context) []File // what it wants in the cluster directory
	// Manifest is YAML to apply once the API server is ready; nil for none.
	Manifest func() []byte
}

// Options is short for the options of a cluster.
type Options = api.KwokctlOptions

// Context is what a row may know when it is asked.
type Context struct {
	Options *Options
	// Bind is the address that servers listen on; Addr where the others reach a port of a component.
	Bind string
	Addr func(component, port string) string
	// Has tells whether a component is part of the cluster.
	Has func(component string) bool
}

// File is a file of the cluster directory. All are private to the user.
type File struct {
	Path string // relative to the cluster directory
	Data []byte
}

// Plan is everything that is decided about a cluster before anything is done.
type Plan struct {
	Files     []File
	Specs     []runtimes.Spec // in the order of need
	Manifests []byte
}

// Table returns the components there are, in the order of need.
func Table() []Component {
	return []Component{etcd(), apiServer(), controllerManager(), scheduler(), kwokController()}
}

// Names returns the names of the components of a cluster with options o, in the order of need. It fails on unknown
// names and when a component is missing that the others cannot do without.
func Names(o *Options) ([]string, error) {
	table := Table()
	all := make([]string, len(table))
	for i, c := range table {
		all[i] = c.Name
	}
	on := all
	if len(o.Components) > 0 {
		on = o.Components
	}
	for _, list := range []struct {
		field string
		names []string
	}{{"components", o.Components}, {"enable", o.Enable}, {"disable", o.Disable}} {
		for _, name := range list.names {
			if !slices.Contains(all, name) {
				return nil, fmt.Errorf("%s: no component %q; there are %s", list.field, name, strings.Join(all, ", "))
			}
		}
	}
	var names []string
	for _, c := range table {
		in := (slices.Contains(on, c.Name) || slices.Contains(o.Enable, c.Name)) && !slices.Contains(o.Disable, c.Name)
		switch {
		case in:
			names = append(names, c.Name)
		case c.Must:
			return nil, fmt.Errorf("components: %s is missing; a cluster cannot do without it", c.Name)
		}
	}
	return names, nil
}

// Make decides everything that create will do. It has no effects and no randomness: all ports of o are chosen.
// addr tells where a component reaches a port of another, as the runtime sees it.
func Make(o *Options, bind string, addr func(component, port string) string) (*Plan, error) {
	names, err := Names(o)
	if err != nil {
		return nil, err
	}
	extra, err := extraArgs(o.ExtraArgs, names)
	if err != nil {
		return nil, err
	}
	c := Context{Options: o, Bind: bind, Addr: addr, Has: func(name string) bool { return slices.Contains(names, name) }}
	plan := &Plan{}
	for _, row := range Table() {
		if !c.Has(row.Name) {
			continue
		}
		spec := runtimes.Spec{
			Name:  row.Name,
			Args:  merge(row.Args(c), extra[row.Name]),
			Env:   environment(),
			Needs: slices.DeleteFunc(slices.Clone(row.Needs), func(n string) bool { return !c.Has(n) }),
			Probe: row.Probe(c),
		}
		if number := row.port(o); number != 0 {
			spec.Ports = []runtimes.Port{{Name: row.Ports[0], Number: number}}
		}
		plan.Specs = append(plan.Specs, spec)
		if row.Files != nil {
			plan.Files = append(plan.Files, row.Files(c)...)
		}
		if row.Manifest != nil {
			plan.Manifests = append(append(plan.Manifests, "---\n"...), row.Manifest()...)
		}
	}
	return plan, nil
}

func (c Component) port(o *Options) int {
	if c.Port == nil {
		return 0
	}
	return *c.Port(o)
}

// environment is what every embedded program starts with. The collector is off while it starts, which saves a third
// of the time; the program turns it on when it has settled, and at the limit, which keeps the heap dense, it runs anyway. The locale is the one
// with the smallest table of translations: kubectl, which is linked in, reads it before main runs.
func environment() []string {
	return []string{"GOGC=off", "GOMEMLIMIT=260MiB", "LC_ALL=fr_FR.UTF-8"}
}

// extraArgs sorts component=key=value by component.
func extraArgs(list, names []string) (map[string][]string, error) {
	by := map[string][]string{}
	for _, entry := range list {
		component, arg, _ := strings.Cut(entry, "=")
		key, _, found := strings.Cut(arg, "=")
		if !found || key == "" {
			return nil, fmt.Errorf("extra-args: %q is not component=key=value", entry)
		}
		if !slices.Contains(names, component) {
			return nil, fmt.Errorf("extra-args: no component %q in this cluster; it has %s", component, strings.Join(names, ", "))
		}
		by[component] = append(by[component], "--"+strings.TrimLeft(arg, "-"))
	}
	return by, nil
}

// merge appends the user's arguments, each in place of ours of the same name.
func merge(ours, users []string) []string {
	for _, arg := range users {
		key, _, _ := strings.Cut(arg, "=")
		ours = slices.DeleteFunc(ours, func(a string) bool {
			k, _, _ := strings.Cut(a, "=")
			return k == key
		})
	}
	return append(ours, users...)
}
