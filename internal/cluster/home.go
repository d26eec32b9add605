// Package cluster makes, opens, starts, stops and deletes named clusters. Each lives in a directory of its own.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"kwokctl/internal/api"
	"kwokctl/internal/files"
	"kwokctl/runtimes"
)

// Files of a cluster directory.
const (
	configFile  = "kwok.yaml"
	adminConfig = "kubeconfig.yaml"
	markerFile  = ".kwokctl" // says that the directory is ours to delete; written first, removed with the rest
	pkiDir      = "pki"
	maxName     = 50
)

var (
	// ErrNotFound says that there is no cluster of that name.
	ErrNotFound = errors.New("no such cluster")
	// ErrDamaged says that a cluster's kwok.yaml cannot be read. Such a cluster can be deleted, nothing else.
	ErrDamaged = errors.New("damaged")
)

// Home is where clusters live, usually ~/.kwok.
type Home struct {
	Dir     string
	Version string // of this program
	Log     *slog.Logger
	Force   bool // delete clusters even when the engine that runs them cannot be asked
	// Waiting is told when a command must wait for another that works on the same cluster; nil: nobody is told.
	Waiting func(what, holder string, since time.Time)
}

// Cluster is a named cluster.
type Cluster struct {
	Name   string
	Dir    string
	Config *api.KwokctlConfiguration
	Others []api.Object // stages and the like that its controller reads
	home   Home
	specs  []runtimes.Spec
	last   []string // components that start when the manifests are applied
	rt     runtimes.Runtime
}

var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// CheckName returns an error unless name may name a cluster. It is the one place that decides.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("cluster name is empty")
	case len(name) > maxName:
		return fmt.Errorf("cluster name %.20q… has %d characters; %d are allowed", name, len(name), maxName)
	case !nameForm.MatchString(name) || strings.Contains(name, ".."):
		return fmt.Errorf("cluster name %q: allowed are letters, digits, and inside also - _ . (but not ..)", name)
	}
	return nil
}

func (h Home) clusters() string { return filepath.Join(h.Dir, "clusters") }

func (h Home) dir(name string) string { return filepath.Join(h.clusters(), name) }

// prepare makes the directories that clusters live in, or says what is wrong with them.
func (h Home) prepare() error {
	for _, dir := range []string{h.Dir, h.clusters(), filepath.Join(h.Dir, "locks")} {
		if err := files.MkdirPrivate(dir); err != nil {
			return err
		}
	}
	return nil
}

// missing returns the directories that prepare has yet to make, a parent before what is in it.
func (h Home) missing() []string {
	dirs := []string{h.clusters(), filepath.Join(h.Dir, "locks")}
	for dir := h.Dir; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		dirs = slices.Insert(dirs, 0, dir)
	}
	return slices.DeleteFunc(dirs, func(dir string) bool {
		_, err := os.Lstat(dir)
		return !errors.Is(err, fs.ErrNotExist)
	})
}

// giveBack removes those of the directories that nobody has come to use.
func giveBack(dirs []string) {
	for _, dir := range slices.Backward(dirs) {
		_ = os.Remove(dir)
	}
}

// lockTries bounds how often a command makes the directories again that others take back.
const lockTries = 100

// lock takes the lock of one cluster. Every command that changes a cluster holds it to its end.
func (h Home) lock(ctx context.Context, name string) (*files.Lock, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for try := 0; ; try++ {
		var lock *files.Lock
		err := h.prepare()
		if err == nil {
			lock, err = h.acquire(ctx, name+".lock", "cluster "+name)
		}
		if errors.Is(err, fs.ErrNotExist) && try < lockTries {
			continue // a create that was refused has taken the directories back
		}
		return lock, err
	}
}

func (h Home) acquire(ctx context.Context, file, what string) (*files.Lock, error) {
	return files.Acquire(ctx, filepath.Join(h.Dir, "locks", file), "kwokctl", func(holder string, since time.Time) {
		if h.Waiting != nil {
			h.Waiting(what, holder, since)
		}
	})
}

// List returns the names of the clusters, sorted. What is no cluster is left out.
func (h Home) List() ([]string, error) { return h.list(h.ours) }

// Foreign returns the names, sorted, of directories among those of clusters that hold a configuration of a cluster and
// were not made by this program.
func (h Home) Foreign() ([]string, error) {
	return h.list(func(name string) bool {
		_, err := os.Lstat(filepath.Join(h.dir(name), configFile))
		return err == nil && !h.ours(name)
	})
}

func (h Home) list(keep func(name string) bool) ([]string, error) {
	entries, err := os.ReadDir(h.clusters())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list clusters: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && CheckName(e.Name()) == nil && keep(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// ours tells whether the directory of a cluster is one that we made.
func (h Home) ours(name string) bool {
	info, err := os.Lstat(filepath.Join(h.dir(name), markerFile))
	return err == nil && info.Mode().IsRegular()
}

// Open returns the cluster of that name: ErrNotFound when there is none, ErrDamaged when its file cannot be read.
func (h Home) Open(name string) (*Cluster, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	path := filepath.Join(h.dir(name), configFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(filepath.Join(h.dir(name), pkiDir)); err == nil { // made after the file, so it was lost
			return nil, damaged(name, path, errors.New("it is missing"))
		}
		return nil, fmt.Errorf("cluster %q: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open cluster %q: %w", name, err)
	}
	if !h.ours(name) { // upstream's, perhaps, whose keys and data are of another kind
		return nil, fmt.Errorf("cluster %q: %s is none of this program's: it has no %s", name, h.dir(name), markerFile)
	}
	objs, err := api.Load(bytes.NewReader(data), path)
	if err != nil {
		return nil, damaged(name, path, err)
	}
	configs := api.Of[*api.KwokctlConfiguration](objs)
	if len(configs) != 1 {
		return nil, damaged(name, path, fmt.Errorf("it holds %d KwokctlConfigurations, not 1", len(configs)))
	}
	c := &Cluster{Name: name, Dir: h.dir(name), home: h, Config: configs[0]}
	c.Others = slices.DeleteFunc(objs, func(o api.Object) bool { return o == api.Object(c.Config) })
	if c.Config.Status.Version == "" { // the last of its fields
		return nil, damaged(name, path, errors.New("it is cut off"))
	}
	if err := c.plan(nil); err != nil {
		return nil, damaged(name, path, err)
	}
	return c, nil
}

func damaged(name, path string, err error) error {
	return fmt.Errorf("open cluster %q: %s is %w: %v; kwokctl delete cluster --name %s removes it", name, path, ErrDamaged, err, name)
}

// save writes what Open reads.
func (c *Cluster) save() error {
	var b bytes.Buffer
	if err := api.Save(&b, append([]api.Object{c.Config}, c.Others...)...); err != nil {
		return err
	}
	return files.WriteAtomic(filepath.Join(c.Dir, configFile), b.Bytes(), 0o600)
}
