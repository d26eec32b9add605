package cluster

import (
	"fmt"
	"slices"
	"strings"

	"kwokctl/internal/api"
	"kwokctl/kustomize"
)

// stageManifests are the definitions of the kinds that the controller reads from the cluster, and the rights it needs
// when there may be stages for kinds other than nodes and pods.
func stageManifests(kinds []string, others []api.Object) ([]byte, error) {
	var all []byte
	kinds = slices.Clone(kinds)
	for _, c := range api.Of[*api.KwokConfiguration](others) { // the controller's own configuration may name them too
		kinds = append(kinds, c.Options.EnableCRDs...)
	}
	slices.Sort(kinds)
	for _, kind := range slices.Compact(kinds) {
		text, ok := kustomize.CRD(kind)
		if !ok {
			var known []string
			for _, k := range api.Kinds {
				if k.Version == api.Version {
					known = append(known, k.Name)
				}
			}
			return nil, fmt.Errorf("enable-crds: no kind %q; there are %s", kind, strings.Join(known, ", "))
		}
		all = append(append(all, "---\n"...), text...)
	}
	stages := api.Of[*api.Stage](others)
	inCluster := slices.Contains(kinds, "Stage")
	if inCluster && len(stages) > 0 {
		return nil, fmt.Errorf("%s: stage %s: with enable-crds Stage, Stages are objects in the cluster and no file may have any",
			stages[0].File, stages[0].Metadata.Name)
	}
	for _, o := range others {
		t := o.Type()
		_, metric := o.(*api.Metric)
		_, usage := o.(*api.ResourceUsage)
		if (metric || usage) && slices.Contains(kinds, t.Kind) {
			return nil, fmt.Errorf("%s %s: with enable-crds %[1]s, they are objects in the cluster and no file may have any", t.Kind, o.Meta().Name)
		}
	}
	if inCluster || slices.ContainsFunc(stages, unusual) {
		all = append(append(all, "---\n"...), kustomize.AnythingRBAC()...)
	}
	return all, nil
}

// unusual tells whether playing a stage needs more rights than a kubelet has.
func unusual(s *api.Stage) bool {
	ref := s.Spec.ResourceRef
	if ref.APIGroup != "v1" || ref.Kind != "Pod" && ref.Kind != "Node" {
		return true
	}
	return slices.ContainsFunc(s.Spec.Steps, func(st api.Step) bool {
		return st.Apply != nil || st.Patch != nil && st.Patch.Impersonation != nil
	})
}
