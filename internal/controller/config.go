package controller

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"

	"kwokctl/internal/api"
	"kwokctl/internal/kubelet"
	"kwokctl/internal/stage"
)

// config is everything decided before the loop starts.
type config struct {
	opts    api.KwokOptions
	sel     selection
	stages  []*api.Stage
	builtIn []*api.Stage // of kinds that have no other
	left    []error      // why stages are not among them
	id      string
	seed    uint64
	version string
	files   *commandLine // to read the files again, nil for never
	printed string       // what print said before they were read
	rules   []api.Object // what the nodes' HTTP side answers
	cert    *tls.Certificate
	cas     *x509.CertPool // sign client certificates
	metrics []api.Object   // in files
}

// commandLine is the command line.
type commandLine struct {
	set          *pflag.FlagSet
	files        []string
	verbosity    string
	kubeconfig   string
	master       string
	id           string
	seed         uint64
	printVersion bool
	version      string
	tracing      api.Tracing
	stdin        []api.Object // can be read only once
}

// version is the version of the program, set by the linker; "" means that of the module.
var version string

func programVersion() string {
	v := version
	if info, ok := debug.ReadBuildInfo(); v == "" && ok && info.Main.Version != "(devel)" {
		v = info.Main.Version
	}
	v = strings.TrimPrefix(v, "v")
	v, _, _ = strings.Cut(v, "-") // the pre-release suffix is nobody's business
	v, _, _ = strings.Cut(v, "+")
	if v == "" {
		v = "0.0.0"
	}
	return v
}

// wideCIDR stands in for the default CIDR when nobody chose one: the same first addresses, but no cluster is too
// large for it.
const wideCIDR = "10.0.0.0/8"

// parse reads the command line. Options are set later, over those of the configuration files.
func parse(args []string, stdout io.Writer) (*commandLine, error) {
	f := &commandLine{set: pflag.NewFlagSet("kwok", pflag.ContinueOnError), version: programVersion()}
	f.set.SetOutput(stdout)
	f.set.SortFlags = false
	f.set.StringSliceVarP(&f.files, "config", "c", []string{defaultFile()}, "configuration files or directories, - for stdin")
	f.set.StringVarP(&f.verbosity, "v", "v", "INFO", "log level: DEBUG, INFO, WARN or ERROR, or a number")
	f.set.StringVar(&f.kubeconfig, "kubeconfig", defaultKubeconfig(), "kubeconfig of the cluster")
	f.set.StringVar(&f.master, "master", "", "URL of the API server, instead of the kubeconfig's")
	f.set.StringVar(&f.id, "id", "", "holder of node leases; must survive restarts (default derived from host and cluster)")
	f.set.Uint64Var(&f.seed, "seed", 0, "seed of random choices, 0 for a random one")
	f.set.StringVar(&f.tracing.Endpoint, "tracing-endpoint", "", "OTLP endpoint; empty disables tracing")
	f.set.Int32Var(&f.tracing.SamplingRatePerMillion, "tracing-sampling-rate-per-million", 0, "sampling rate of traces")
	f.set.BoolVar(&f.printVersion, "version", false, "print the version")
	options(f.set, &api.NewKwokConfiguration().Options)
	if err := f.set.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil, err
		}
		return nil, usageError{errors.New(api.NumbersInWords(err.Error()))}
	}
	if f.set.NArg() > 0 {
		return nil, usageError{fmt.Errorf("unexpected argument %q", f.set.Arg(0))}
	}
	return f, nil
}

// options defines the flags that are also fields of KwokConfiguration, with o's values as defaults.
func options(s *pflag.FlagSet, o *api.KwokOptions) {
	s.BoolVar(&o.ManageAllNodes, "manage-all-nodes", o.ManageAllNodes, "manage every node")
	s.StringVar(&o.ManageSingleNode, "manage-single-node", o.ManageSingleNode, "manage the node of this name only")
	s.StringVar(&o.ManageNodesWithAnnotationSelector, "manage-nodes-with-annotation-selector", o.ManageNodesWithAnnotationSelector, "manage nodes whose annotations match")
	s.StringVar(&o.ManageNodesWithLabelSelector, "manage-nodes-with-label-selector", o.ManageNodesWithLabelSelector, "manage nodes whose labels match")
	s.StringVar(&o.DisregardStatusWithAnnotationSelector, "disregard-status-with-annotation-selector", o.DisregardStatusWithAnnotationSelector, "leave objects alone whose annotations match")
	s.StringVar(&o.DisregardStatusWithLabelSelector, "disregard-status-with-label-selector", o.DisregardStatusWithLabelSelector, "leave objects alone whose labels match")
	s.StringVar(&o.CIDR, "cidr", o.CIDR, "pod addresses of nodes without a pod CIDR")
	s.StringVar(&o.NodeIP, "node-ip", o.NodeIP, "address of nodes")
	s.StringVar(&o.NodeName, "node-name", o.NodeName, "host name of nodes")
	s.IntVar(&o.NodePort, "node-port", o.NodePort, "port of the nodes' kubelet endpoint")
	s.StringVar(&o.ServerAddress, "server-address", o.ServerAddress, "address to serve on")
	s.StringVar(&o.TLSCertFile, "tls-cert-file", o.TLSCertFile, "serving certificate")
	s.StringVar(&o.TLSPrivateKeyFile, "tls-private-key-file", o.TLSPrivateKeyFile, "key of the serving certificate")
	s.StringVar(&o.ClientCAFile, "client-ca-file", o.ClientCAFile, "authorities of client certificates")
	s.UintVar(&o.NodeLeaseDurationSeconds, "node-lease-duration-seconds", o.NodeLeaseDurationSeconds, "duration of node leases, 0 for none")
	s.StringSliceVar(&o.EnableCRDs, "enable-crds", o.EnableCRDs, "kinds that are read from the cluster")
	for _, name := range []string{"disregard-status-with-annotation-selector", "disregard-status-with-label-selector"} {
		_ = s.MarkHidden(name) // fails only for a flag that is not defined
	}
}

