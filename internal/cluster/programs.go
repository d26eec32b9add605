package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"kwokctl/internal/api"
	"kwokctl/internal/components"
)

// checkPrograms finds the user's programs, makes their paths absolute and tells which of them cannot be run.
func checkPrograms(cfg *api.KwokctlConfiguration) error {
	for _, row := range components.Table() {
		if row.Binary == nil {
			continue
		}
		if err := checkProgram(row.Name, row.Binary(&cfg.Options)); err != nil {
			return err
		}
	}
	for i := range cfg.Components {
		c := &cfg.Components[i]
		program := &c.Binary
		if c.Binary == "" {
			program = &c.Command[0]
		}
		if err := checkProgram(c.Name, program); err != nil {
			return err
		}
	}
	return nil
}

// checkProgram takes a path, or the name of a program in $PATH.
func checkProgram(component string, program *string) error {
	path := *program
	switch {
	case path == "":
		return nil
	case strings.Contains(path, "://"):
		return fmt.Errorf("program of %s: %s: nothing is downloaded; give the path of a file", component, path)
	case !strings.ContainsRune(path, filepath.Separator):
		found, err := exec.LookPath(path)
		if err != nil {
			return fmt.Errorf("program of %s: %s: not in $PATH", component, path)
		}
		path = found
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("program of %s: %s: no such file", component, path)
	case err != nil:
		return fmt.Errorf("program of %s: %w", component, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("program of %s: %s is not a regular file", component, path)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("program of %s: %s is not executable", component, path)
	}
	*program, err = filepath.Abs(path)
	return err
}
