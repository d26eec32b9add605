// Package api holds every YAML kind of the project as one plain Go struct: load, default, normalise, save.
package api

// TypeMeta says what kind of document this is.
type TypeMeta struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"`
}

// Type returns the TypeMeta itself, so that every kind that embeds it has the method.
func (t *TypeMeta) Type() *TypeMeta { return t }

// ObjectMeta is what we read of an object's metadata; the rest is kept so that an exported object loads again.
type ObjectMeta struct {
	Name              string            `json:"name,omitempty"`
	GenerateName      string            `json:"generateName,omitempty"`
	Namespace         string            `json:"namespace,omitempty"`
	UID               string            `json:"uid,omitempty"`
	ResourceVersion   string            `json:"resourceVersion,omitempty"`
	SelfLink          string            `json:"selfLink,omitempty"`
	Generation        int64             `json:"generation,omitempty"`
	CreationTimestamp string            `json:"creationTimestamp,omitempty"`
	DeletionTimestamp string            `json:"deletionTimestamp,omitempty"`
	DeletionGrace     *int64            `json:"deletionGracePeriodSeconds,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
	Annotations       map[string]string `json:"annotations,omitempty"`
	Finalizers        []string          `json:"finalizers,omitempty"`
	OwnerReferences   []any             `json:"ownerReferences,omitempty"`
	ManagedFields     []any             `json:"managedFields,omitempty"`
}

// Object is one loaded document.
type Object interface {
	Type() *TypeMeta
	Meta() *ObjectMeta
}

// Raw is a document of a kind that is none of ours: kept as it is.
type Raw struct {
	TypeMeta `json:",inline"`
	Metadata ObjectMeta `json:"metadata,omitzero"`
	JSON     []byte     `json:"-"`
}

// Meta returns the metadata.
func (r *Raw) Meta() *ObjectMeta { return &r.Metadata }

// MarshalJSON returns the document as it was read.
func (r *Raw) MarshalJSON() ([]byte, error) { return r.JSON, nil }

// Meta returns the metadata.
func (c *KwokctlConfiguration) Meta() *ObjectMeta { return &c.Metadata }

// KwokctlResource is a template of objects for kwokctl scale.
type KwokctlResource struct {
	TypeMeta   `json:",inline"`
	Metadata   ObjectMeta     `json:"metadata,omitzero"`
	Parameters map[string]any `json:"parameters,omitempty"`
	Template   string         `json:"template,omitempty"`
}

// Meta returns the metadata.
func (r *KwokctlResource) Meta() *ObjectMeta { return &r.Metadata }

// Group/versions of our kinds.
const (
	ConfigVersion = "config.kwok.x-k8s.io/v1alpha1"
	Version       = "kwok.x-k8s.io/v1alpha1"
)

// Kind is a row of Kinds.
type Kind struct {
	Name       string
	Version    string // group/version
	Plural     string
	Namespaced bool
	New        func() Object // with defaults set
}

// Kinds is what exists, in one place. Do not modify.
var Kinds = []Kind{
	{Name: "KwokConfiguration", Version: ConfigVersion, Plural: "kwokconfigurations",
		New: func() Object { return NewKwokConfiguration() }},
	{Name: "KwokctlConfiguration", Version: ConfigVersion, Plural: "kwokctlconfigurations",
		New: func() Object { return NewKwokctlConfiguration() }},
	{Name: "KwokctlResource", Version: ConfigVersion, Plural: "kwokctlresources",
		New: func() Object { return &KwokctlResource{} }},
	{Name: "NodePool", Version: ConfigVersion, Plural: "nodepools", New: func() Object { return &NodePool{Replicas: 1} }},
	{Name: "Stage", Version: Version, Plural: "stages", New: func() Object { return &Stage{} }},
	{Name: "Metric", Version: Version, Plural: "metrics", New: func() Object { return &Metric{} }},
	{Name: "Exec", Version: Version, Plural: "execs", Namespaced: true, New: func() Object { return &Exec{} }},
	{Name: "ClusterExec", Version: Version, Plural: "clusterexecs", New: func() Object { return &Exec{} }},
	{Name: "Logs", Version: Version, Plural: "logs", Namespaced: true, New: func() Object { return &Logs{} }},
	{Name: "ClusterLogs", Version: Version, Plural: "clusterlogs", New: func() Object { return &Logs{} }},
	{Name: "Attach", Version: Version, Plural: "attaches", Namespaced: true, New: func() Object { return &Attach{} }},
	{Name: "ClusterAttach", Version: Version, Plural: "clusterattaches", New: func() Object { return &Attach{} }},
	{Name: "PortForward", Version: Version, Plural: "portforwards", Namespaced: true, New: func() Object { return &PortForward{} }},
	{Name: "ClusterPortForward", Version: Version, Plural: "clusterportforwards", New: func() Object { return &PortForward{} }},
	{Name: "ResourceUsage", Version: Version, Plural: "resourceusages", Namespaced: true, New: func() Object { return &ResourceUsage{} }},
	{Name: "ClusterResourceUsage", Version: Version, Plural: "clusterresourceusages", New: func() Object { return &ResourceUsage{} }},
}
