package cluster

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"kwokctl/internal/components"
	"kwokctl/runtimes"
	"kwokctl/runtimes/docker"
)

// engine is the command of the engine that runs the cluster; "" for processes.
func (c *Cluster) engine() string {
	if !components.Contained(&c.Config.Options) {
		return ""
	}
	return c.Config.Options.Runtime
}

// createContainers writes how all that a cluster needs of an engine is made.
func (s *Script) createContainers(c *Cluster) {
	project, publish := Context(c.Name), c.Config.Options.BindAddress
	if publish == "" {
		publish = loopback
	}
	s.Printf("# Load image localhost/kwokctl, made of this binary\n")
	for _, l := range images(c.Config) {
		s.Printf("# Pull image %s, unless it is there\n", l.from)
	}
	label := "--label=" + docker.ClusterLabel + "=" + c.Name
	s.Command(s.engine, "network", "create", label, project)
	s.Command(s.engine, "volume", "create", label, project)
	for _, spec := range c.specs {
		name := docker.ContainerName(c.Name, spec.Name)
		words := []string{s.engine, "create", "--name=" + name, "--network=" + project, "--network-alias=" + spec.Name,
			"--restart=unless-stopped", label, "--label=com.docker.compose.project=" + project,
			"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--dns-option=timeout:1", "--dns-option=attempts:5", "--volume=" + project + ":" + docker.WorkDir}
		if spec.Data != "" {
			s.Command(s.engine, "volume", "create", label, name+"-data")
			words = append(words, "--volume="+name+"-data:"+path.Join(docker.WorkDir, spec.Data))
		}
		for _, p := range spec.Published() {
			at := publish
			if p.Local {
				at = loopback
			}
			words = append(words, fmt.Sprintf("--publish=%s:%d:%d/tcp", at, p.Number, cmp.Or(p.Inside, p.Number)))
		}
		for _, m := range spec.Mounts {
			volume := m.Host + ":" + m.Inside
			if m.ReadOnly {
				volume += ":ro"
			}
			words = append(words, "--volume="+volume)
		}
		for _, e := range spec.Env {
			words = append(words, "--env="+e)
		}
		s.Command(slices.Concat(words, program(spec), spec.Args)...)
	}
}

// program is the image of a container, and what runs in it unless the image says that.
func program(s runtimes.Spec) (words []string) {
	for _, w := range []struct{ flag, value string }{{"--user=", s.User}, {"--workdir=", s.WorkDir}} {
		if s.Image != "" && w.value != "" {
			words = append(words, w.flag+w.value)
		}
	}
	switch {
	case s.Image == "":
		return []string{"--entrypoint=/bin/" + s.Name, "localhost/kwokctl"}
	case len(s.Command) == 0:
		return append(words, s.Image)
	}
	return slices.Concat(words, []string{"--entrypoint=" + s.Command[0], s.Image}, s.Command[1:])
}

// startContainers writes how they get the files of the cluster directory, which they share, and are started.
func (s *Script) startContainers(specs []runtimes.Spec) error {
	for i, spec := range specs {
		name := docker.ContainerName(spec.Cluster, spec.Name)
		if i == 0 {
			s.Command(s.engine, "cp", spec.Dir+"/.", name+":"+docker.WorkDir)
		}
		s.Command(s.engine, "start", name)
	}
	return s.err
}

// removeContainers writes how all of it is removed.
func (s *Script) removeContainers(c *Cluster) {
	for _, spec := range c.specs {
		name := docker.ContainerName(c.Name, spec.Name)
		s.Command(s.engine, "rm", "--force", name)
		if spec.Data != "" {
			s.Command(s.engine, "volume", "rm", name+"-data")
		}
	}
	s.Command(s.engine, "network", "rm", Context(c.Name))
	s.Command(s.engine, "volume", "rm", Context(c.Name))
}
