package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"kwokctl/internal/api"
	"kwokctl/internal/cluster"
)

func newLogs(env *Env) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{Use: "logs COMPONENT", Short: "Print the log of a component, or of audit", Args: exactly(cobra.ExactArgs(1)),
		ValidArgsFunction: complete(0, func() []string { return append(env.componentNames(), "audit") })}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until interrupted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := env.open()
		if err != nil {
			return err
		}
		if env.dryRun {
			return c.DryLogs(args[0], follow, &cluster.Script{Out: env.Out})
		}
		err = c.Logs(cmd.Context(), args[0], env.Out, follow)
		if follow && cmd.Context().Err() != nil {
			return nil // that is how following ends
		}
		return err
	}
	return cmd
}

// newKubectl makes the command that is kubectl, with the cluster's administrator as the user.
func newKubectl(env *Env) *cobra.Command {
	return tool(env, "kubectl", "Run kubectl on the cluster", func(c *cluster.Cluster) ([]string, error) {
		return []string{"--kubeconfig=" + c.Kubeconfig()}, nil
	})
}

func newEtcdctl(env *Env) *cobra.Command {
	return tool(env, "etcdctl", "Run etcdctl on the cluster's etcd", func(c *cluster.Cluster) ([]string, error) {
		path, err := env.etcdSocket(c)
		return []string{"--endpoints=unix://" + path}, err
	})
}

// etcdSocket is where etcd is reached, for the life of this process, which is about to become another program.
func (e *Env) etcdSocket(c *cluster.Cluster) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	if err := c.Runs(ctx, "etcd"); err != nil && !e.dryRun {
		return "", err
	}
	path, _, err := c.ShortEtcdSocket()
	return path, err
}

// tool is a command that becomes an embedded program. All that follows its name belongs to that program.
func tool(env *Env, name, short string, flags func(*cluster.Cluster) ([]string, error)) *cobra.Command {
	ours := func() ([]string, error) {
		c, err := env.open()
		if err != nil {
			return nil, err
		}
		return flags(c)
	}
	return &cobra.Command{
		Use: name, Short: short, DisableFlagParsing: true,
		// The program completes its own command line, and prints the result itself.
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			ours, err := ours()
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			cmd.Root().SetOut(io.Discard)
			cmd.Root().SetErr(io.Discard)
			env.Applet(name, slices.Concat([]string{cobra.ShellCompRequestCmd}, ours, args, []string{begun}))
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := env.open()
			if errors.Is(err, cluster.ErrNotFound) && asksForHelp(args) {
				return become(env, name, args)
			}
			if err != nil {
				return err
			}
			ours, err := flags(c)
			if err != nil && !asksForHelp(args) {
				return err
			}
			if env.dryRun {
				return env.dryTool(append(append([]string{name}, ours...), args...)...)
			}
			if own := ownTool(name, &c.Config.Options); own != "" {
				return fmt.Errorf("run %s: %w", own, syscall.Exec(own, append(append([]string{name}, ours...), args...), os.Environ()))
			}
			return become(env, name, append(ours, args...))
		},
	}
}

// become runs an embedded program in place of this one.
func become(env *Env, name string, args []string) error {
	signal.Reset(os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE) // that program has its own ways with them
	if status := env.Applet(name, args); status != 0 {
		return statusError(status)
	}
	return nil
}

// asksForHelp tells whether a program is only to say how it is used, which needs no cluster.
func asksForHelp(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return len(args) == 0 || args[0] == "help" || slices.Contains(args, "--help") || slices.Contains(args, "-h")
}

// ownTool is the program that the user has for a tool in place of the embedded one.
func ownTool(name string, o *api.KwokctlOptions) string {
	switch name {
	case "kubectl":
		return o.KubectlBinary
	case "etcdctl":
		return o.EtcdctlBinary
	}
	return ""
}
