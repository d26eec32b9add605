// Package scale makes a cluster have a number of objects that come from one template.
package scale

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"kwokctl/internal/api"
	"kwokctl/internal/kube"
	"kwokctl/kustomize"
)

// Label marks the objects of one scale name; its value is that name.
const Label = "kwok.x-k8s.io/kwokctl-scale"

// indexAnnotation is the index that the template of a node of a pool was given, where it is not its serial number.
const indexAnnotation = "kwok.x-k8s.io/kwokctl-scale-index"

// maxReplicas is far beyond what one API server holds.
const maxReplicas = 10_000_000

// maxSerialLength is how many digits the largest serial number has.
const maxSerialLength = 18

// Job is one run of kwokctl scale.
type Job struct {
	Kind         string // metadata.name of the template
	Name         string // prefix of the objects' names; empty: Kind
	Namespace    string // empty: what the template says, else default; without meaning for cluster-wide kinds
	Replicas     int
	SerialLength int      // digits of the serial number in a name; 0: none, for one object at most
	Params       []string // jq programs, each changing the template's parameters
	Resource     *api.KwokctlResource
	Pool         *api.NodePool // what its nodes have besides; nil: nothing
	Version      string        // of kwokctl, for the template function Version
}

// Run creates what is missing or deletes the newest of what is too much, so that Replicas objects remain. Objects
// that are being deleted do not count. To run it again after an error completes the work. progress, which may be
// nil, is called after each object, one call at a time.
func Run(ctx context.Context, cfg *rest.Config, job Job, progress func(done, total int)) error {
	job.Name = cmp.Or(job.Name, job.Kind)
	if err := job.Check(); err != nil {
		return err
	}
	extra, err := compilePool(job.Pool)
	if err != nil {
		return err
	}
	if job.Resource == nil {
		r, err := builtIn(job.Kind)
		if err != nil {
			return err
		}
		job.Resource = r
	}
	params, err := parameters(job.Resource.Parameters, job.Params)
	if err != nil {
		return err
	}
	c, err := kube.New(cfg)
	if err != nil {
		return err
	}
	s := &scaler{client: c, job: job, params: params, extra: extra}
	if err := s.locate(ctx); err != nil {
		return err
	}
	present, err := s.list(ctx, Label+"="+job.Name)
	if err != nil {
		return err
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	live := slices.DeleteFunc(slices.Clone(present), func(o metav1.PartialObjectMetadata) bool {
		return o.DeletionTimestamp != nil
	})
	if surplus := len(live) - job.Replicas; surplus > 0 {
		return s.shrink(ctx, live, surplus, progress)
	}
	return s.grow(ctx, present, job.Replicas-len(live), progress)
}

// Check finds what no API server would accept, before any is asked.
func (j Job) Check() error {
	if _, err := compilePool(j.Pool); err != nil {
		return err
	}
	if j.Resource == nil {
		if _, err := builtIn(j.Kind); err != nil {
			return err
		}
	} else {
		params, err := parameters(j.Resource.Parameters, j.Params)
		if err == nil {
			_, err = newRenderer(j, params, nil)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case j.Replicas < 0 || j.Replicas > maxReplicas:
		return fmt.Errorf("scale %s: replicas %d: must be 0 to %d", j.Name, j.Replicas, maxReplicas)
	case j.SerialLength < 0 || j.SerialLength > maxSerialLength:
		return fmt.Errorf("scale %s: serial length %d: must be 0 to %d", j.Name, j.SerialLength, maxSerialLength)
	case j.SerialLength == 0 && j.Replicas > 1:
		return fmt.Errorf("scale %s: serial length 0: names would be equal; allowed for 1 replica, not %d", j.Name, j.Replicas)
	}
	for _, bad := range [][]string{
		validation.IsDNS1123Subdomain(j.objectName(max(j.Replicas-1, 0))),
		validation.IsValidLabelValue(j.Name),
	} {
		if len(bad) > 0 {
			return fmt.Errorf("scale %q: bad name: %s", j.Name, bad[0])
		}
	}
	return nil
}

// objectName is the name of the object with this serial number.
func (j Job) objectName(serial int) string {
	if j.SerialLength == 0 {
		return j.Name
	}
	digits := strconv.Itoa(serial)
	return j.Name + "-" + strings.Repeat("0", max(j.SerialLength-len(digits), 0)) + digits
}

// Kinds are the templates that we ship.
func Kinds() []string {
	all, _ := kustomize.ScaleResources() // they are part of the program
	return slices.Sorted(maps.Keys(all))
}

// builtIn is the template that we ship for a kind.
func builtIn(kind string) (*api.KwokctlResource, error) {
	all, err := kustomize.ScaleResources()
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	text, ok := all[kind]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(all)), ", ")
		return nil, fmt.Errorf("scale %s: no KwokctlResource of that name; there are %s", kind, known)
	}
	objects, err := api.Load(bytes.NewReader(text), kind+".yaml")
	if err != nil {
		return nil, fmt.Errorf("read template %s: %w", kind, err)
	}
	for _, r := range api.Of[*api.KwokctlResource](objects) {
		return r, nil
	}
	return nil, errors.New("read template " + kind + ": no KwokctlResource in it")
}
