package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kwokctl/internal/api"
	"kwokctl/internal/cluster"
)

// artifactKinds are the kinds of what has to be fetched.
var artifactKinds = []string{"binary", "image", "manifest"}

func newGetArtifacts(env *Env) *cobra.Command {
	var format, runtime, filter string
	cmd := &cobra.Command{Use: "artifacts", Short: "List what has to be fetched for a cluster", Args: exactly(cobra.NoArgs),
		Example: "  KWOK_KUBE_VERSION=1.35.2 kwokctl get artifacts    # to fetch it in advance"}
	formatFlag(cmd, &format, "name")
	cmd.Flags().StringVar(&runtime, "runtime", "", "runtime of the cluster")
	cmd.Flags().StringVar(&filter, "filter", "", "only binary, image or manifest")
	_ = cmd.RegisterFlagCompletionFunc("filter", complete(-1, func() []string { return artifactKinds }))
	cmd.RunE = func(*cobra.Command, []string) error {
		if filter != "" && !slices.Contains(artifactKinds, filter) {
			return fmt.Errorf("--filter %q: allowed are %s", filter, strings.Join(artifactKinds, ", "))
		}
		cfg, err := env.artifactsOf(runtime)
		if err != nil {
			return err
		}
		rows, err := cluster.Artifacts(cfg)
		if err != nil {
			return err
		}
		rows = slices.DeleteFunc(rows, func(a cluster.Artifact) bool { return filter != "" && a.Kind != filter })
		slices.SortFunc(rows, func(a, b cluster.Artifact) int { return strings.Compare(a.Location, b.Location) })
		if len(rows) == 0 {
			fmt.Fprintln(env.say(), "Nothing has to be fetched: all programs are part of this one.")
		}
		return list(env.Out, format, rows, func(a cluster.Artifact) string { return a.Location }, "COMPONENT\tLOCATION",
			func(a cluster.Artifact) string { return a.Component + "\t" + a.Location })
	}
	return cmd
}

// artifactsOf is the configuration of the cluster that is named, or the one that it would get.
func (e *Env) artifactsOf(runtime string) (*api.KwokctlConfiguration, error) {
	home, err := e.home()
	if err != nil {
		return nil, err
	}
	c, err := home.Open(e.name)
	if err == nil {
		return c.Config, nil
	}
	if !errors.Is(err, cluster.ErrNotFound) {
		return nil, err
	}
	cfg, _, err := e.configuration(pflag.NewFlagSet("artifacts", pflag.ContinueOnError)) // no flags of create
	if err != nil {
		return nil, err
	}
	cfg.Options.Runtime = cmp.Or(runtime, cfg.Options.Runtime)
	return cfg, nil
}
