package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kwokctl/internal/api"
	"kwokctl/internal/cluster"
	"kwokctl/internal/components"
	"kwokctl/internal/kubeconfig"
	"kwokctl/internal/kubelet"
	"kwokctl/internal/scale"
)

func newCreate(env *Env) *cobra.Command {
	var (
		req        cluster.Create
		configPath string
		from       string
	)
	cmd := &cobra.Command{
		Use: "cluster", Short: "Create a cluster, or finish or start the one of that name", Args: exactly(cobra.NoArgs),
		Example: "  kwokctl create cluster --name x --wait 60s\n  kubectl config use-context kwok-x",
	}
	f := cmd.Flags()
	kubeconfigFlag(cmd, &configPath)
	f.DurationVar(&req.Wait.Ready, "wait", 0, "wait until the default service account exists and nodes and pods can be made; fail after this time")
	f.DurationVar(&req.Wait.Timeout, "timeout", 0, "time limit for all of it; 0 for none")
	f.BoolVar(&req.KeepContext, "keep-context", false, "leave the current context of the kubeconfig file as it is")
	f.StringVar(&from, "from", "", "snapshot that it begins with, of either format; - for standard input")
	f.BoolVar(&req.Retain, "retain", false, "keep what was made when it fails")
	optionFlags(f)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, docs, err := env.configuration(f)
		if err != nil {
			return err
		}
		req.Config = cfg
		if req.Others, err = docs.others(); err != nil {
			return err
		}
		if err := components.Selection(cfg, req.Others); err != nil {
			return err
		}
		if err := checkScale(docs.rest); err != nil {
			return err
		}
		more, err := components.Objects(&cfg.Options, req.Others)
		if err != nil {
			return err
		}
		req.Others = append(req.Others, more...)
		if req.Files, err = env.userFiles(cfg); err != nil {
			return err
		}
		req.Name, req.ReadManifest, req.CheckArgs = env.name, env.readManifest, env.Check.Args
		if req.Kubeconfig, err = env.kubeconfig(configPath, f.Changed("kubeconfig")); err != nil {
			return err
		}
		if err := checkWait(req.Wait); err != nil {
			return err
		}
		closeFile, err := env.createFrom(&req, from)
		if err != nil {
			return err
		}
		defer closeFile()
		return create(cmd.Context(), env, req, docs.settings)
	}
	return cmd
}

// kubeconfig is the file for the context, "" for none. It is remembered, for commands in other directories.
func (e *Env) kubeconfig(flag string, given bool) (string, error) {
	path, err := kubeconfig.Path(flag, given, e.Getenv)
	if err != nil || path == "" {
		return "", err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", fmt.Errorf("find kubeconfig: %w", err)
	}
	return path, nil
}

// checkScale tells what is wrong with the templates and node pools that scale is to read from the same files later.
func checkScale(docs []api.Object) error {
	var jobs []scale.Job
	for _, r := range api.Of[*api.KwokctlResource](docs) {
		jobs = append(jobs, scale.Job{Kind: r.Metadata.Name, Name: "any", Resource: r})
	}
	for _, p := range api.Of[*api.NodePool](docs) {
		jobs = append(jobs, scale.Job{Kind: "node", Name: p.Metadata.Name, Replicas: p.Replicas, SerialLength: serialLength, Pool: p})
	}
	for _, job := range jobs {
		if err := job.Check(); err != nil {
			return err
		}
	}
	return nil
}

// checkWait refuses times that would mean no limit where one was asked for.
func checkWait(w cluster.Wait) error {
	if w.Ready < 0 || w.Timeout < 0 {
		return fmt.Errorf("--wait %s, --timeout %s: must not be negative", w.Ready, w.Timeout)
	}
	return nil
}

func create(ctx context.Context, env *Env, req cluster.Create, settings *api.Settings) error {
	if err := cluster.CheckName(req.Name); err != nil {
		return err
	}
	home, err := env.home()
	if err != nil {
		return err
	}
	if env.dryRun {
		env.deprecated(settings)
		return home.DryCreate(ctx, req, &cluster.Script{Out: env.Out})
	}
	had, _ := home.Open(req.Name) // that it cannot be opened is for Create to say
	began := time.Now()
	show := newProgress(env, "Creating cluster "+req.Name)
	c, changed, err := home.Create(ctx, req, show.observe)
	show.end()
	if err != nil {
		return err
	}
	env.deprecated(settings)
	if had != nil {
		remark(env, had, req, settings)
	}
	if !changed {
		fmt.Fprintf(env.say(), readyAlready, c.Name)
		return nil
	}
	warnOfReach(env, req)
	fmt.Fprintf(env.say(), "Cluster %s is ready in %s.", c.Name, seconds(time.Since(began)))
	switch {
	case req.Kubeconfig != "" && req.KeepContext:
		fmt.Fprintf(env.say(), " Context %s is in %s.", cluster.Context(c.Name), req.Kubeconfig)
	case req.Kubeconfig != "":
		fmt.Fprintf(env.say(), " Context %s is now current in %s.", cluster.Context(c.Name), req.Kubeconfig)
	}
	fmt.Fprintf(env.say(), "\n\nNext:\n  kwokctl scale node --replicas 10 --name %[1]s\n  kwokctl --name %[1]s kubectl get nodes\n  kwokctl delete cluster --name %[1]s\n", c.Name)
	return nil
}

