package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"kwokctl/internal/api"
)

// documents is all that configuration files say.
type documents struct {
	settings *api.Settings            // what all KwokctlConfigurations say together
	kwok     []*api.KwokConfiguration // in order
	rest     []api.Object             // of our other kinds, in order
}

// documents reads kwok.yaml in the work directory, if there is one, and then all of --config.
func (e *Env) documents() (*documents, error) {
	standard, given, err := e.configPaths()
	if err != nil {
		return nil, err
	}
	docs := &documents{settings: &api.Settings{}}
	for _, path := range append(standard, given...) {
		objs, err := e.read(path)
		if err != nil {
			return nil, err
		}
		if err := docs.add(e, path, objs); err != nil {
			return nil, err
		}
	}
	return docs, nil
}

// configPaths returns where kwok.yaml in the work directory is, nothing if there is none, and all of --config besides.
func (e *Env) configPaths() (standard, given []string, err error) {
	home, err := e.home()
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(home.Dir, "kwok.yaml")
	if _, err := os.Stat(path); err == nil {
		standard = []string{path}
	}
	for _, config := range e.configs {
		if config != "-" {
			if config, err = e.expand(config); err != nil {
				return nil, nil, err
			}
		}
		if config != path { // it is there already, or is allowed not to be
			given = append(given, config)
		}
	}
	return standard, given, nil
}

// checkConfigs finds files of --config that are missing, also for commands that do not read them.
func (e *Env) checkConfigs() error {
	for _, path := range e.configs {
		if path == "-" {
			continue
		}
		if path == "" { // as after a trailing comma; it would be the current directory
			return fmt.Errorf("--config %q: want a file or a directory, or - for standard input", strings.Join(e.configs, ","))
		}
		path, err := e.expand(path)
		if err != nil {
			return err
		}
		if _, missing := os.Stat(path); missing != nil {
			home, err := e.home()
			if err != nil {
				return err
			}
			if path != filepath.Join(home.Dir, "kwok.yaml") {
				return fmt.Errorf("read configuration: %w", missing)
			}
		}
	}
	return nil
}

func (d *documents) add(e *Env, path string, objs []api.Object) error {
	for _, o := range objs {
		switch o := o.(type) {
		case *api.KwokctlConfiguration:
			if err := d.settings.Add(o); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		case *api.KwokConfiguration:
			d.kwok = append(d.kwok, o)
		default:
			t := o.Type()
			i := slices.IndexFunc(api.Kinds, func(k api.Kind) bool { return k.Name == t.Kind })
			if i < 0 {
				fmt.Fprintf(e.Err, "%s: kind %s is not known; ignored\n", path, t.Kind)
				continue
			}
			t.APIVersion = cmp.Or(t.APIVersion, api.Kinds[i].Version) // a kind alone is enough to be read
			if err := absoluteLogs(o); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			d.rest = append(d.rest, o)
		}
	}
	return nil
}

// absoluteLogs makes the paths of log files independent of the current directory, which is not that of the controller.
func absoluteLogs(o api.Object) error {
	var paths []*string
	switch o := o.(type) {
	case *api.Logs:
		for i := range o.Spec.Logs {
			paths = append(paths, &o.Spec.Logs[i].LogsFile, &o.Spec.Logs[i].PreviousLogsFile)
		}
	case *api.Attach:
		for i := range o.Spec.Attaches {
			paths = append(paths, &o.Spec.Attaches[i].LogsFile)
		}
	}
	for _, path := range paths {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = abs
	}
	return nil
}

// others returns what the controller is to read: one KwokConfiguration, if there was any, and all that is of another
// kind than ours.
func (d *documents) others() ([]api.Object, error) {
	if len(d.kwok) == 0 {
		return d.rest, nil
	}
	merged, err := api.MergeKwok(d.kwok)
	if err != nil {
		return nil, err
	}
	return append([]api.Object{merged}, d.rest...), nil
}

