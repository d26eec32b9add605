package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kwokctl/internal/api"
	"kwokctl/internal/kube"
	"kwokctl/internal/scale"
)

func newScale(env *Env) *cobra.Command {
	var job scale.Job
	cmd := &cobra.Command{
		Use: "scale KIND [NAME]", Short: "Make or delete objects from a template until there are so many", Args: exactly(cobra.RangeArgs(1, 2)),
		Example: "  kwokctl scale node --replicas 1000\n  kwokctl scale pod web --replicas 50 --param '.nodeName=\"node-000000\"'",
	}
	f := cmd.Flags()
	f.IntVar(&job.Replicas, "replicas", 1, "how many there are to be")
	f.IntVar(&job.SerialLength, "serial-length", 6, "digits of the number in each name")
	f.StringVarP(&job.Namespace, "namespace", "n", "", "namespace of the objects")
	f.StringArrayVar(&job.Params, "param", nil, "jq expression that changes the template's parameters")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		job.Kind, job.Name = args[0], args[0]
		if len(args) == 2 {
			job.Name = args[1]
		}
		for _, path := range env.configs {
			objs, err := env.read(path)
			if err != nil {
				return err
			}
			for _, r := range api.Of[*api.KwokctlResource](objs) {
				if r.Metadata.Name == job.Kind {
					job.Resource = r
				}
			}
		}
		c, err := env.open()
		if err != nil {
			return err
		}
		config, err := kube.Connect(c.Kubeconfig(), "")
		if err != nil {
			return err
		}
		config.UserAgent = "kwokctl/" + env.Version
		began := time.Now()
		bar := newBar(env, job.Name)
		if err := scale.Run(cmd.Context(), config, job, bar.set); err != nil {
			bar.end()
			return err
		}
		bar.end()
		fmt.Fprintf(env.Err, "%s: %d replicas (%s)\n", job.Name, job.Replicas, seconds(time.Since(began)))
		return nil
	}
	return cmd
}
