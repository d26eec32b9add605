package applet

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/go-logr/logr"
	extensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/server/resourceconfig"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/klog/v2"
	aggregator "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/controlplane"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/validation"
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
	before := klog.CaptureState() // it warns of gates that will go; the components do so in their logs
	defer before.Restore()
	klog.SetLogger(logr.Discard())
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