// expand makes a path absolute; ~ is the home directory.
func (e *Env) expand(path string) (string, error) {
	abs, err := filepath.Abs(api.ExpandHome(path, e.Getenv("HOME")))
	if err != nil {
		return "", fmt.Errorf("find %s: %w", path, err)
	}
	return abs, nil
}

// read loads one configuration file, or the directory of several; - is standard input.
func (e *Env) read(path string) ([]api.Object, error) {
	if path == "-" {
		return load(e.In, "standard input")
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read configuration: %w", err)
	case info.IsDir():
		return e.readDir(path)
	case !info.Mode().IsRegular() && !handedOver(path):
		return nil, fmt.Errorf("read configuration %s: neither a regular file nor a directory", path)
	}
	return readFile(path)
}

// handedOver tells whether a path stands for an open file that a shell gave us, as in -c <(…), which may be a pipe.
func handedOver(path string) bool {
	return path == "/dev/stdin" || path == "/dev/null" || strings.HasPrefix(path, "/dev/fd/") || strings.HasPrefix(path, "/proc/self/fd/")
}

func readFile(path string) ([]api.Object, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer file.Close()
	return load(file, path)
}

// load refuses what has the name of a kind of ours and another API: it would have no effect, and nobody would see why.
func load(in io.Reader, name string) ([]api.Object, error) {
	objs, err := api.Load(in, name)
	if err != nil {
		return nil, err
	}
	for _, o := range api.Of[*api.Raw](objs) {
		i := slices.IndexFunc(api.Kinds, func(k api.Kind) bool { return k.Name == o.Kind })
		if i >= 0 {
			return nil, fmt.Errorf("%s: apiVersion %q: kind %s is of %s", name, o.APIVersion, o.Kind, api.Kinds[i].Version)
		}
	}
	return objs, nil
}

// readDir lets kustomize build a directory that has a kustomization, and reads the YAML and JSON files of another.
func (e *Env) readDir(dir string) ([]api.Object, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	var files []string
	for _, entry := range entries {
		switch name := entry.Name(); {
		case name == "kustomization.yaml" || name == "kustomization.yml" || name == "Kustomization":
			return e.build(dir)
		case !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)):
			files = append(files, filepath.Join(dir, name))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("read configuration %s: no kustomization and no .yaml, .yml or .json file in this directory", dir)
	}
	var all []api.Object
	for _, file := range files {
		objs, err := readFile(file)
		if err != nil {
			return nil, err
		}
		all = append(all, objs...)
	}
	return all, nil
}

func (e *Env) build(dir string) ([]api.Object, error) {
	text, err := e.kustomized(dir)
	if err != nil {
		return nil, err
	}
	return load(bytes.NewReader(text), dir)
}

// kustomized is what kustomize makes of a directory, as YAML.
func (e *Env) kustomized(dir string) ([]byte, error) {
	restore, err := e.hush(dir)
	if err != nil {
		return nil, err
	}
	defer restore()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, fmt.Errorf("build %s with kustomize: %s", dir, strings.Join(strings.Fields(err.Error()), " "))
	}
	text, err := made.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("build %s with kustomize: %w", dir, err)
	}
	return text, nil
}

// hush makes what kustomize logs of a directory warnings of ours, until restore is called. What it writes to stderr
// besides is dropped: fields of old forms, which mean what they did.
func (e *Env) hush(dir string) (restore func(), err error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	stderr, out, flags, prefix := os.Stderr, log.Writer(), log.Flags(), log.Prefix()
	os.Stderr = null
	log.SetOutput(e.Err)
	log.SetFlags(0)
	log.SetPrefix("Warning: " + dir + ": ")
	return func() {
		os.Stderr = stderr
		log.SetOutput(out)
		log.SetFlags(flags)
		log.SetPrefix(prefix)
		_ = null.Close() // nothing was kept in it
	}, nil
}

// readManifest returns the manifests in a file, or what kustomize makes of a directory.
func (e *Env) readManifest(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return e.kustomized(path)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: neither a regular file nor a directory", path)
	}
	return os.ReadFile(path)
}
