package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"kwokctl/internal/api"
	"kwokctl/internal/components"
	"kwokctl/internal/download"
	"kwokctl/internal/files"
	"kwokctl/internal/kubeconfig"
	"kwokctl/internal/kubelet"
	"kwokctl/internal/stage"
)

// check finds what is wrong with a request by itself, before anything is written, and reads the manifests that are here.
func (r *Create) check() error {
	if err := CheckName(r.Name); err != nil {
		return err
	}
	if err := components.Check(r.Config); err != nil {
		return err
	}
	if err := checkRuntime(&r.Config.Options); err != nil {
		return err
	}
	asked := r.Config.Options
	located := &r.Config.Options
	if !components.Processes(located) && !components.Contained(located) {
		located = &asked // where things are depends on the runtime, which is chosen later
	}
	if err := components.Locate(located, runtime.GOOS, runtime.GOARCH); err != nil {
		return err
	}
	if err := absolute(r.Config); err != nil {
		return err
	}
	if err := checkContained(r.Config); err != nil {
		return err
	}
	plan, err := components.Make(r.Config, components.Surroundings{Bind: loopback,
		Addr: func(string, string) string { return "" }, Read: func(string) []byte { return nil }})
	if err != nil {
		return err
	}
	if err := r.checkArgs(plan); err != nil {
		return err
	}
	if err := checkPrograms(r.Config); err != nil {
		return err
	}
	if err := checkVolumes(r.Config); err != nil {
		return err
	}
	o := &r.Config.Options
	if err := checkObjects(o.EnableCRDs, r.Others); err != nil {
		return err
	}
	if err := checkPortNumbers(o); err != nil {
		return err
	}
	if s := o.NodeLeaseDurationSeconds; s < 0 {
		return fmt.Errorf("node lease duration %d: allowed are 0, for no leases, and more", s)
	}
	if err := r.bring(nil); err != nil || r.Kubeconfig == "" {
		return err
	}
	if _, err := kubeconfig.Has(r.Kubeconfig, Context(r.Name)); err != nil { // it cannot get a context
		return err
	}
	if err := files.CheckWritable(r.Kubeconfig); err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	return nil
}

// checkArgs lets embedded programs look at the arguments that the user has a say in.
func (r *Create) checkArgs(plan *components.Plan) error {
	if len(plan.Moved) > 0 {
		return fmt.Errorf("extra arguments of %s: nobody would find it there; options such as --kube-apiserver-port and bindAddress choose where it listens", plan.Moved[0])
	}
	for _, s := range plan.Specs {
		if r.CheckArgs == nil || s.Program != "" || s.Image != "" || !slices.Contains(plan.Changed, s.Name) {
			continue
		}
		if err := r.CheckArgs(s.Name, s.Args); err != nil {
			return fmt.Errorf("extra arguments of %s: %w", s.Name, err)
		}
	}
	return nil
}

// checkPortNumbers refuses those that cannot be, and those that are given twice.
func checkPortNumbers(o *api.KwokctlOptions) error {
	of := map[int]string{}
	for _, row := range components.Table() {
		for _, p := range row.Ports {
			port := p.Option(o)
			switch other := of[*port]; {
			case *port == 0:
				continue
			case *port < 1 || *port > 65535:
				return fmt.Errorf("port %d for %s: allowed are 1 to 65535, and 0 for a free one", *port, row.Name)
			case other != "":
				return fmt.Errorf("port %d is given to %s and to %s", *port, other, row.Name)
			}
			of[*port] = row.Name
		}
	}
	return nil
}

// checkObjects finds what is wrong with those that the controller is to read.
func checkObjects(kinds []string, others []api.Object) error {
	if _, err := stageManifests(kinds, others); err != nil {
		return err
	}
	if err := stage.Check(api.Of[*api.Stage](others)); err != nil {
		return err
	}
	for _, c := range api.Of[*api.KwokConfiguration](others) {
		err := c.Options.Check()
		if err == nil {
			_, _, err = kubelet.Credentials(&c.Options)
		}
		if err != nil {
			return fmt.Errorf("KwokConfiguration: %w", err)
		}
	}
	return kubelet.Check(others)
}

