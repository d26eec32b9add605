package applet

import (
	"fmt"
	"strings"

	"github.com/go-logr/logr"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/validation"
)

// CheckSchedulerConfig tells what the embedded scheduler would say against a configuration, before it is started.
func CheckSchedulerConfig(text []byte) error {
	object, kind, err := scheme.Codecs.UniversalDecoder().Decode(text, nil, nil)
	if err != nil {
		return err
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
