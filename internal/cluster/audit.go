package cluster

import (
	"fmt"
	"path/filepath"

	"kwokctl/internal/audit"
	"kwokctl/internal/components"
)

// auditLog is what Logs knows the audit log by; no component may have that name.
const auditLog = "audit"

// AuditLog returns the audit log of the cluster, or an error when it has none.
func (c *Cluster) AuditLog() (audit.Log, error) {
	if !components.Audited(&c.Config.Options) {
		return audit.Log{}, fmt.Errorf("cluster %q has no audit log; it is made by kwokctl create cluster --audit", c.Name)
	}
	return audit.Log{Path: filepath.Join(c.Dir, components.AuditLog)}, nil
}
