package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"kwokctl/internal/audit"
	"kwokctl/internal/components"
	"kwokctl/runtimes/docker"
)

// auditLog is what Logs knows the audit log by; no component may have that name.
const auditLog = "audit"

// AuditApplet is the program that prints the audit log where the cluster directory is.
const AuditApplet = "audit-log"

// AuditLog returns the audit log of the cluster, or an error when it has none.
func (c *Cluster) AuditLog() (audit.Log, error) {
	if !components.Audited(&c.Config.Options) {
		return audit.Log{}, fmt.Errorf("cluster %q has no audit log; it is made by kwokctl create cluster --audit", c.Name)
	}
	log := audit.Log{Path: filepath.Join(c.Dir, components.AuditLog)}
	if engine, ok := c.rt.(*docker.Runtime); ok { // which has it in a volume
		log.Far = func(ctx context.Context, w io.Writer, since time.Time, follow bool) error {
			how := "once"
			if follow {
				how = "follow"
			}
			return engine.Run(ctx, w, follow, AuditApplet, how, since.UTC().Format(time.RFC3339Nano))
		}
	}
	return log, nil
}

// AuditMain is that program. It ends with its input, which is with who reads.
func AuditMain(args []string, in io.Reader, out, errs io.Writer) int {
	if len(args) != 2 || args[0] != "once" && args[0] != "follow" {
		fmt.Fprintln(errs, "usage: audit-log once|follow TIME")
		return 2
	}
	since, err := time.Parse(time.RFC3339Nano, args[1])
	if err != nil {
		fmt.Fprintf(errs, "audit-log: %v\n", err)
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if args[0] == "follow" {
		go func() {
			_, _ = io.Copy(io.Discard, in)
			cancel()
		}()
	}
	err = audit.Log{Path: components.AuditLog}.Copy(ctx, out, since, args[0] == "follow")
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // nobody has asked for anything yet
		fmt.Fprintf(errs, "audit-log: %v\n", err)
		return 1
	}
	return 0
}
