package kustomize

import (
	"bytes"
	_ "embed"
)

//go:embed rbac/controller.yaml
var controllerRBAC []byte

// ControllerRBAC is the role of the controller's own user, and its binding, as YAML.
func ControllerRBAC() []byte { return controllerRBAC }

//go:embed rbac/metrics-server.yaml
var metricsServerRBAC []byte

// MetricsServerRBAC is what metrics-server's own user may do, as YAML.
func MetricsServerRBAC() []byte { return bytes.Clone(metricsServerRBAC) }

//go:embed stage/volume/dynamic/storageclass.yaml
var storageClass []byte

// StorageClass is the default class, whose volumes the controller makes, as YAML.
func StorageClass() []byte { return storageClass }

//go:embed rbac/anything.yaml
var anythingRBAC []byte

// AnythingRBAC lets the controller do what Stages for kinds other than nodes and pods may ask for, as YAML.
func AnythingRBAC() []byte { return anythingRBAC }

//go:embed rbac/dashboard.yaml
var dashboardObjects []byte

// DashboardObjects are what the dashboard keeps its own data in, and what its user may do, as YAML.
func DashboardObjects() []byte { return dashboardObjects }

//go:embed rbac/kueueviz.yaml
var kueuevizRBAC []byte

// KueuevizRBAC is what the user of kueueviz' backend may do, as YAML.
func KueuevizRBAC() []byte { return kueuevizRBAC }
