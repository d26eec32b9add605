package components

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"kwokctl/internal/api"
	"kwokctl/internal/kube"
	"kwokctl/runtimes"
)

// users returns the components that the user describes whole: those that are not among names, the built-in ones of the
// cluster.
func users(cfg *api.KwokctlConfiguration, names []string) []api.Component {
	return slices.DeleteFunc(slices.Clone(cfg.Components), func(c api.Component) bool { return slices.Contains(names, c.Name) })
}

func userNames(cfg *api.KwokctlConfiguration, names []string) (own []string) {
	for _, c := range users(cfg, names) {
		own = append(own, c.Name)
	}
	return own
}

// addUsers adds the user's components to the plan, in the order of need.
func addUsers(plan *Plan, cfg *api.KwokctlConfiguration, names []string) error {
	waiting := users(cfg, names)
	done := slices.Clone(names)
	for i, c := range waiting {
		if err := checkUser(c, i, append(slices.Clone(names), userNames(cfg, names)...), &cfg.Options); err != nil {
			return err
		}
		if slices.ContainsFunc(waiting[:i], func(b api.Component) bool { return b.Name == c.Name }) {
			return fmt.Errorf("components[%d]: name %s is given twice", i, c.Name)
		}
	}
	for len(waiting) > 0 {
		next := slices.IndexFunc(waiting, func(c api.Component) bool {
			return !slices.ContainsFunc(c.Links, func(link string) bool { return !slices.Contains(done, link) })
		})
		if next < 0 {
			return fmt.Errorf("components: %s needs itself, by way of its links", waiting[0].Name)
		}
		c := waiting[next]
		waiting, done = slices.Delete(waiting, next, next+1), append(done, c.Name)
		plan.Specs = append(plan.Specs, userSpec(c, Contained(&cfg.Options)))
		if len(c.ManifestContents) > 0 {
			plan.Last = append(plan.Last, c.Name)
		}
		for _, text := range c.ManifestContents {
			plan.Manifests = append(append(append(plan.Manifests, "---\n"...), text...), '\n')
		}
	}
	return nil
}

// checkUser tells why a component that the user describes cannot be run.
func checkUser(c api.Component, i int, all []string, o *Options) error {
	at := fmt.Sprintf("components[%d] %s", i, c.Name)
	switch {
	case !componentName(c.Name):
		return fmt.Errorf("components[%d]: name %q: allowed are small letters, digits and inside also -", i, c.Name)
	case slices.Contains(reserved(), c.Name):
		return fmt.Errorf("%s: that name belongs to kwokctl itself", at)
	case Processes(o) && c.Binary == "" && len(c.Command) == 0:
		return fmt.Errorf("%s: no binary and no command; an image alone cannot be run as a process", at)
	case Processes(o) && c.User != "":
		return fmt.Errorf("%s: user %s: processes run as you", at, c.User)
	case Processes(o) && c.WorkDir != "":
		return fmt.Errorf("%s: workDir %s: processes work in the directory of the cluster", at, c.WorkDir)
	case Contained(o) && c.Image == "":
		return fmt.Errorf("%s: no image; with runtime %s a binary alone cannot be run", at, o.Runtime)
	case Contained(o) && c.WorkDir != "" && !strings.HasPrefix(c.WorkDir, "/"):
		return fmt.Errorf("%s: workDir %q: want a path that begins with /", at, c.WorkDir)
	}
	for _, link := range c.Links {
		if !slices.Contains(all, link) {
			return fmt.Errorf("%s: links: no component %q in this cluster; it has %s", at, link, strings.Join(all, ", "))
		}
	}
	for _, p := range c.Ports {
		differ := Processes(o) && p.HostPort != 0 && p.Port != 0 && p.HostPort != p.Port
		if p.Port < 0 || p.Port > 65535 || p.HostPort < 0 || p.HostPort > 65535 || differ {
			return fmt.Errorf("%s: port %d, hostPort %d: want a port from 1 to 65535, and both the same for a process", at, p.Port, p.HostPort)
		}
	}
	for i, m := range []*api.ComponentMetric{c.Metric, c.MetricsDiscovery} {
		if m != nil && (m.Host == "" || !slices.Contains([]string{"", "http", "https"}, m.Scheme)) {
			return fmt.Errorf("%s: %s: scheme %q, host %q: want http or https, and where it is reached", at, []string{"metric", "metricsDiscovery"}[i], m.Scheme, m.Host)
		}
	}
	for i, text := range c.ManifestContents {
		if err := kube.Check([]byte(text)); err != nil {
			return fmt.Errorf("%s: manifestContents[%d]: %w", at, i, err)
		}
	}
	return checkVolumes(at, c.Volumes, Contained(o))
}

// reserved are names of files in the directories where a component has files of its name.
func reserved() []string { return []string{"audit", "supervise", "supervisor"} }

func componentName(name string) bool {
	return name != "" && len(name) <= 63 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		!strings.HasPrefix(name, "-") && !strings.HasSuffix(name, "-")
}

// checkVolumes tells which volume cannot be had.
func checkVolumes(at string, volumes []api.Volume, contained bool) error {
	if contained {
		return checkMounts(at, volumes)
	}
	for _, v := range volumes {
		if v.HostPath == "" || !strings.HasPrefix(v.MountPath, "/") {
			return fmt.Errorf("%s: volume %q: hostPath %q, mountPath %q: want both, and the latter to begin with /", at, v.Name, v.HostPath, v.MountPath)
		}
		if types := append(mountTypes(), "FileOrCreate", "CharDevice", "BlockDevice"); !slices.Contains(types, v.PathType) {
			return fmt.Errorf("%s: volume %q: pathType %q: allowed are %s, and none", at, v.Name, v.PathType, strings.Join(types[1:], ", "))
		}
	}
	return nil
}