func workDir() string {
	if dir := os.Getenv("KWOK_WORKDIR"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "kwok")
	}
	return filepath.Join(home, ".kwok")
}

func defaultFile() string { return filepath.Join(workDir(), "kwok.yaml") }

func defaultKubeconfig() string {
	if file := os.Getenv("KUBECONFIG"); file != "" {
		return file
	}
	return expand("~/.kube/config")
}

func expand(path string) string {
	home, _ := os.UserHomeDir()
	return api.ExpandHome(path, home)
}

// kubeconfigFile returns the kubeconfig if there is one; without it we are in a cluster.
func (f *commandLine) kubeconfigFile() string {
	path := expand(f.kubeconfig)
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		if f.set.Changed("kubeconfig") {
			return path // the error that follows names it
		}
		return ""
	}
	return path
}

// load reads the configuration files and lays the flags over them.
func (f *commandLine) load(log *slog.Logger) (config, error) {
	printed := f.print()
	objs, err := f.read()
	if err != nil {
		return config{}, err
	}
	for _, o := range api.Of[*api.Raw](objs) {
		log.Warn("document is skipped", "object", o.Kind+" "+o.Metadata.Name)
	}
	rules := slices.DeleteFunc(slices.Clone(objs), func(o api.Object) bool { return !kubelet.Ours(o) })
	merged, err := api.MergeKwok(api.Of[*api.KwokConfiguration](objs))
	if err != nil {
		return config{}, err
	}
	chosen := len(api.Of[*api.KwokConfiguration](objs)) > 0 && merged.Options.CIDR != api.NewKwokConfiguration().Options.CIDR
	cfg := config{opts: merged.Options, id: f.id, seed: f.seed, version: f.version, files: f, printed: printed, rules: rules}
	over := pflag.NewFlagSet("kwok", pflag.ContinueOnError)
	options(over, &cfg.opts)
	f.set.Visit(func(fl *pflag.Flag) {
		if mine := over.Lookup(fl.Name); mine != nil && err == nil {
			err = copyFlag(mine, fl)
		}
	})
	if err != nil {
		return config{}, usageError{err}
	}
	if cfg.opts.DisregardStatusWithAnnotationSelector+cfg.opts.DisregardStatusWithLabelSelector != "" {
		log.Warn("disregard selectors are deprecated; a Stage's own selector can leave objects out")
	}
	if !chosen && !f.set.Changed("cidr") {
		cfg.opts.CIDR = wideCIDR
	}
	if err := cfg.opts.Check(); err != nil {
		return config{}, usageError{err}
	}
	if cfg.seed == 0 {
		cfg.seed = rand.Uint64()
	}
	if cfg.opts.ServerAddress == "" && cfg.opts.NodePort != 0 {
		cfg.opts.ServerAddress = "0.0.0.0:" + strconv.Itoa(cfg.opts.NodePort)
	}
	if cfg.sel, err = newSelection(&cfg.opts); err != nil {
		return config{}, usageError{err}
	}
	if err := checkCRDs(cfg.opts.EnableCRDs); err != nil {
		return cfg, usageError{err}
	}
	if cfg.metrics, err = checkMetrics(objs, cfg.opts.EnableCRDs); err != nil {
		return cfg, err
	}
	for _, k := range cfg.opts.EnableCRDs {
		if slices.Contains(kubelet.Kinds(), k) {
			log.Warn("whoever may write such objects in the cluster runs commands, reads files and opens connections as this process does", "object", k)
		}
	}
	return cfg, cfg.sort(api.Of[*api.Stage](objs))
}

func copyFlag(to, from *pflag.Flag) error {
	if list, ok := from.Value.(pflag.SliceValue); ok {
		return to.Value.(pflag.SliceValue).Replace(list.GetSlice())
	}
	return to.Value.Set(from.Value.String())
}

