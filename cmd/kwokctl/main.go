// Command kwokctl starts simulated Kubernetes clusters. The binary is also every program that such a cluster needs;
// the name it is called by chooses which.
package main

import (
	"os"

	"kwokctl/internal/applet"
	"kwokctl/internal/cli"
)

// version is set by the linker.
var version = "v0.0.0-dev"

func main() {
	if run, ok := applet.Called(os.Args[0]); ok {
		os.Exit(run())
	}
	os.Exit(cli.Main(os.Args[1:], cli.Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Environ: os.Environ, Version: version,
		Applet: applet.Run, Check: cli.Check{SchedulerConfig: applet.CheckSchedulerConfig, FeatureGates: applet.CheckFeatureGates, RuntimeConfig: applet.CheckRuntimeConfig, Args: applet.CheckArgs}}))
}