// inPlace gives words that name something in a volume the path that it has for a process, which sees the files of the
// host where they are.
func inPlace(volumes []api.Volume, words []string) {
	for i, word := range words {
		before, path := "", word
		if key, value, found := strings.Cut(word, "="); found {
			before, path = key+"=", value
		}
		for _, v := range volumes {
			mount := strings.TrimSuffix(v.MountPath, "/")
			if rest, ok := strings.CutPrefix(path, mount); ok && (rest == "" || rest[0] == '/') {
				words[i] = before + v.HostPath + rest
				break
			}
		}
	}
}

func userSpec(c api.Component, contained bool) runtimes.Spec {
	if contained {
		return containedSpec(c)
	}
	s := runtimes.Spec{Name: c.Name, Program: c.Binary, Needs: c.Links, Env: variables(c.Envs),
		Probe: runtimes.Probe{Ready: c.Ready, Live: c.Live}}
	command := c.Command
	if s.Program == "" {
		s.Program, command = command[0], command[1:]
	}
	s.Args = append(slices.Clone(command), c.Args...)
	for _, words := range [][]string{s.Args, s.Env} {
		inPlace(c.Volumes, words)
	}
	for _, p := range c.Ports {
		if number := max(p.Port, p.HostPort); number != 0 {
			s.Ports = append(s.Ports, runtimes.Port{Name: p.Name, Number: number})
		}
	}
	return s
}

// containedSpec is a component that the user describes, as a container. Its health is asked from the network.
func containedSpec(c api.Component) runtimes.Spec {
	s := runtimes.Spec{Name: c.Name, Image: c.Image, Command: c.Command, Args: c.Args, User: c.User, WorkDir: c.WorkDir,
		Needs: c.Links, Env: variables(c.Envs), Mounts: mounts(c.Volumes),
		Probe: runtimes.Probe{Ready: fromNetwork(c.Ready, c.Name), Live: fromNetwork(c.Live, c.Name)}}
	for _, p := range c.Ports {
		if p.HostPort != 0 {
			s.Ports = append(s.Ports, runtimes.Port{Name: p.Name, Number: p.HostPort, Inside: p.Port})
		}
	}
	return s
}

// fromNetwork puts the name of a container into a URL that says where it is reached from inside.
func fromNetwork(address, name string) string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() != "localhost" && u.Hostname() != "127.0.0.1" {
		return address
	}
	if port := u.Port(); port != "" {
		name = net.JoinHostPort(name, port)
	}
	u.Host = name
	return u.String()
}

func mounts(volumes []api.Volume) (list []runtimes.Mount) {
	for _, v := range volumes {
		list = append(list, runtimes.Mount{Host: v.HostPath, Inside: v.MountPath, ReadOnly: v.ReadOnly, Create: v.PathType == "DirectoryOrCreate"})
	}
	return list
}

func variables(envs []api.Env) []string {
	var list []string
	for _, e := range envs {
		list = append(list, e.Name+"="+e.Value)
	}
	return list
}

// checkPatches tells which patch is for nobody, or cannot be done.
func checkPatches(cfg *api.KwokctlConfiguration, names []string) error {
	var all []string
	for _, row := range Table() {
		all = append(all, row.Name)
	}
	for i, p := range cfg.ComponentsPatches {
		at := fmt.Sprintf("componentsPatches[%d] %s", i, p.Name)
		if !slices.Contains(append(slices.Clone(names), all...), p.Name) {
			return fmt.Errorf("%s: no such component; there are %s%s", at, strings.Join(all, ", "), api.DidYouMean(p.Name, append(names, all...)))
		}
		for _, a := range p.ExtraArgs {
			if strings.Trim(a.Key, "-") == "" || strings.ContainsAny(a.Key, "= \t\n\x00") {
				return fmt.Errorf("%s: extraArgs: key %q is not the name of a flag", at, a.Key)
			}
		}
		for _, e := range p.ExtraEnvs {
			if e.Name == "" || strings.ContainsAny(e.Name, "=\x00") {
				return fmt.Errorf("%s: extraEnvs: name %q is not the name of a variable", at, e.Name)
			}
		}
		if err := checkVolumes(at, p.ExtraVolumes, Contained(&cfg.Options)); err != nil {
			return err
		}
	}
	return nil
}

// patch changes a component as the user's patches for it say, in order.
func patch(s *runtimes.Spec, patches []api.ComponentsPatches, contained bool) {
	for _, p := range patches {
		if p.Name != s.Name {
			continue
		}
		if contained { // a process sees them anyway
			s.Mounts = append(s.Mounts, mounts(p.ExtraVolumes)...)
		}
		for _, a := range p.ExtraArgs {
			flag := "--" + strings.TrimLeft(a.Key, "-")
			arg := flag
			if a.Value != nil {
				arg += "=" + *a.Value
			}
			if at := last(s.Args, flag); a.Override && at >= 0 {
				s.Args[at] = arg
			} else {
				s.Args = append(s.Args, arg)
			}
		}
		for _, v := range variables(p.ExtraEnvs) {
			key, _, _ := strings.Cut(v, "=")
			s.Env = append(slices.DeleteFunc(s.Env, func(e string) bool { return strings.HasPrefix(e, key+"=") }), v)
		}
	}
}

// last returns where a flag is given the last time, -1 for nowhere.
func last(args []string, flag string) int {
	for i := len(args) - 1; i >= 0; i-- {
		if name, _, _ := strings.Cut(args[i], "="); name == flag {
			return i
		}
	}
	return -1
}