// read loads the configuration files.
func (f *commandLine) read() ([]api.Object, error) {
	files := slices.Clone(f.files)
	standard := defaultFile()
	if _, err := os.Stat(standard); err != nil {
		files = slices.DeleteFunc(files, func(s string) bool { return expand(s) == standard })
	} else if !slices.Contains(files, standard) {
		files = append([]string{standard}, files...)
	}
	var objs []api.Object
	for _, name := range files {
		loaded, err := f.loadFile(expand(name))
		if err != nil {
			return nil, err
		}
		objs = append(objs, loaded...)
	}
	return objs, nil
}

// loadFile loads a file, - for stdin, or the YAML files of a directory.
func (f *commandLine) loadFile(name string) (_ []api.Object, err error) {
	if name == "-" {
		if f.stdin == nil {
			f.stdin, err = api.Load(os.Stdin, "stdin")
		}
		return f.stdin, err
	}
	names, err := inDirectory(name)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	var objs []api.Object
	for _, n := range names {
		file, err := os.Open(n)
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		loaded, err := api.Load(file, n)
		_ = file.Close() // it was only read
		if err != nil {
			return nil, err
		}
		objs = append(objs, loaded...)
	}
	return objs, nil
}

// inDirectory returns the YAML files of a directory; a file is returned as it is.
func inDirectory(name string) ([]string, error) {
	info, err := os.Stat(name)
	if err != nil || !info.IsDir() {
		return []string{name}, err
	}
	names, err := filepath.Glob(filepath.Join(name, "*.yaml"))
	names = slices.DeleteFunc(names, func(n string) bool { return filepath.Base(n) == "kustomization.yaml" })
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%s: no .yaml file in this directory", name)
	}
	return names, err
}

// sort takes the stages, of each name the first, and adds the built-in ones.
func (c *config) sort(stages []*api.Stage) error {
	if len(stages) > 0 && slices.Contains(c.opts.EnableCRDs, "Stage") {
		return fmt.Errorf("%s: stage %s: Stages are read from the cluster (--enable-crds), so that no file may have any",
			stages[0].File, stages[0].Metadata.Name)
	}
	twice := stage.Twice(stages)
	for _, s := range stages {
		if m, ok := twice[s]; ok {
			c.left = append(c.left, &stage.StageError{Stage: s.Metadata.Name, File: s.File, Err: m})
			continue
		}
		c.stages = append(c.stages, s)
	}
	built, err := stage.BuiltIn(c.opts.NodeLeaseDurationSeconds > 0)
	c.builtIn = built
	return err
}

// tell logs which stages are left out.
func (c *config) tell(log *slog.Logger) {
	for _, err := range c.left {
		log.Error("stage is left out", "err", err)
	}
}

// checkCRDs refuses kinds that cannot be read from the cluster.
func checkCRDs(names []string) error {
	var known []string
	for _, k := range api.Kinds {
		if k.Version == api.Version {
			known = append(known, k.Name)
		}
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return fmt.Errorf("--enable-crds: %q is none of %s", n, strings.Join(known, ", "))
		}
	}
	return nil
}

// newSelection checks that exactly one way to select nodes is chosen.
func newSelection(o *api.KwokOptions) (s selection, err error) {
	modes := 0
	for _, chosen := range []bool{o.ManageAllNodes, o.ManageSingleNode != "",
		o.ManageNodesWithAnnotationSelector+o.ManageNodesWithLabelSelector != ""} {
		if chosen {
			modes++
		}
	}
	if modes != 1 {
		return s, errors.New("want exactly one of --manage-all-nodes, --manage-single-node and --manage-nodes-with-(annotation|label)-selector")
	}
	s.all, s.single = o.ManageAllNodes, o.ManageSingleNode
	for _, p := range []struct {
		flag, text string
		to         *labels.Selector
	}{
		{"manage-nodes-with-annotation-selector", o.ManageNodesWithAnnotationSelector, &s.annotations},
		{"manage-nodes-with-label-selector", o.ManageNodesWithLabelSelector, &s.labels},
		{"disregard-status-with-annotation-selector", o.DisregardStatusWithAnnotationSelector, &s.skipAnnotations},
		{"disregard-status-with-label-selector", o.DisregardStatusWithLabelSelector, &s.skipLabels},
	} {
		if p.text == "" {
			continue
		}
		if *p.to, err = labels.Parse(p.text); err != nil {
			return s, fmt.Errorf("--%s: %w", p.flag, err)
		}
	}
	return s, nil
}

// parseLevel reads a log level: a name with an optional offset, or a number.
func parseLevel(s string) (slog.Level, error) {
	if n, err := strconv.Atoi(s); err == nil {
		return slog.Level(n), nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(s)); err != nil {
		return 0, fmt.Errorf("--v: %q is none of DEBUG, INFO, WARN, ERROR or a number", s)
	}
	return level, nil
}

// identity names us in leases. It is the same after a restart, and differs between hosts, clusters and addresses.
func identity(server string, cfg config) string {
	host, err := os.Hostname()
	if err != nil {
		host = "kwok"
	}
	sum := sha256.Sum256([]byte(server + "\n" + cfg.opts.ServerAddress))
	return host + "_" + hex.EncodeToString(sum[:6])
}
