package cli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"kwokctl/internal/cluster"
)

// dryCommands are the commands that know --dry-run, and those that change nothing anyway.
func dryCommands() []string {
	return []string{
		"kwokctl", "create", "delete", "start", "stop", "get", "config", "help", "completion",
		"start component", "stop component", "export", "export logs", "port-forward", "doctor", "kectl", "hack", "hack get", "hack put", "hack delete",
		"snapshot", "snapshot save", "snapshot restore", "snapshot export", "snapshot record", "snapshot replay", "kectl snapshot", "kectl snapshot record", "kectl snapshot replay", "audit", "audit summary", "audit tail", "audit policy", "stage", "stage test", "stage lint", "stage show",
		"create cluster", "delete cluster", "start cluster", "stop cluster", "logs", "scale", "kubectl", "etcdctl",
		"get clusters", "get components", "get kubeconfig", "get artifacts",
		"config view", "config tidy", "config reset", "config convert",
	}
}

// checkDry refuses --dry-run for a command that would not follow it.
func (e *Env) checkDry(cmd *cobra.Command) error {
	name := cmd.CommandPath()
	if root := cmd.Root().Name(); name != root {
		name = name[len(root)+1:]
	}
	if e.dryRun && !slices.Contains(dryCommands(), name) {
		return fmt.Errorf("--dry-run: %s would not follow it", cmd.CommandPath())
	}
	return nil
}

// dryCluster writes what a command would do to the cluster of --name.
func (e *Env) dryCluster(do func(*cluster.Cluster, *cluster.Script) error) error {
	c, err := e.open()
	if err != nil {
		return err
	}
	return do(c, &cluster.Script{Out: e.Out})
}

// dryDelete writes what deleting clusters would do.
func (e *Env) dryDelete(home cluster.Home, names []string, kubeconfigPath func(name string) (string, error)) error {
	for _, name := range names {
		c, err := home.Open(name)
		switch {
		case errors.Is(err, cluster.ErrNotFound):
			fmt.Fprintf(e.say(), "There is no cluster %s; nothing to delete.\n", name)
			continue
		case err != nil:
			return err
		}
		path, err := kubeconfigPath(name)
		if err != nil {
			return err
		}
		if err := c.DryDelete(&cluster.Script{Out: e.Out}, path); err != nil {
			return err
		}
	}
	return nil
}

// dryTool writes a call of a tool.
func (e *Env) dryTool(words ...string) error {
	s := &cluster.Script{Out: e.Out}
	s.Command(words...)
	return s.Err()
}
