//go:build !linux && !darwin

package process

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"

	"kwokctl/runtimes"
)

func unsupported() error {
	return fmt.Errorf("process runtime: not supported on %s; use --runtime docker%w", runtime.GOOS, quiet{})
}

// quiet makes the error a runtimes.ErrUnavailable without saying so a second time in its text.
type quiet struct{}

func (quiet) Error() string { return "" }
func (quiet) Unwrap() error { return runtimes.ErrUnavailable }

// Available says that processes are not supported here.
func (r *Runtime) Available(context.Context) error { return unsupported() }

// Install fails: processes are not supported here.
func (r *Runtime) Install(context.Context, []runtimes.Spec) error { return unsupported() }

// Start fails: processes are not supported here.
func (r *Runtime) Start(context.Context, []runtimes.Spec, func(runtimes.Status)) error {
	return unsupported()
}

// Stop fails: processes are not supported here.
func (r *Runtime) Stop(context.Context, []runtimes.Spec, bool) ([]string, error) {
	return nil, unsupported()
}

// Status fails: processes are not supported here.
func (r *Runtime) Status(context.Context, []runtimes.Spec) ([]runtimes.Status, error) {
	return nil, unsupported()
}

// Logs fails: processes are not supported here.
func (r *Runtime) Logs(context.Context, runtimes.Spec, io.Writer, bool) error { return unsupported() }

// Uninstall has nothing to remove.
func (r *Runtime) Uninstall(context.Context, []runtimes.Spec) error { return nil }

// Output fails: processes are not supported here.
func Output(context.Context, string, ...string) ([]byte, error) { return nil, unsupported() }

// OutputOf fails: processes are not supported here.
func OutputOf(context.Context, string, string, ...string) ([]byte, error) { return nil, unsupported() }

// Supervise fails: processes are not supported here.
func Supervise(context.Context, string, *slog.Logger, Periods) error { return unsupported() }

// SuperviseMain is the applet "supervise".
func SuperviseMain([]string) int {
	fmt.Fprintln(os.Stderr, unsupported())
	return 1
}

// CheckLimits returns nil: no component can be run here.
func CheckLimits() error { return nil }
