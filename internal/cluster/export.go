package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"kwokctl/internal/files"
)

// ExportLogs copies the logs of all components and the configuration into a directory: dir/<name>, or one in the
// cluster directory when dir is empty. It returns the directory. A log that is not there is left out.
func (c *Cluster) ExportLogs(ctx context.Context, dir string) (string, error) {
	target := filepath.Join(c.Dir, "export", "logs")
	if dir != "" {
		target = filepath.Join(dir, c.Name)
	}
	target, err := filepath.Abs(target)
	if err != nil {
		return "", fmt.Errorf("export logs: %w", err)
	}
	if _, err := os.Lstat(filepath.Join(target, configFile)); err == nil {
		return "", fmt.Errorf("export logs: %s has logs already; remove it or name another directory", target)
	}
	into := filepath.Join(target, "components")
	if err := files.MkdirPrivate(into); err != nil {
		return "", fmt.Errorf("export logs: %w", err)
	}
	write := func(name string, fill func(io.Writer) error) error {
		err := files.WriteStream(filepath.Join(target, name), 0o600, fill)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, s := range c.specs {
		if err := write("components/"+s.Name+".log", func(w io.Writer) error { return c.rt.Logs(ctx, s, w, false) }); err != nil {
			return "", fmt.Errorf("export logs: %w", err)
		}
	}
	if err := write("components/supervisor.log", copyOf(filepath.Join(c.Dir, "logs", "supervisor.log"))); err != nil {
		return "", fmt.Errorf("export logs: %w", err)
	}
	if log, err := c.AuditLog(); err == nil { // else there is none
		if err := write("components/audit.log", func(w io.Writer) error { return log.Copy(ctx, w, time.Time{}, false) }); err != nil {
			return "", fmt.Errorf("export logs: %w", err)
		}
	}
	info := fmt.Sprintf("%s/%s\n", runtime.GOOS, runtime.GOARCH)
	if err := files.WriteAtomic(filepath.Join(target, c.runtimeName()+"-info.txt"), []byte(info), 0o600); err != nil {
		return "", fmt.Errorf("export logs: %w", err)
	}
	// Last: it says that all the rest is there.
	if err := files.WriteStream(filepath.Join(target, configFile), 0o600, copyOf(filepath.Join(c.Dir, configFile))); err != nil {
		return "", fmt.Errorf("export logs: %w", err)
	}
	return target, nil
}

func copyOf(path string) func(io.Writer) error {
	return func(w io.Writer) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	}
}

func (c *Cluster) runtimeName() string {
	if name := c.Config.Options.Runtime; name != "" {
		return name
	}
	return "binary"
}
