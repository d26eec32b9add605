package kustomize

import _ "embed"

//go:embed rbac/controller.yaml
var controllerRBAC []byte

// ControllerRBAC is the role of the controller's own user, and its binding, as YAML.
func ControllerRBAC() []byte { return controllerRBAC }
