package applet

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	extensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/server/resourceconfig"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/klog/v2"
	aggregator "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/controlplane"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/validation"

	"kwokctl/internal/api"
	"kwokctl/internal/controller"
)

var schemePlace = regexp.MustCompile(` in scheme "[^"]*"`)

// CheckSchedulerConfig tells what the embedded scheduler would say against a configuration, before it is started.
func CheckSchedulerConfig(text []byte) error {
	object, kind, err := scheme.Codecs.UniversalDecoder().Decode(text, nil, nil)
	if err != nil { // without the place in the source of Kubernetes where its kinds are listed
		return errors.New(schemePlace.ReplaceAllString(err.Error(), ""))
	}
	cfg, ok := object.(*config.KubeSchedulerConfiguration)
	if !ok {
		return fmt.Errorf("want a KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1, not a %s", kind.Kind)
	}
	if errs := validation.ValidateKubeSchedulerConfiguration(cfg); errs != nil {
		return errs
	}
	return nil
}

// CheckFeatureGates tells which of a list Name=true,Other=false the embedded Kubernetes does not have.
func CheckFeatureGates(gates string) error {
	defer silent()() // it warns of gates that will go; the components do so in their logs
	err := utilfeature.DefaultFeatureGate.DeepCopy().(interface{ Set(string) error }).Set(strings.ReplaceAll(gates, " ", ""))
	return err
}

// CheckRuntimeConfig tells which of a list api/beta=true,apps/v1=false the embedded API server does not serve.
func CheckRuntimeConfig(pairs string) error {
	asked := cliflag.ConfigurationMap{}
	err := asked.Set(pairs)
	if err == nil {
		enabled := options.APIEnablementOptions{RuntimeConfig: asked}
		err = errors.Join(enabled.Validate(legacyscheme.Scheme, extensions.Scheme, aggregator.Scheme)...)
	}
	if err == nil {
		_, err = resourceconfig.MergeAPIResourceConfigs(controlplane.DefaultAPIResourceConfigSource(), asked, legacyscheme.Scheme)
	}
	if err != nil {
		return fmt.Errorf("%w; want pairs such as api/alpha=true,apps/v1=false", err)
	}
	return nil
}

// silent keeps klog quiet until what it returns is called, which also sets back what flags have changed of it.
func silent() (restore func()) {
	before := klog.CaptureState()
	klog.SetLogger(logr.Discard())
	return before.Restore
}

// CheckArgs tells what an embedded program would say against its arguments: flags that it does not have, values that
// they do not take, and names of authorizers, admission plugins and controllers that it does not know.
func CheckArgs(program string, args []string) error {
	defer silent()()
	switch program {
	case "etcd":
		return checkEtcdArgs(args)
	case "kube-apiserver":
		return checkAPIServerArgs(args)
	case "kube-controller-manager":
		cmd := kcm.NewControllerManagerCommand()
		if err := parse(cmd, args); err != nil {
			return err
		}
		names, err := cmd.Flags().GetStringSlice("controllers")
		if err != nil {
			return err
		}
		known := append(kcm.KnownControllers(), slices.Collect(maps.Keys(kcm.ControllerAliases()))...)
		for _, name := range names {
			if plain := strings.TrimPrefix(name, "-"); plain != "*" && !slices.Contains(known, plain) {
				return fmt.Errorf("--controllers: there is no controller %q%s", plain, api.DidYouMean(plain, known))
			}
		}
	case "kube-scheduler":
		return parse(scheduler.NewSchedulerCommand(), args)
	case "kwok-controller":
		return controller.CheckArgs(args)
	}
	return nil
}

// parse reads flags without a word about those that will go.
func parse(cmd *cobra.Command, args []string) error {
	cmd.Flags().SetOutput(io.Discard)
	return cmd.ParseFlags(args)
}

func checkAPIServerArgs(args []string) error {
	cmd, opts := apiServerFlags()
	if err := parse(cmd, args); err != nil {
		return err
	}
	errs := opts.Authorization.Complete() // without a mode it allows all
	return utilerrors.NewAggregate(slices.Concat(errs, opts.Authorization.Validate(), opts.Admission.Validate()))
}

// checkEtcdArgs knows the flags of etcd's library, and those that its program adds to them.
func checkEtcdArgs(args []string) error {
	set := flag.NewFlagSet("etcd", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	embed.NewConfig().AddFlags(set)
	for _, name := range []string{"config-file", "discovery-fallback", "initial-cluster-state", "v2-deprecation"} {
		set.String(name, "", "")
	}
	set.Bool("version", false, "")
	return set.Parse(args)
}
