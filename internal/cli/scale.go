package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kwokctl/internal/api"
	"kwokctl/internal/kube"
	"kwokctl/internal/scale"
)

const scaleExample = `  kwokctl scale node --replicas 1000
  kwokctl scale pod web --replicas 50 --param '.nodeName="node-000000"'
  kwokctl scale node --pool name=data,replicas=3,zone=boston/chicago/seattle,label=disk=ssd \
                     --pool name=gpu,replicas=128,zone=london,capacity=nvidia.com/gpu:8,taint=gpu=yes:NoSchedule
  kwokctl scale node -c pools.yaml     # documents of kind NodePool`

// serialLength is how many digits the number in a name has, unless others are asked for.
const serialLength = 6

func newScale(env *Env) *cobra.Command {
	var (
		job   scale.Job
		pools []string
	)
	cmd := &cobra.Command{
		Use: "scale KIND [NAME]", Short: "Make or delete objects from a template until there are so many",
		Args: exactly(cobra.RangeArgs(1, 2)), Example: scaleExample,
	}
	f := cmd.Flags()
	f.IntVar(&job.Replicas, "replicas", 1, "how many there are to be")
	f.IntVar(&job.SerialLength, "serial-length", serialLength, "digits of the number in each name")
	f.StringVarP(&job.Namespace, "namespace", "n", "", "namespace of the objects")
	f.StringArrayVar(&job.Params, "param", nil, "jq expression that changes the template's parameters")
	f.StringArrayVar(&pools, "pool", nil, "nodes that are alike: name=NAME,replicas=N,zone=A/B,label=KEY=VALUE,taint=KEY=VALUE:EFFECT,capacity=RESOURCE:QUANTITY")
	cmd.ValidArgsFunction = completeKinds(env)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		job.Kind, job.Name, job.Version = args[0], args[0], strings.TrimPrefix(env.Version, "v")
		if len(args) == 2 {
			job.Name = args[1]
		}
		docs, err := env.scaleDocuments()
		if err != nil {
			return err
		}
		job.Resource = docs.template(job.Kind)
		plain := len(args) == 2 || f.Changed("replicas")
		jobs, err := docs.jobs(job, pools, plain)
		if err != nil {
			return err
		}
		return runScale(cmd.Context(), env, jobs)
	}
	return cmd
}

func runScale(ctx context.Context, env *Env, jobs []scale.Job) error {
	for _, job := range jobs { // all of them, before the first is begun
		if err := job.Check(); err != nil {
			return err
		}
	}
	c, err := env.open()
	if err != nil {
		return err
	}
	if env.dryRun {
		for _, job := range jobs {
			fmt.Fprintf(env.Out, "# Scale resource %s to %d replicas\n", job.Name, job.Replicas)
		}
		return nil
	}
	if err := c.Running(ctx); err != nil {
		return err
	}
	config, err := kube.Connect(c.Kubeconfig(), "")
	if err != nil {
		return err
	}
	config.UserAgent = "kwokctl/" + env.Version
	for _, job := range jobs {
		began := time.Now()
		bar := newBar(env, job.Name)
		err := scale.Run(ctx, config, job, bar.set)
		bar.end()
		if err != nil {
			return err
		}
		fmt.Fprintf(env.say(), "%s: %d replicas (%s)\n", job.Name, job.Replicas, seconds(time.Since(began)))
	}
	return nil
}

// scaleDocs is what configuration files say about scale.
type scaleDocs struct {
	resources []*api.KwokctlResource // the last of a name wins: a file that was named over the default file
	pools     []*api.NodePool        // of the files that were named
}

// scaleDocuments reads the default file, if it is there, and those that were named.
func (e *Env) scaleDocuments() (scaleDocs, error) {
	var docs scaleDocs
	standard, given, err := e.configPaths()
	if err != nil {
		return docs, err
	}
	for i, path := range append(standard, given...) {
		objs, err := e.read(path)
		if err != nil {
			return docs, err
		}
		docs.resources = append(docs.resources, api.Of[*api.KwokctlResource](objs)...)
		if i >= len(standard) {
			docs.pools = append(docs.pools, api.Of[*api.NodePool](objs)...)
		}
	}
	return docs, nil
}

// template is the template of that name; nil: no file has it.
func (d scaleDocs) template(kind string) *api.KwokctlResource {
	for _, r := range slices.Backward(d.resources) {
		if r.Metadata.Name == kind {
			return r
		}
	}
	return nil
}

// jobs are those of the pools, or job itself when there are none. plain says that the command line gives a name or a
// number, which pools have themselves.
func (d scaleDocs) jobs(job scale.Job, flags []string, plain bool) ([]scale.Job, error) {
	pools := d.pools
	for _, text := range flags {
		p, err := scale.ParsePool(text)
		if err != nil {
			return nil, err
		}
		pools = append(pools, p)
	}
	if len(flags) == 0 && (plain || len(pools) == 0) {
		return []scale.Job{job}, nil // files may be there for their templates
	}
	if plain {
		return nil, errors.New("scale: with --pool there is neither NAME nor --replicas; a pool has its own name= and replicas=")
	}
	var jobs []scale.Job
	for _, p := range pools {
		if slices.ContainsFunc(jobs, func(j scale.Job) bool { return j.Name == p.Metadata.Name }) {
			return nil, fmt.Errorf("pool %s: there are two of that name", p.Metadata.Name)
		}
		j := job
		j.Name, j.Replicas, j.Pool = p.Metadata.Name, p.Replicas, p
		jobs = append(jobs, j)
	}
	return jobs, nil
}
