package kustomize

import (
	"bytes"
	_ "embed"
)

//go:embed metrics/resource/metrics-resource.yaml
var metricsResource []byte

// MetricsResource is the Metric that metrics-server asks nodes for, as YAML.
func MetricsResource() []byte { return bytes.Clone(metricsResource) }

//go:embed metrics/usage/usage-from-annotation.yaml
var usageFromAnnotation []byte

// UsageFromAnnotation says that containers use what annotations of their pods say, as YAML.
func UsageFromAnnotation() []byte { return bytes.Clone(usageFromAnnotation) }
