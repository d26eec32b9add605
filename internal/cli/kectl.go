package cli

import (
	"github.com/spf13/cobra"

	"kwokctl/internal/cluster"
)

// newKectl makes the command that reads and writes the cluster's etcd.
func newKectl(env *Env, name, short string, more ...string) *cobra.Command {
	cmd := tool(env, "kectl", short, func(c *cluster.Cluster) ([]string, error) {
		path, err := env.etcdSocket(c)
		return append([]string{"--endpoints=unix://" + path, "--prefix=" + c.EtcdPrefix()}, more...), err
	})
	cmd.Use = name
	if len(more) == 0 { // else it is one of its sub-commands
		old := parent("snapshot", "Old names of snapshot record and replay", newRecord(env), newReplay(env))
		old.Hidden = true
		cmd.AddCommand(old)
	}
	return cmd
}

// newHack is what kectl was called up to v0.7. Its get showed YAML.
func newHack(env *Env) *cobra.Command {
	hack := parent("hack", "Old name of kectl")
	hack.Hidden = true
	for _, name := range []string{"get", "put", "delete"} {
		more := []string{name}
		if name == "get" {
			more = append(more, "--output=yaml")
		}
		hack.AddCommand(newKectl(env, name, "Old name of kectl "+name, more...))
	}
	return hack
}
