package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kwokctl/internal/cluster"
)

func newStartComponent(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "component COMPONENT", Short: "Start a stopped component, and what it needs", Args: exactly(cobra.ExactArgs(1)),
		ValidArgsFunction: complete(0, env.componentNames)}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		home, err := env.home()
		if err != nil {
			return err
		}
		if env.dryRun {
			return env.dryCluster(func(c *cluster.Cluster, s *cluster.Script) error { return c.DryComponent(args[0], s, true) })
		}
		began := time.Now()
		show := newProgress(env, "Starting "+args[0]+" of cluster "+env.name)
		err = home.StartComponent(cmd.Context(), env.name, args[0], show.observe)
		show.end()
		if err == nil {
			fmt.Fprintf(env.say(), "Component %s is ready (%s).\n", args[0], seconds(time.Since(began)))
		}
		return err
	}
	return cmd
}

func newStopComponent(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "component COMPONENT", Short: "Stop a component until it or the cluster is started", Args: exactly(cobra.ExactArgs(1)),
		ValidArgsFunction: complete(0, env.componentNames)}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		home, err := env.home()
		if err != nil {
			return err
		}
		if env.dryRun {
			return env.dryCluster(func(c *cluster.Cluster, s *cluster.Script) error { return c.DryComponent(args[0], s, false) })
		}
		began := time.Now()
		killed, err := home.StopComponent(cmd.Context(), env.name, args[0])
		if err != nil {
			return err
		}
		how := "stopped"
		if killed {
			how = "killed, as it did not end in time"
		}
		fmt.Fprintf(env.say(), "Component %s is %s (%s).\n", args[0], how, seconds(time.Since(began)))
		return nil
	}
	return cmd
}

func newExportLogs(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "logs [DIR]", Short: "Copy the logs of a cluster into DIR/NAME, and print that directory", Args: exactly(cobra.MaximumNArgs(1))}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := env.open()
		if err != nil {
			return err
		}
		dir := ""
		if len(args) == 1 {
			dir = args[0]
		}
		if env.dryRun {
			return c.DryExportLogs(dir, &cluster.Script{Out: env.Out})
		}
		if dir, err = c.ExportLogs(cmd.Context(), dir); err != nil {
			return err
		}
		_, err = fmt.Fprintln(env.Out, dir)
		return err
	}
	return cmd
}
