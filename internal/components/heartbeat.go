package components

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"kwokctl/internal/api"
	"kwokctl/kustomize"
)

// heartbeatStages returns the stages of nodes when their status is to be refreshed more seldom than by the built-in
// ones, else nothing. Who brings stages of nodes decides that there.
func heartbeatStages(o *Options, others []api.Object) ([]api.Object, error) {
	isNode := func(s *api.Stage) bool { return s.Spec.ResourceRef.Kind == "Node" }
	if slices.ContainsFunc(api.Of[*api.Stage](others), isNode) || slices.Contains(o.EnableCRDs, "Stage") {
		return nil, nil
	}
	set := "node/heartbeat"
	if o.NodeLeaseDurationSeconds > 0 {
		set = "node/heartbeat-with-lease"
	}
	beats, err := builtIn(set)
	if err != nil {
		return nil, err
	}
	slower := false
	for _, s := range api.Of[*api.Stage](beats) {
		d, every := s.Spec.Delay, o.NodeStatusUpdateFrequencyMilliseconds
		if d == nil || d.DurationMilliseconds == nil || *d.DurationMilliseconds >= every {
			continue
		}
		slower = true
		*d.DurationMilliseconds = every
		if late := every + every/10; d.JitterDurationMilliseconds == nil || *d.JitterDurationMilliseconds < late {
			d.JitterDurationMilliseconds = &late
		}
	}
	if !slower {
		return nil, nil
	}
	first, err := builtIn("node/fast")
	return append(first, beats...), err
}

func builtIn(set string) ([]api.Object, error) {
	all, err := kustomize.Stages(set)
	if err != nil {
		return nil, fmt.Errorf("read built-in stages: %w", err)
	}
	var stages []api.Object
	for _, name := range slices.Sorted(maps.Keys(all)) {
		objs, err := api.Load(bytes.NewReader(all[name]), set+"/"+name)
		if err != nil {
			return nil, err
		}
		stages = append(stages, objs...)
	}
	return stages, nil
}
