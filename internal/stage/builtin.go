package stage

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"kwokctl/internal/api"
	"kwokctl/kustomize"
)

// BuiltIn returns the stages that play the kinds for which nobody gave any. With leases, nodes need their status
// refreshed only now and then.
func BuiltIn(leases bool) ([]*api.Stage, error) {
	heartbeat := "node/heartbeat"
	if leases {
		heartbeat = "node/heartbeat-with-lease"
	}
	var all []*api.Stage
	for _, set := range []string{"node/fast", heartbeat, "pod/fast", "volume/dynamic"} {
		stages, err := loadSet(set)
		if err != nil {
			return nil, err
		}
		all = append(all, stages...)
	}
	return all, nil
}

// loadSet returns the stages of a set that is shipped, such as pod/fast.
func loadSet(set string) ([]*api.Stage, error) {
	files, err := kustomize.Stages(set)
	if err != nil {
		return nil, fmt.Errorf("read built-in stages: %w", err)
	}
	var all []*api.Stage
	for _, name := range slices.Sorted(maps.Keys(files)) {
		objs, err := api.Load(strings.NewReader(string(files[name])), set+"/"+name)
		if err != nil {
			return nil, err
		}
		all = append(all, api.Of[*api.Stage](objs)...)
	}
	return all, nil
}
