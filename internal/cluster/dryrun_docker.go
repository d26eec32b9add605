package cluster

import (
	"path"
	"strconv"

	"kwokctl/runtimes"
	"kwokctl/runtimes/docker"
)

// engine is the command of the engine that runs the cluster; "" for processes.
func (c *Cluster) engine() string {
	if !contained(&c.Config.Options) {
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
	label := "--label=" + docker.ClusterLabel + "=" + c.Name
	s.Command(s.engine, "network", "create", label, project)
	s.Command(s.engine, "volume", "create", label, project)
	for _, spec := range c.specs {
		name := docker.ContainerName(c.Name, spec.Name)
		words := []string{s.engine, "create", "--name=" + name, "--entrypoint=/bin/" + spec.Name, "--network=" + project, "--network-alias=" + spec.Name,
			"--restart=unless-stopped", label, "--label=com.docker.compose.project=" + project,
			"--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--volume=" + project + ":" + docker.WorkDir}
		if spec.Data != "" {
			s.Command(s.engine, "volume", "create", label, name+"-data")
			words = append(words, "--volume="+name+"-data:"+path.Join(docker.WorkDir, spec.Data))
		}
		for _, p := range spec.Ports {
			number := strconv.Itoa(p.Number)
			words = append(words, "--publish="+publish+":"+number+":"+number+"/tcp")
		}
		for _, e := range spec.Env {
			words = append(words, "--env="+e)
		}
		s.Command(append(append(words, "localhost/kwokctl"), spec.Args...)...)
	}
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
