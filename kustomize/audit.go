package kustomize

import _ "embed"

//go:embed audit/policy.yaml
var auditPolicy []byte

// AuditPolicy is the policy of clusters that are created with --audit, as YAML.
func AuditPolicy() []byte { return auditPolicy }
