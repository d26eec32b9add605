//go:build linux || darwin

package process

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"kwokctl/internal/files"
	"kwokctl/runtimes"
)

// Logs implements runtimes.Runtime. It begins with the oldest file that rotation has left.
func (r *Runtime) Logs(ctx context.Context, s runtimes.Spec, w io.Writer, follow bool) error {
	names := make([]string, logKeep)
	for i := range names {
		names[i] = rotated(logPath(r.dir, s.Name), i)
	}
	list := func() []string { return names }
	if err := files.Tail(ctx, filepath.Join(r.dir, logsDir), list, w, follow); err != nil {
		return fmt.Errorf("logs of %s: %w", s.Name, err)
	}
	return nil
}