// absolute makes the paths of volumes of containers such that they mean the same from anywhere.
func absolute(cfg *api.KwokctlConfiguration) error {
	if !components.Contained(&cfg.Options) {
		return nil
	}
	var all [][]api.Volume
	for _, c := range cfg.Components {
		all = append(all, c.Volumes)
	}
	for _, p := range cfg.ComponentsPatches {
		all = append(all, p.ExtraVolumes)
	}
	for _, volumes := range all {
		for i := range volumes {
			path, err := filepath.Abs(volumes[i].HostPath)
			if err != nil {
				return fmt.Errorf("volume %s: %w", volumes[i].Name, err)
			}
			if volumes[i].HostPath != "" {
				volumes[i].HostPath = path
			}
		}
	}
	return nil
}

// checkPrograms finds the user's programs, makes their paths absolute and tells which of them cannot be run.
func checkPrograms(cfg *api.KwokctlConfiguration) error {
	names, err := components.Names(&cfg.Options)
	if err != nil {
		return err
	}
	for _, row := range components.Table() {
		if row.Binary == nil || !slices.Contains(names, row.Name) {
			continue // scripts may name programs for all there are
		}
		if err := checkProgram(row.Name, row.Binary(&cfg.Options)); err != nil {
			return err
		}
	}
	for name, tool := range map[string]*string{"kubectl": &cfg.Options.KubectlBinary, "etcdctl": &cfg.Options.EtcdctlBinary} {
		if err := checkProgram(name, tool); err != nil {
			return err
		}
	}
	for i := range cfg.Components {
		c := &cfg.Components[i]
		program := &c.Binary
		switch {
		case components.Contained(&cfg.Options) || c.Binary == "" && len(c.Command) == 0:
			continue // what is in an image is not here
		case c.Binary == "":
			program = &c.Command[0]
		}
		if err := checkProgram(c.Name, program); err != nil {
			return err
		}
	}
	return nil
}

// checkVolumes finds the files and directories that volumes name and makes their paths absolute.
func checkVolumes(cfg *api.KwokctlConfiguration) error {
	check := func(component string, volumes []api.Volume) error {
		for i := range volumes {
			v := &volumes[i]
			path, err := filepath.Abs(v.HostPath)
			if err == nil && !strings.HasSuffix(v.PathType, "OrCreate") {
				_, err = os.Stat(path)
			}
			if err != nil {
				return fmt.Errorf("volume %s of %s for %s: %w", v.Name, component, v.MountPath, err)
			}
			v.HostPath = path
		}
		return nil
	}
	for _, p := range cfg.ComponentsPatches {
		if err := check(p.Name, p.ExtraVolumes); err != nil {
			return err
		}
	}
	for _, c := range cfg.Components {
		if err := check(c.Name, c.Volumes); err != nil {
			return err
		}
	}
	return nil
}

// checkLocation takes what is to be fetched or unpacked.
func checkLocation(component string, program *string) error {
	switch archive, member, _ := strings.Cut(*program, "#"); {
	case strings.HasPrefix(archive, "https://"):
		return nil
	case strings.Contains(archive, "://"):
		return fmt.Errorf("program of %s: %s: want a path, or a URL that begins with https://", component, archive)
	default:
		path, err := filepath.Abs(archive)
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			return fmt.Errorf("program of %s: %w", component, err)
		}
		*program = path + "#" + member
		return nil
	}
}

// checkProgram takes a path, or the name of a program in $PATH.
func checkProgram(component string, program *string) error {
	path := *program
	switch {
	case path == "":
		return nil
	case !download.Plain(path):
		return checkLocation(component, program)
	case !strings.ContainsRune(path, filepath.Separator):
		found, err := exec.LookPath(path)
		if err != nil {
			return fmt.Errorf("program of %s: %s: not in $PATH", component, path)
		}
		path = found
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("program of %s: %s: no such file", component, path)
	case err != nil:
		return fmt.Errorf("program of %s: %w", component, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("program of %s: %s is not a regular file", component, path)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("program of %s: %s is not executable", component, path)
	}
	*program, err = filepath.Abs(path)
	return err
}
