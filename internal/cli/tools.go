package cli

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"kwokctl/internal/cluster"
)

// maxSocket is how long the path of a unix socket may be.
const maxSocket = 107

func newLogs(env *Env) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{Use: "logs COMPONENT", Short: "Print the log of a component", Args: exactly(cobra.ExactArgs(1))}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until interrupted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := env.open()
		if err != nil {
			return err
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
		path := c.EtcdSocket()
		if len(path) > maxSocket {
			// Open for the life of this process, which is about to become etcdctl.
			dir, err := syscall.Open(c.Dir, syscall.O_RDONLY, 0)
			if err != nil {
				return nil, fmt.Errorf("open cluster directory: %w", err)
			}
			path = fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path))
		}
		return []string{"--endpoints=unix://" + path}, nil
	})
}

// tool is a command that becomes an embedded program. All that follows its name belongs to that program.
func tool(env *Env, name, short string, flags func(*cluster.Cluster) ([]string, error)) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := env.open()
			if err != nil {
				return err
			}
			ours, err := flags(c)
			if err != nil {
				return err
			}
			signal.Reset(os.Interrupt, syscall.SIGTERM) // that program has its own ways with them
			if status := env.Applet(name, append(ours, args...)); status != 0 {
				return statusError(status)
			}
			return nil
		},
	}
}