// warnOfReach names the kinds read from the cluster whose objects reach what the controller can reach.
func warnOfReach(env *Env, req cluster.Create) {
	kinds := slices.Clone(req.Config.Options.EnableCRDs)
	for _, c := range api.Of[*api.KwokConfiguration](req.Others) {
		kinds = append(kinds, c.Options.EnableCRDs...)
	}
	ours := kubelet.Kinds()
	kinds = slices.DeleteFunc(kinds, func(k string) bool { return !slices.Contains(ours, k) })
	if len(kinds) > 0 {
		fmt.Fprintf(env.Err, "Warning: whoever may write %s objects in the cluster runs commands, reads files and opens connections as kwok-controller does.\n", strings.Join(kinds, ", "))
	}
}

// remark tells what of a request a cluster that is there already does not follow.
func remark(env *Env, c *cluster.Cluster, req cluster.Create, settings *api.Settings) {
	var all []string
	for _, d := range settings.Differences(&req.Config.Options, &c.Config.Options) {
		all = append(all, fmt.Sprintf("%s (it has %s)", d.Source, d.Has))
	}
	text := func(o api.Object) string {
		var b strings.Builder
		_ = api.Save(&b, o) // which a builder does not refuse
		return b.String()
	}
	if said, err := settings.Configuration(); err == nil { // without the patches that follow from -v
		for _, p := range said.ComponentsPatches {
			if !slices.ContainsFunc(c.Config.ComponentsPatches, func(has api.ComponentsPatches) bool { return reflect.DeepEqual(p, has) }) {
				all = append(all, "componentsPatches of "+p.Name)
			}
		}
		for _, own := range said.Components {
			if !slices.ContainsFunc(c.Config.Components, func(has api.Component) bool { return own.Name == has.Name }) {
				all = append(all, "component "+own.Name)
			}
		}
	}
	for _, o := range req.Others {
		same := func(other api.Object) bool { return text(o) == text(other) }
		if o.Meta().Name != "" && !slices.ContainsFunc(c.Others, same) { // those without are of the options
			all = append(all, o.Type().Kind+" "+o.Meta().Name)
		}
	}
	if len(all) > 0 {
		fmt.Fprintf(env.Err, "Cluster %s keeps the options it was made with; not applied: %s. Delete it first to change them.\n", c.Name, strings.Join(all, ", "))
	}
}

// userFiles reads the files that the user's options name and checks them, for the cluster directory.
func (e *Env) userFiles(cfg *api.KwokctlConfiguration) ([]components.File, error) {
	o := &cfg.Options
	for _, own := range []struct { // another API server may know other ones
		flag, text string
		check      func(string) error
	}{
		{"kube-feature-gates", o.KubeFeatureGates, e.Check.FeatureGates},
		{"kube-runtime-config", o.KubeRuntimeConfig, e.Check.RuntimeConfig},
	} {
		if own.text == "" || own.check == nil || !components.IsEmbedded(o, o.KubeApiserverBinary, o.KubeApiserverImage) {
			continue
		}
		if err := own.check(own.text); err != nil {
			return nil, fmt.Errorf("%s %q: %w", own.flag, own.text, oneLine(err))
		}
	}
	files, err := auditPolicy(o)
	if err != nil || o.KubeSchedulerConfig == "" {
		return files, err
	}
	text, err := os.ReadFile(o.KubeSchedulerConfig)
	if err != nil {
		return nil, fmt.Errorf("kube-scheduler-config: %w", err)
	}
	if e.Check.SchedulerConfig != nil && components.IsEmbedded(o, o.KubeSchedulerBinary, o.KubeSchedulerImage) {
		if err := e.Check.SchedulerConfig(text); err != nil {
			return nil, fmt.Errorf("kube-scheduler-config %s: %w", o.KubeSchedulerConfig, oneLine(err))
		}
	}
	if text, err = components.SchedulerConfig(text); err != nil {
		return nil, fmt.Errorf("kube-scheduler-config %s: %w", o.KubeSchedulerConfig, oneLine(err))
	}
	return append(files, components.File{Path: components.SchedulerFile, Data: text}), nil
}

// oneLine joins the lines of an error.
func oneLine(err error) error { return errors.New(strings.Join(strings.Fields(err.Error()), " ")) }

func kubeconfigFlag(cmd *cobra.Command, into *string) {
	cmd.Flags().StringVar(into, "kubeconfig", "", `kubeconfig file for the context; $KUBECONFIG, else ~/.kube/config, when not given; "" for none`)
}
