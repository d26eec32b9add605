package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kwokctl/internal/api"
	"kwokctl/internal/cluster"
	"kwokctl/internal/components"
	"kwokctl/internal/kube"
	"kwokctl/internal/scale"
	"kwokctl/internal/snapshot"
)

// completer says what an argument or the value of a flag may be.
type completer = cobra.CompletionFunc

// complete offers what list returns, to an argument at place (from 0) or, with a negative place, to a flag, which may
// have several with commas between them.
func complete(place int, list func() []string) completer {
	return func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if place >= 0 && len(args) != place {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		done := ""
		if place < 0 {
			done = begun[:strings.LastIndex(begun, ",")+1]
		}
		var fits []string
		for _, s := range list() {
			if strings.HasPrefix(done+s, begun) {
				fits = append(fits, done+s)
			}
		}
		return fits, cobra.ShellCompDirectiveNoFileComp
	}
}

// clusterNames are the clusters that exist.
func (e *Env) clusterNames() []string {
	home, err := e.home()
	if err != nil {
		return nil
	}
	names, _ := home.List() // completion has no way to complain
	return names
}

// componentNames are the components of the cluster that is named, or all there are when it does not exist.
func (e *Env) componentNames() []string {
	var names []string
	if c, err := e.open(); err == nil {
		for _, s := range c.Specs() {
			names = append(names, s.Name)
		}
		return names
	}
	return components.Known()
}

// adminConfig is the kubeconfig of the cluster that is named.
func (e *Env) adminConfig() (string, error) {
	c, err := e.open()
	if err != nil {
		return "", err
	}
	return c.Kubeconfig(), nil
}

// completeFilter offers the kinds of the API server that a kubeconfig leads to.
func completeFilter(kubeconfig func() (string, error)) completer {
	return complete(-1, func() []string {
		path, err := kubeconfig()
		if err != nil {
			return nil
		}
		config, err := kube.Connect(path, "")
		if err != nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
		defer cancel()
		kinds, err := snapshot.Discover(ctx, config)
		if err != nil {
			return nil
		}
		return kinds.Names()
	})
}

// completeKinds offers the templates of scale.
func completeKinds(env *Env) completer {
	return complete(0, func() []string {
		kinds := scale.Kinds()
		if docs, err := env.scaleDocuments(); err == nil {
			for _, r := range docs.resources {
				kinds = append(kinds, r.Metadata.Name)
			}
		}
		slices.Sort(kinds)
		return slices.Compact(kinds)
	})
}

// completeFlags makes the values of flags known by name complete, wherever they occur.
func completeFlags(env *Env, cmd *cobra.Command) {
	for flag, list := range map[string]func() []string{
		"name": env.clusterNames, "components": components.Known, "enable": components.Known, "disable": components.Known,
		"v":          func() []string { return []string{"DEBUG", "INFO", "WARN", "ERROR"} },
		"log-format": func() []string { return []string{"text", "json"} }, "runtime": cluster.Runtimes,
		"enable-crds": func() []string {
			var kinds []string
			for _, k := range api.Kinds {
				if k.Version == api.Version {
					kinds = append(kinds, k.Name)
				}
			}
			return kinds
		},
		"output": func() []string { return formats },
	} {
		if f := cmd.LocalFlags().Lookup(flag); f != nil {
			if _, done := cmd.GetFlagCompletionFunc(flag); !done {
				_ = cmd.RegisterFlagCompletionFunc(flag, complete(-1, list)) // the flag is there
			}
		}
	}
	if cmd.ValidArgsFunction == nil && !strings.Contains(cmd.Use, " ") { // it takes no arguments, so that no file is one
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, child := range cmd.Commands() {
		completeFlags(env, child)
	}
}
