package cli

import (
	"strings"

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
		cmd := newKectl(env, name, "Old name of kectl "+name, more...)
		run := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error { return run(cmd, env.takeOurs(args)) }
		hack.AddCommand(cmd)
	}
	return hack
}

// takeOurs takes the flags of ours from arguments of another program, and follows them: these commands allowed them
// behind their name.
func (e *Env) takeOurs(args []string) (rest []string) {
	for i := 0; i < len(args); i++ {
		name, named := strings.CutPrefix(args[i], "--name=")
		switch {
		case args[i] == "--":
			return append(rest, args[i:]...)
		case named:
			e.name = name
		case args[i] == "--name" && i+1 < len(args):
			i++
			e.name = args[i]
		case args[i] == "--dry-run":
			e.dryRun = true
		default:
			rest = append(rest, args[i])
		}
	}
	return rest
}
