package applet

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/flagz"
	"k8s.io/client-go/rest"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/cli/globalflag"
	basecompatibility "k8s.io/component-base/compatibility"
	"k8s.io/component-base/featuregate"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/component-base/term"
	"k8s.io/component-base/version/verflag"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	rbacrest "k8s.io/kubernetes/pkg/registry/rbac/rest"
	schedulingrest "k8s.io/kubernetes/pkg/registry/scheduling/rest"

	"kwokctl/runtimes"
)

// apiServerCommand is the stock kube-apiserver, flag for flag, put together from its exported pieces so that two
// things can differ: it waits for etcd as late as it can, and its start does not sleep (see bootstrap).
func apiServerCommand() *cobra.Command {
	cmd, opts := apiServerFlags()
	ctx := genericapiserver.SetupSignalContext()
	gates := opts.GenericServerRunOptions.ComponentGlobalsRegistry.FeatureGateFor(basecompatibility.DefaultKubeComponent)
	cmd.PersistentPreRunE = func(*cobra.Command, []string) error {
		rest.SetDefaultWarningHandler(rest.NoWarnings{}) // the server calls itself; its own warnings help nobody
		return opts.GenericServerRunOptions.ComponentGlobalsRegistry.Set()
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		verflag.PrintAndExitIfRequested()
		if err := logsapi.ValidateAndApply(opts.Logs, gates); err != nil {
			return err
		}
		cliflag.PrintFlags(cmd.Flags())
		completed, err := opts.Complete(ctx)
		if err != nil {
			return err
		}
		if errs := completed.Validate(); len(errs) != 0 {
			return utilerrors.NewAggregate(errs)
		}
		gates.(featuregate.MutableFeatureGate).AddMetrics()
		opts.GenericServerRunOptions.ComponentGlobalsRegistry.AddMetrics()
		return serve(ctx, completed)
	}
	cmd.SetContext(ctx)
	return cmd
}

// apiServerFlags is the command before it knows what to do.
func apiServerFlags() (*cobra.Command, *options.ServerRunOptions) {
	opts := options.NewServerRunOptions()
	cmd := &cobra.Command{
		Use:          "kube-apiserver",
		Short:        "The Kubernetes API server",
		SilenceUsage: true,
		Args:         cobra.NoArgs,
	}
	sets := opts.Flags()
	opts.Flagz = flagz.NamedFlagSetsReader{FlagSets: sets}
	verflag.AddFlags(sets.FlagSet("global"))
	globalflag.AddGlobalFlags(sets.FlagSet("global"), cmd.Name(), logs.SkipLoggingConfigurationFlags())
	for _, f := range sets.FlagSets {
		cmd.Flags().AddFlagSet(f)
	}
	columns, _, _ := term.TerminalSize(cmd.OutOrStdout())
	cliflag.SetUsageAndHelpFunc(cmd, sets, columns)
	return cmd, opts
}

// serve runs the API server until ctx ends. The stock hooks that make RBAC policy and priority classes sleep a
// second before their first try and then write one object after the other; ours stand in their place, under the
// same names, so that /readyz reads the same.
func serve(ctx context.Context, opts options.CompletedOptions) error {
	if err := runtimes.WaitGate(); err != nil { // what follows talks to etcd
		return fmt.Errorf("wait for etcd: %w", err)
	}
	config, err := app.NewConfig(opts)
	if err != nil {
		return err
	}
	// The three servers of the chain share this set.
	core := config.KubeAPIs.ControlPlane.Generic
	disabled := core.DisabledPostStartHooks
	disabled.Insert(rbacrest.PostStartHookName, schedulingrest.PostStartHookName)
	openAPI := &lateOpenAPI{}
	core.SkipOpenAPIInstallation = true
	lists := newOwnLists(core.RESTOptionsGetter)
	core.RESTOptionsGetter = lists
	chain := config.Aggregator.GenericConfig.BuildHandlerChainFunc
	config.Aggregator.GenericConfig.BuildHandlerChainFunc = func(h http.Handler, c *genericapiserver.Config) http.Handler {
		return chain(openAPI.front(lists.front(h)), c)
	}
	rememberCertificates(&config.Aggregator.GenericConfig.Authentication)
	completed, err := config.Complete()
	if err != nil {
		return err
	}
	server, err := app.CreateServerChain(completed)
	if err != nil {
		return err
	}
	if err := openAPI.install(server.GenericAPIServer.NextDelegate(), core); err != nil {
		return err
	}
	disabled.Delete(rbacrest.PostStartHookName, schedulingrest.PostStartHookName)
	for name, hook := range map[string]genericapiserver.PostStartHookFunc{
		rbacrest.PostStartHookName:          bootstrapRBAC,
		schedulingrest.PostStartHookName:    bootstrapPriorityClasses,
		"kwokctl/bootstrap-service-account": bootstrapServiceAccount,
	} {
		if err := server.GenericAPIServer.AddPostStartHook(name, hook); err != nil {
			return err
		}
	}
	prepared, err := server.PrepareRun()
	if err != nil {
		return err
	}
	return prepared.Run(ctx)
}
