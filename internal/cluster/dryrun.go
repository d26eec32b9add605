package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"kwokctl/internal/api"
	"kwokctl/internal/components"
	"kwokctl/internal/download"
	"kwokctl/internal/snapshot"
	"kwokctl/runtimes"
	"kwokctl/runtimes/docker"
)

// Script is a runtime that writes what another would do, as an approximate shell script. Nothing is done.
type Script struct {
	Out    io.Writer
	engine string // the command of the engine that runs containers; "" for processes
	err    error  // the first that writing met
}

// Printf writes lines.
func (s *Script) Printf(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.Out, format, args...)
	}
}

// Err returns the first error that writing met.
func (s *Script) Err() error { return s.err }

// Command writes a program and its arguments, one per line.
func (s *Script) Command(words ...string) {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	s.Printf("%s\n", strings.Join(quoted, " \\\n  "))
}

// quote makes a word one of the shell's.
func quote(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./:,@%+&>") == "" {
		return word
	}
	name, value, found := strings.Cut(word, "=")
	if found && strings.HasPrefix(name, "-") {
		return name + "=" + quote(value)
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// file writes how a file is made.
func (s *Script) file(path string, data []byte) {
	if text := strings.TrimSuffix(string(data), "\n"); !strings.Contains(text, "\n") {
		s.Printf("echo %s >%s\n", quote(text), path)
		return
	}
	s.Printf("cat <<EOF >%s\n%s\nEOF\n", path, strings.TrimSuffix(string(data), "\n"))
}

// Available implements runtimes.Runtime, as do the others.
func (s *Script) Available(context.Context) error { return nil }

// Install has nothing to write.
func (s *Script) Install(context.Context, []runtimes.Spec) error { return s.err }

// Start writes how the processes are started.
func (s *Script) Start(_ context.Context, specs []runtimes.Spec, _ func(runtimes.Status)) error {
	if s.engine != "" {
		return s.startContainers(specs)
	}
	for _, spec := range specs {
		program := spec.Name
		if spec.Program != "" && download.Plain(spec.Program) {
			program = spec.Program
		}
		s.Printf("cd %s && \\\n  ", spec.Dir)
		words := slices.Concat(spec.Env, []string{program}, spec.Args)
		for i, w := range words {
			words[i] = quote(w)
		}
		s.Printf("%s \\\n  >%s \\\n  2>&1 \\\n  &\necho $! >%s\n", strings.Join(words, " \\\n  "), logFile(spec), pidFile(spec))
	}
	return s.err
}

// Stop writes how they are ended.
func (s *Script) Stop(_ context.Context, specs []runtimes.Spec, _ bool) ([]string, error) {
	for _, spec := range slices.Backward(specs) {
		if s.engine != "" {
			s.Command(s.engine, "stop", docker.ContainerName(spec.Cluster, spec.Name))
			continue
		}
		s.Printf("kill $(cat %[1]s)\nrm %[1]s\n", pidFile(spec))
	}
	return nil, s.err
}

// Status knows nothing.
func (s *Script) Status(context.Context, []runtimes.Spec) ([]runtimes.Status, error) {
	return nil, s.err
}

// Logs writes how a log is read.
func (s *Script) Logs(_ context.Context, spec runtimes.Spec, _ io.Writer, follow bool) error {
	if s.engine != "" {
		words := []string{s.engine, "logs", docker.ContainerName(spec.Cluster, spec.Name)}
		if follow {
			words = slices.Insert(words, 2, "--follow")
		}
		s.Command(words...)
		return s.err
	}
	s.show(logFile(spec), follow)
	return s.err
}

// show writes how a log file is printed.
func (s *Script) show(path string, follow bool) {
	program := "cat"
	if follow {
		program = "tail -n +1 -f"
	}
	s.Printf("%s %s\n", program, path)
}

// Uninstall writes nothing: what there is to remove depends on the whole cluster (see DryDelete).
func (s *Script) Uninstall(context.Context, []runtimes.Spec) error { return s.err }

func logFile(s runtimes.Spec) string { return filepath.Join(s.Dir, "logs", s.Name+".log") }
func pidFile(s runtimes.Spec) string { return filepath.Join(s.Dir, "pids", s.Name+".pid") }

// DryCreate writes what Create would do. Free ports are looked for, and engines where there is a choice of them, so that
// what is written depends on the machine.
func (h Home) DryCreate(ctx context.Context, req Create, s *Script) error {
	if err := req.check(); err != nil {
		return err
	}
	if c, err := h.Open(req.Name); err == nil {
		s.Printf("# Cluster %s exists; it is started as it is\n", c.Name)
		return c.dryStart(s, req.Kubeconfig)
	}
	if req.Restore != nil {
		if err := req.Restore.dryCheck(ctx); err != nil {
			return err
		}
	}
	if o := req.Config.Options; o.Runtime == "" && len(o.Runtimes) > 0 {
		if _, err := h.choose(ctx, req.Name, req.Config); err != nil {
			return err
		}
	}
	c := h.newCluster(req)
	if err := h.choosePorts(req.Name, c.Config); err != nil {
		return fmt.Errorf("create cluster %q: %w", req.Name, err)
	}
	var plan components.Plan
	if err := c.plan(&plan); err != nil {
		return err
	}
	fetched := locations(c.Config)
	c.Config.Components = components.Stored(c.specs, req.Config.Components)
	var stored bytes.Buffer
	if err := api.Save(&stored, append([]api.Object{c.Config}, c.Others...)...); err != nil {
		return err
	}
	for _, location := range fetched {
		s.Printf("# Download %s to %s\n", location.from, h.cache(&c.Config.Options).Dir)
	}
	s.Printf("mkdir -p %s %s %s %s\n", c.Dir, filepath.Join(c.Dir, "config"), filepath.Join(c.Dir, "logs"), filepath.Join(c.Dir, "pids"))
	config := filepath.Join(c.Dir, configFile)
	s.Printf("# Save cluster config to %s\n", config)
	s.file(config, stored.Bytes())
	for _, f := range req.Files {
		s.file(filepath.Join(c.Dir, f.Path), f.Data)
	}
	s.Printf("# Generate PKI to %s\n", filepath.Join(c.Dir, pkiDir))
	for _, f := range plan.Files {
		s.file(filepath.Join(c.Dir, f.Path), f.Data)
	}
	s.Printf("# Save kubeconfig to %s\n", filepath.Join(c.Dir, adminConfig))
	if s.engine = c.engine(); s.engine != "" {
		s.createContainers(c)
	}
	if req.Restore != nil {
		s.Printf("# Begin with the state in %s\n", req.Restore.From.Name)
	}
	return c.dryStart(s, req.Kubeconfig)
}

func (c *Cluster) dryStart(s *Script, kubeconfigPath string) error {
	s.engine = c.engine()
	if err := s.Start(context.Background(), c.specs, nil); err != nil {
		return err
	}
	if kinds := c.Config.Options.EnableCRDs; len(kinds) > 0 {
		s.Printf("# Init CRDs %s\n", strings.Join(kinds, ","))
	}
	for _, row := range components.Table() {
		if row.Manifest != nil && slices.ContainsFunc(c.specs, func(s runtimes.Spec) bool { return s.Name == row.Name }) {
			s.Printf("# Set up manifest for %s\n", row.Name)
		}
	}
	if kubeconfigPath != "" {
		s.Printf("# Add context %s to %s\n", Context(c.Name), kubeconfigPath)
	}
	return s.Err()
}

// DryStart writes what Start would do.
func (c *Cluster) DryStart(s *Script) error { return c.dryStart(s, "") }

// DryStop writes what Stop would do.
func (c *Cluster) DryStop(s *Script) error {
	s.engine = c.engine()
	_, err := s.Stop(context.Background(), c.specs, false)
	return err
}

// DryDelete writes what Delete would do.
func (c *Cluster) DryDelete(s *Script, kubeconfigPath string) error {
	if err := c.DryStop(s); err != nil {
		return err
	}
	paths := []string{kubeconfigPath, c.Config.Status.Kubeconfig}
	for _, path := range slices.Compact(paths) {
		if path != "" {
			s.Printf("# Remove context %s from %s\n", Context(c.Name), path)
		}
	}
	if s.engine != "" {
		s.removeContainers(c)
	}
	s.Printf("rm -rf %s\n", c.Dir)
	return s.Err()
}

// DryLogs writes how the log of a component is read.
func (c *Cluster) DryLogs(component string, follow bool, s *Script) error {
	s.engine = c.engine()
	if component == auditLog {
		log, err := c.AuditLog()
		if err != nil {
			return err
		}
		s.show(log.Path, follow)
		return s.err
	}
	return c.logs(context.Background(), s, component, io.Discard, follow)
}

// DryComponent writes what starting or stopping one component would do.
func (c *Cluster) DryComponent(name string, s *Script, start bool) error {
	s.engine = c.engine()
	spec, err := c.Spec(name)
	if err != nil {
		return err
	}
	if start {
		return s.Start(context.Background(), []runtimes.Spec{spec}, nil)
	}
	_, err = s.Stop(context.Background(), []runtimes.Spec{spec}, false)
	return err
}

// DryExportLogs writes what ExportLogs would do.
func (c *Cluster) DryExportLogs(dir string, s *Script) error {
	target := filepath.Join(c.Dir, "export", "logs")
	if dir != "" {
		target = filepath.Join(dir, c.Name)
	}
	s.Printf("mkdir -p %s\n", filepath.Join(target, "components"))
	for _, spec := range c.specs {
		if engine := c.engine(); engine != "" {
			s.Printf("%s logs %s >%s\n", engine, docker.ContainerName(c.Name, spec.Name), filepath.Join(target, "components", spec.Name+".log"))
			continue
		}
		s.Printf("cp %s %s\n", logFile(spec), filepath.Join(target, "components", spec.Name+".log"))
	}
	s.Printf("cp %s %s\n", filepath.Join(c.Dir, configFile), filepath.Join(target, configFile))
	return s.Err()
}

// DrySave writes how the state of the cluster is saved.
func (c *Cluster) DrySave(path string, etcd bool, s *Script) error {
	if etcd {
		s.Command("etcdctl", "--endpoints=unix://"+c.EtcdSocket(), "snapshot", "save", path)
	} else {
		s.Printf("# Save objects of cluster %s to %s\n", c.Name, path)
	}
	return s.Err()
}

// DryReplay writes what replaying a recording would do.
func (c *Cluster) DryReplay(path string, s *Script) error {
	return c.dryHold(s, fmt.Sprintf("Replay %s to cluster %s", path, c.Name))
}

// dryHold writes what is done around something that only etcd and the API server may see happen.
func (c *Cluster) dryHold(s *Script, what string) error {
	s.engine = c.engine()
	acting := slices.DeleteFunc(slices.Clone(c.specs), core)
	if _, err := s.Stop(context.Background(), acting, false); err != nil {
		return err
	}
	s.Printf("# %s\n", what)
	return s.Start(context.Background(), acting, nil)
}

// dryCheck finds what is wrong with objects in YAML; a snapshot of etcd is looked through only as it is unpacked.
func (r *Restore) dryCheck(ctx context.Context) error {
	if r.From.IsEtcd {
		return nil
	}
	_, err := snapshot.CheckObjects(ctx, r.From, nil, r.Objects, nil)
	return err
}

// DryRestore writes what Restore would do.
func (c *Cluster) DryRestore(ctx context.Context, r Restore, s *Script) error {
	if err := r.dryCheck(ctx); err != nil {
		return err
	}
	if !r.From.IsEtcd {
		return c.dryHold(s, fmt.Sprintf("Restore objects of %s to cluster %s", r.From.Name, c.Name))
	}
	own, prev, made := filepath.Join(c.Dir, components.DataDir), filepath.Join(c.Dir, prevDir), filepath.Join(c.Dir, stageDir, components.DataDir)
	s.Command("etcdutl", "snapshot", "status", r.From.Name)
	s.Command(append([]string{"etcdutl"}, snapshot.RestoreArgs(r.From.Name, made, components.Member, components.PeerURL, "1000000000")...)...)
	if err := c.DryStop(s); err != nil {
		return err
	}
	s.Command("mv", own, prev)
	s.Command("mv", made, own)
	if err := c.DryStart(s); err != nil {
		return err
	}
	s.Command("rm", "-rf", prev)
	return s.Err()
}
