package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"kwokctl/internal/cluster"
	"kwokctl/internal/kubeconfig"
)

func newDoctor(env *Env) *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "doctor", Short: "Look for what is wrong with this machine and the clusters, or the one that --name names",
		Args: exactly(cobra.NoArgs), Example: "  kwokctl doctor\n  kwokctl doctor --name x -o json"}
	formatFlag(cmd, &format, "wide")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		home, err := env.home()
		if err != nil {
			return err
		}
		name := ""
		if cmd.Flags().Changed("name") {
			name = env.name
		}
		path, err := kubeconfig.Path("", false, env.Getenv)
		if err != nil {
			path = "" // without a home there is none to look at
		}
		all, err := home.Doctor(cmd.Context(), name, path)
		if err != nil {
			return err
		}
		if all == nil {
			all = []cluster.Finding{} // an empty list, for machines
		}
		about := func(f cluster.Finding) string {
			if f.Cluster == "" {
				return "this machine"
			}
			return "cluster " + f.Cluster
		}
		if err := list(env.Out, format, all, func(f cluster.Finding) string { return about(f) + ": " + f.Message }, "", func(f cluster.Finding) string {
			return fmt.Sprintf("%s\t%s\t%s", f.Severity, about(f), f.Message+"; "+f.Advice)
		}); err != nil {
			return err
		}
		return verdict(env, all)
	}
	return cmd
}

// verdict ends with status 1 when something does not work; what, was told.
func verdict(env *Env, all []cluster.Finding) error {
	problems := 0
	for _, f := range all {
		if f.Severity == cluster.Problem {
			problems++
		}
	}
	switch {
	case problems > 0:
		return statusError(statusFailed)
	case len(all) == 0:
		fmt.Fprintln(env.say(), "Nothing is wrong.")
	}
	return nil
}
