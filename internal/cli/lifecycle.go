package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kwokctl/internal/cluster"
	"kwokctl/internal/kubeconfig"
)

// readyAlready says of a cluster that nothing was to be done.
const readyAlready = "Cluster %s is ready already; nothing was changed.\n"

func newStart(env *Env) *cobra.Command {
	var wait cluster.Wait
	cmd := &cobra.Command{Use: "cluster", Short: "Start a stopped cluster", Args: exactly(cobra.NoArgs)}
	cmd.Flags().DurationVar(&wait.Ready, "wait", 0, "wait until nodes and pods can be made; fail after this time")
	cmd.Flags().DurationVar(&wait.Timeout, "timeout", 0, "time limit for all of it; 0 for none")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		home, err := env.home()
		if err != nil {
			return err
		}
		if err := checkWait(wait); err != nil {
			return err
		}
		if env.dryRun {
			return env.dryCluster((*cluster.Cluster).DryStart)
		}
		began := time.Now()
		show := newProgress(env, "Starting cluster "+env.name)
		changed, err := home.Start(cmd.Context(), env.name, wait, show.observe)
		show.end()
		switch {
		case err != nil:
			return err
		case !changed:
			fmt.Fprintf(env.say(), readyAlready, env.name)
		default:
			fmt.Fprintf(env.say(), "Cluster %s is ready in %s.\n", env.name, seconds(time.Since(began)))
		}
		return nil
	}
	return cmd
}

func newStop(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "cluster", Short: "Stop a cluster; start brings it back as it was", Args: exactly(cobra.NoArgs)}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		home, err := env.home()
		if err != nil {
			return err
		}
		if env.dryRun {
			return env.dryCluster((*cluster.Cluster).DryStop)
		}
		began := time.Now()
		killed, err := home.Stop(cmd.Context(), env.name)
		if err != nil {
			return err
		}
		if len(killed) > 0 {
			fmt.Fprintf(env.Err, "Had to be killed: %s.\n", strings.Join(killed, ", "))
		}
		fmt.Fprintf(env.say(), "Cluster %s is stopped (%s).\n", env.name, seconds(time.Since(began)))
		return nil
	}
	return cmd
}

func newDelete(env *Env) *cobra.Command {
	var (
		all, purge, force bool
		configPath        string
	)
	cmd := &cobra.Command{Use: "cluster", Short: "Delete a cluster and everything in it", Args: exactly(cobra.NoArgs)}
	cmd.Flags().BoolVar(&all, "all", false, "delete all clusters")
	cmd.Flags().BoolVar(&force, "force", false, "go on when the engine that runs the containers does not answer; what it has stays there")
	cmd.Flags().BoolVar(&purge, "purge", false, "with --all: also remove what clusters share, the image that containers run")
	kubeconfigFlag(cmd, &configPath)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		home, err := env.home()
		if err != nil {
			return err
		}
		if purge && !all {
			return errors.New("--purge: only with --all")
		}
		names := []string{env.name}
		if all {
			if names, err = home.List(); err != nil {
				return err
			}
		}
		if env.dryRun {
			return env.dryDelete(home, names, func(name string) (string, error) {
				return kubeconfig.Holding(cluster.Context(name), configPath, cmd.Flags().Changed("kubeconfig"), env.Getenv)
			})
		}
		var errs []error
		home.Force = force
		shared := home.Shared(names)
		for _, name := range names {
			errs = append(errs, deleteOne(cmd.Context(), env, home, name, configPath, cmd.Flags().Changed("kubeconfig")))
		}
		if purge {
			used, err := shared(cmd.Context())
			if len(used) > 0 {
				fmt.Fprintf(env.Err, "Other containers use these images, so they stay: %s.\n", strings.Join(used, ", "))
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	return cmd
}

func deleteOne(ctx context.Context, env *Env, home cluster.Home, name, flag string, flagSet bool) error {
	if err := cluster.CheckName(name); err != nil {
		return err
	}
	path, err := kubeconfig.Holding(cluster.Context(name), flag, flagSet, env.Getenv)
	if err != nil {
		return err
	}
	began := time.Now()
	err = home.Delete(ctx, name, path)
	if errors.Is(err, cluster.ErrNotFound) {
		fmt.Fprintf(env.say(), "There is no cluster %s; nothing to delete.\n", name)
		return nil
	}
	if err == nil {
		fmt.Fprintf(env.say(), "Cluster %s is deleted (%s).\n", name, seconds(time.Since(began)))
	}
	return err
}
