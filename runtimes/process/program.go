//go:build linux || darwin

package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Output runs an embedded program, see OutputOf.
func Output(ctx context.Context, name string, args ...string) ([]byte, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	return OutputOf(ctx, self, name, args...)
}

// OutputOf runs the program at path under a name to its end, in a process of its own that ends with this one, and returns
// what it wrote to standard output. A program that fails gives its last line as the error.
func OutputOf(ctx context.Context, path, name string, args ...string) ([]byte, error) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Args = append([]string{name}, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = cleanEnvironment(), &out, &errs, ownGroup()
	runtime.LockOSThread() // the kernel ends the process with the thread that started it
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &exit):
		return nil, errors.New(lastWords(errs.String(), exit))
	case err != nil:
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// lastWords is why a program failed: its last line, or the first of a panic.
func lastWords(text string, exit *exec.ExitError) string {
	last := exit.Error()
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if reason, ok := strings.CutPrefix(line, "panic: "); ok {
			return reason
		}
		if line != "" && !strings.HasPrefix(line, "{") { // else it is its log
			last = strings.TrimPrefix(line, "Error: ")
		}
	}
	return last
}
