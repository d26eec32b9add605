// Package components is the table of what a cluster is made of, and the plan that follows from it.
package components

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"

	"kwokctl/internal/api"
	"kwokctl/runtimes"
)

// Component is a row of Table. Adding a row is all it takes to add a component.
type Component struct {
	Name  string
	Needs []string // components that must be ready first
	Must  bool     // a cluster cannot do without it
	Ports []Port
	// Binary is the option that names a program in place of the embedded one; nil when nothing can take its place.
	Binary func(*Options) *string
	// Foreign components are not embedded: they need such a program.
	Foreign bool
	// Image is the option that names an image in place of ours; nil when nothing can take its place. Program is what
	// its program is called in there, if not Name.
	Image   func(*Options) *string
	Program string
	// Quiet tells whether it does without a port when none is chosen; nil: never.
	Quiet func(has func(component string) bool) bool
	Env   func(c Context) []string // variables it needs; nil: none
	Args  func(c Context) []string // program arguments, paths relative to the cluster directory
	Probe func(c Context) runtimes.Probe
	Data  string                 // directory that holds what it must find again
	Files func(c Context) []File // what it wants in the cluster directory
	// Manifest is YAML to apply once the API server is ready; nil for none.
	Manifest func(c Context) []byte
	// Last tells whether that must have been done before it starts.
	Last bool
}

// Port is a port of a component, by name, and the option that holds its number.
type Port struct {
	Name   string
	Option func(*Options) *int
	Inside int // its number in containers, where that cannot be chosen
	// Unasked is its number in containers when the user gives none: then it is not published. 0: always published.
	Unasked int
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
	// Users are the components that the user describes whole.
	Users []api.Component
	// Read returns a file of the cluster directory, nil if it is not there.
	Read func(path string) []byte
}

// Surroundings are what the plan of a cluster depends on besides its configuration; they are explained with Context.
type Surroundings struct {
	Bind string
	Addr func(component, port string) string
	Read func(path string) []byte
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
	// Last are the components that start when the manifests are applied.
	Last []string
	// Changed are the components to whose arguments something was added.
	Changed []string
	// Moved are the arguments, such as "etcd: --flag", that would have a component where nobody looks for it.
	Moved []string
}

// Table returns the components there are, in the order of need.
func Table() []Component {
	table := []Component{jaeger(), etcd(), apiServer(), insecureProxy(), controllerManager(), scheduler(), kwokController(), metricsServer(), prometheus(), dashboard()}
	for _, m := range managers() {
		table = append(table, m.row())
	}
	return append(table, kueuevizBackend(), kueuevizFrontend())
}

// Make decides everything that create will do. It has no effects and no randomness: all ports are chosen.
func Make(cfg *api.KwokctlConfiguration, around Surroundings) (*Plan, error) {
	o := &cfg.Options
	names, err := Names(o)
	if err != nil {
		return nil, err
	}
	extra, err := extraArgs(o.ExtraArgs, append(names, userNames(cfg, names)...))
	if err != nil {
		return nil, err
	}
	c := Context{Options: o, Bind: around.Bind, Addr: around.Addr, Read: around.Read, Has: func(name string) bool { return slices.Contains(names, name) }}
	c.Users = users(cfg, names)
	plan := &Plan{}
	for _, row := range Table() {
		if !c.Has(row.Name) {
			continue
		}
		plan.Specs = append(plan.Specs, row.spec(c))
		if row.Files != nil {
			plan.Files = append(plan.Files, row.Files(c)...)
		}
		if row.Manifest != nil {
			plan.Manifests = append(append(plan.Manifests, "---\n"...), row.Manifest(c)...)
			if row.Last {
				plan.Last = append(plan.Last, row.Name)
			}
		}
	}
	if err := addUsers(plan, cfg, names); err != nil {
		return nil, err
	}
	for i := range plan.Specs {
		s := &plan.Specs[i]
		own := slices.Clone(s.Args)
		patch(s, cfg.ComponentsPatches, Contained(o))
		s.Args = merge(s.Args, extra[s.Name])
		if !slices.Equal(s.Args, own) {
			plan.Changed = append(plan.Changed, s.Name)
		}
		for _, flag := range []string{"--secure-port", "--bind-address", "--server-address"} {
			if at := last(own, flag); at >= 0 && moved(own[at], s.Args[last(s.Args, flag)]) {
				plan.Moved = append(plan.Moved, s.Name+": "+flag)
			}
		}
		for _, p := range cfg.ComponentsPatches {
			if p.Name == s.Name && !Contained(o) {
				inPlace(p.ExtraVolumes, s.Args)
				inPlace(p.ExtraVolumes, s.Env)
			}
		}
	}
	return plan, nil
}

// moved tells whether a component that listens as one argument says cannot be reached where another one says. Who listens
// on all addresses can be.
func moved(own, now string) bool {
	place := func(arg string) (host, port string) {
		_, value, _ := strings.Cut(arg, "=")
		if host, port, err := net.SplitHostPort(value); err == nil {
			return host, port
		}
		return value, ""
	}
	host, port := place(own)
	there, at := place(now)
	return port != at || host != there && there != "0.0.0.0" && there != "::"
}

func (row Component) spec(c Context) runtimes.Spec {
	s := runtimes.Spec{
		Name:  row.Name,
		Args:  row.Args(c),
		Env:   environment(),
		Needs: slices.DeleteFunc(slices.Clone(row.Needs), func(n string) bool { return !c.Has(n) }),
		Probe: row.Probe(c),
		Data:  row.Data,
	}
	if row.Binary != nil && *row.Binary(c.Options) != "" {
		s.Program, s.Env = *row.Binary(c.Options), nil // that environment is for programs that know of it
	}
	if row.Image != nil && Contained(c.Options) && *row.Image(c.Options) != "" {
		s.Image, s.Program, s.Env = *row.Image(c.Options), cmp.Or(row.Program, row.Name), nil
	}
	if row.Env != nil && (row.Foreign || s.Image == "") {
		s.Env = append(s.Env, row.Env(c)...)
	}
	for _, p := range row.Ports {
		if n := p.number(c.Options); n != 0 {
			s.Ports = append(s.Ports, runtimes.Port{Name: p.Name, Number: n, Inside: p.Inside, Local: row.Name == InsecureProxy, Hidden: p.Hidden(c.Options)})
		}
	}
	return s
}

// Hidden tells whether a port is on the network of the cluster alone.
func (p Port) Hidden(o *Options) bool { return p.Unasked != 0 && *p.Option(o) == 0 && Contained(o) }

func (p Port) number(o *Options) int {
	if p.Hidden(o) {
		return p.Unasked
	}
	return *p.Option(o)
}

// Number returns the number that a component listens on at a port, 0 if there is none.
func Number(o *Options, component, port string) int {
	for _, row := range Table() {
		for _, p := range row.Ports {
			if row.Name == component && p.Name == port {
				return p.number(o)
			}
		}
	}
	return 0
}

// environment is what every embedded program starts with. The collector is off while it starts, which saves a third
// of the time; the program turns it on when it has settled.
func environment() []string { return []string{"GOGC=off"} }

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
			return nil, fmt.Errorf("extra-args: no component %q in this cluster; it has %s%s", component, strings.Join(names, ", "), api.DidYouMean(component, names))
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
