package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"kwokctl/internal/api"
	"kwokctl/internal/cluster"
	"kwokctl/internal/components"
	"kwokctl/internal/kubeconfig"
)

func newCreate(env *Env) *cobra.Command {
	var (
		req        cluster.Create
		o          api.KwokctlOptions
		configPath string
		from       snapshotOptions
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
	f.StringVar(&from.path, "from", "", "snapshot that it begins with, of either format; - for standard input")
	f.BoolVar(&req.Retain, "retain", false, "keep what was made when it fails")
	f.StringSliceVar(&o.Components, "components", nil, "components of the cluster; all when not given")
	f.StringSliceVar(&o.Enable, "enable", nil, "components to add")
	f.StringSliceVar(&o.Disable, "disable", nil, "components to leave out")
	f.IntVar(&o.KubeApiserverPort, "kube-apiserver-port", 0, "port of the API server; 0 for a free one")
	f.IntVar(&o.KubeControllerManagerPort, "kube-controller-manager-port", 0, "port of the controller manager; 0 for a free one")
	f.IntVar(&o.KubeSchedulerPort, "kube-scheduler-port", 0, "port of the scheduler; 0 for a free one")
	f.IntVar(&o.KwokControllerPort, "controller-port", 0, "port of the kwok controller; 0 for a free one")
	f.IntVar(&o.EtcdPort, "etcd-port", 0, "port of etcd, with mutual TLS; 0 for a unix socket only")
	f.BoolVar(&o.EtcdUnsafeNoFsync, "etcd-unsafe-no-fsync", false, "do not wait for the disk: faster, and a power loss may lose the cluster")
	f.IntVar(&o.NodeLeaseDurationSeconds, "node-lease-duration-seconds", components.DefaultLeaseSeconds, "how long a node lease is valid; 0 for no leases")
	f.StringSliceVar(&o.EnableCRDs, "enable-crds", nil, "kinds that the controller reads from the cluster: their definitions are installed")
	f.StringArrayVar(&o.ExtraArgs, "extra-args", nil, "component=key=value: a flag for a component, in place of ours of that name")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if req.Options, req.Others, err = env.load(cmd, o); err != nil {
			return err
		}
		req.Name = env.name
		if req.Kubeconfig, err = kubeconfig.Path(configPath, f.Changed("kubeconfig"), env.Getenv); err != nil {
			return err
		}
		if req.Kubeconfig != "" { // it is remembered, for commands in other directories
			if req.Kubeconfig, err = filepath.Abs(req.Kubeconfig); err != nil {
				return fmt.Errorf("find kubeconfig: %w", err)
			}
		}
		if err := checkWait(req.Wait); err != nil {
			return err
		}
		if from.path != "" {
			req.Restore = &cluster.Restore{}
			closeFile, err := env.prepareRestore(req.Restore, from, newBar(env, "restore"))
			if err != nil {
				return err
			}
			defer closeFile()
		}
		return create(cmd.Context(), env, req)
	}
	return cmd
}

// checkWait refuses times that would mean no limit where one was asked for.
func checkWait(w cluster.Wait) error {
	if w.Ready < 0 || w.Timeout < 0 {
		return &usageError{fmt.Errorf("--wait %s, --timeout %s: must not be negative", w.Ready, w.Timeout)}
	}
	return nil
}

func create(ctx context.Context, env *Env, req cluster.Create) error {
	if err := cluster.CheckName(req.Name); err != nil {
		return err
	}
	home, err := env.home()
	if err != nil {
		return err
	}
	began := time.Now()
	show := newProgress(env, "Creating cluster "+req.Name)
	c, changed, err := home.Create(ctx, req, show.observe)
	show.end()
	if err != nil {
		return err
	}
	if !changed {
		fmt.Fprintf(env.Err, "Cluster %s is ready already; nothing was changed.\n", c.Name)
		return nil
	}
	fmt.Fprintf(env.Err, "Cluster %s is ready in %s.", c.Name, seconds(time.Since(began)))
	switch {
	case req.Kubeconfig != "" && req.KeepContext:
		fmt.Fprintf(env.Err, " Context %s is in %s.", cluster.Context(c.Name), req.Kubeconfig)
	case req.Kubeconfig != "":
		fmt.Fprintf(env.Err, " Context %s is now current in %s.", cluster.Context(c.Name), req.Kubeconfig)
	}
	fmt.Fprintf(env.Err, "\n\nNext:\n  kwokctl scale node --replicas 10 --name %[1]s\n  kwokctl --name %[1]s kubectl get nodes\n  kwokctl delete cluster --name %[1]s\n", c.Name)
	return nil
}

// load reads the configuration files. Flags that were given win over them, and they over defaults of flags.
func (e *Env) load(cmd *cobra.Command, flags api.KwokctlOptions) (api.KwokctlOptions, []api.Object, error) {
	var (
		merged = map[string]any{}
		others []api.Object
	)
	for _, path := range e.configs {
		objs, err := e.read(path)
		if err != nil {
			return flags, nil, err
		}
		for _, o := range objs {
			if c, ok := o.(*api.KwokctlConfiguration); ok {
				if err := overlay(merged, c.Options); err != nil {
					return flags, nil, err
				}
			} else if raw, ok := o.(*api.Raw); ok {
				fmt.Fprintf(e.Err, "%s: kind %s is not known; ignored\n", path, raw.Type().Kind)
			} else {
				others = append(others, o)
			}
		}
	}
	options := flags
	if len(merged) > 0 {
		data, err := json.Marshal(merged)
		if err != nil {
			return flags, nil, err
		}
		if err := json.Unmarshal(data, &options); err != nil {
			return flags, nil, err
		}
		given := map[string]any{}
		if err := overlay(given, flags); err != nil {
			return flags, nil, err
		}
		if err := restoreGiven(cmd, given, &options); err != nil {
			return flags, nil, err
		}
	}
	return options, others, nil
}

// restoreGiven puts back the values of flags that the user gave, over what files said.
func restoreGiven(cmd *cobra.Command, given map[string]any, options *api.KwokctlOptions) error {
	keep := map[string]any{}
	for flag, field := range map[string]string{
		"components": "components", "enable": "enable", "disable": "disable", "kube-apiserver-port": "kubeApiserverPort",
		"kube-controller-manager-port": "kubeControllerManagerPort", "kube-scheduler-port": "kubeSchedulerPort",
		"controller-port": "kwokControllerPort", "etcd-port": "etcdPort", "etcd-unsafe-no-fsync": "etcdUnsafeNoFsync",
		"node-lease-duration-seconds": "nodeLeaseDurationSeconds", "extra-args": "extraArgs", "enable-crds": "enableCRDs",
	} {
		if value, ok := given[field]; ok && cmd.Flags().Changed(flag) {
			keep[field] = value
		}
	}
	data, err := json.Marshal(keep)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, options)
}

func overlay(into map[string]any, options api.KwokctlOptions) error {
	data, err := json.Marshal(options)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, &into)
}

// read loads one configuration file; - is standard input.
func (e *Env) read(path string) ([]api.Object, error) {
	if path == "-" {
		return api.Load(e.In, "standard input")
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read configuration %s: not a regular file", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return api.Load(io.Reader(bytes.NewReader(data)), path)
}

func kubeconfigFlag(cmd *cobra.Command, into *string) {
	cmd.Flags().StringVar(into, "kubeconfig", "", `kubeconfig file for the context; $KUBECONFIG, else ~/.kube/config, when not given; "" for none`)
}
