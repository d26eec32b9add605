package kustomize

import _ "embed"

//go:embed rbac/controller.yaml
var controllerRBAC []byte

// ControllerRBAC is the role of the controller's own user, and its binding, as YAML.
func ControllerRBAC() []byte { return controllerRBAC }

//go:embed rbac/anything.yaml
var anythingRBAC []byte

// AnythingRBAC lets the controller do what Stages for kinds other than nodes and pods may ask for, as YAML.
func AnythingRBAC() []byte { return anythingRBAC }

//go:embed stage/volume/dynamic/storageclass.yaml
var storageClass []byte

// StorageClass is the default class of claims, whose volumes the built-in stages make, as YAML.
func StorageClass() []byte { return storageClass }
