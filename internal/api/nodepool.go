package api

// NodePool is a number of nodes that are alike: what kwokctl scale adds to the nodes that a template makes.
type NodePool struct {
	TypeMeta `json:",inline"`
	Metadata ObjectMeta        `json:"metadata,omitzero"` // its name is the prefix of the nodes' names
	Replicas int               `json:"replicas"`
	Zones    []string          `json:"zones,omitempty"` // the nodes take turns
	Labels   map[string]string `json:"labels,omitempty"`
	Taints   []string          `json:"taints,omitempty"`   // as kubectl writes them: key=value:Effect
	Capacity map[string]any    `json:"capacity,omitempty"` // quantities by resource; allocatable is the same
}

// Meta returns the metadata.
func (p *NodePool) Meta() *ObjectMeta { return &p.Metadata }
