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
