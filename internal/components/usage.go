package components

import (
	"bytes"
	"slices"

	"kwokctl/internal/api"
	"kwokctl/kustomize"
)

// Objects returns what the controller is to read besides what the user brings.
func Objects(o *Options, others []api.Object) ([]api.Object, error) {
	beats, err := heartbeatStages(o, others)
	if err != nil {
		return nil, err
	}
	usage, err := usageObjects(o, others)
	return append(beats, usage...), err
}

// usageObjects returns what metrics-server needs to find in the nodes, where the user brings none: a Metric, and a
// usage of all containers.
func usageObjects(o *Options, others []api.Object) ([]api.Object, error) {
	names, err := Names(o)
	if err != nil || !slices.Contains(names, "metrics-server") || !slices.Contains(names, "kwok-controller") {
		return nil, err
	}
	var all []api.Object
	for _, d := range []struct {
		kind, name string
		text       []byte
	}{
		{"Metric", "metrics-resource", kustomize.MetricsResource()},
		{"ClusterResourceUsage", "usage-from-annotation", kustomize.UsageFromAnnotation()},
	} {
		brought := slices.ContainsFunc(others, func(o api.Object) bool { return o.Type().Kind == d.kind })
		if brought || slices.Contains(o.EnableCRDs, d.kind) {
			continue
		}
		objs, err := api.Load(bytes.NewReader(d.text), d.name)
		if err != nil {
			return nil, err
		}
		all = append(all, objs...)
	}
	return all, nil
}
