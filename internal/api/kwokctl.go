package api

// KwokctlConfiguration describes a cluster: what the user asked for in Options and, in a stored file, what was
// decided in Components.
type KwokctlConfiguration struct {
	TypeMeta   `json:",inline"`
	Metadata   ObjectMeta     `json:"metadata,omitzero"`
	Options    KwokctlOptions `json:"options,omitzero"`
	Components []Component    `json:"components,omitempty"`
	Status     KwokctlStatus  `json:"status,omitzero"`
}

// KwokctlStatus is written by kwokctl into the stored file of a cluster.
type KwokctlStatus struct {
	Version    string `json:"version,omitempty"`    // kwokctl version that made the cluster, no leading v
	Kubeconfig string `json:"kubeconfig,omitempty"` // file that the cluster's context was added to
}

// KwokctlOptions are the options of a cluster, by their names in the file. Ports are TCP; 0 means a free one.
type KwokctlOptions struct {
	Runtime                   string   `json:"runtime,omitempty"`
	BindAddress               string   `json:"bindAddress,omitempty"`
	EtcdPort                  int      `json:"etcdPort,omitempty"`
	EtcdUnsafeNoFsync         bool     `json:"etcdUnsafeNoFsync,omitempty"`
	KubeApiserverPort         int      `json:"kubeApiserverPort,omitempty"`
	KubeControllerManagerPort int      `json:"kubeControllerManagerPort,omitempty"`
	KubeSchedulerPort         int      `json:"kubeSchedulerPort,omitempty"`
	KwokControllerPort        int      `json:"kwokControllerPort,omitempty"`
	NodeLeaseDurationSeconds  int      `json:"nodeLeaseDurationSeconds,omitempty"`
	EnableCRDs                []string `json:"enableCRDs,omitempty"`
	Components                []string `json:"components,omitempty"`
	Enable                    []string `json:"enable,omitempty"`
	Disable                   []string `json:"disable,omitempty"`
	KubeApiserverCertSANs     []string `json:"kubeApiserverCertSANs,omitempty"`
	ExtraArgs                 []string `json:"extraArgs,omitempty"` // component=key=value
}

// Component is one component of a stored cluster.
type Component struct {
	Name    string   `json:"name"`
	Links   []string `json:"links,omitempty"` // components it needs
	Binary  string   `json:"binary,omitempty"`
	Image   string   `json:"image,omitempty"`
	Args    []string `json:"args,omitempty"`
	WorkDir string   `json:"workDir,omitempty"`
	Ports   []Port   `json:"ports,omitempty"`
	Envs    []Env    `json:"envs,omitempty"`
	Ready   string   `json:"ready,omitempty"` // URL that answers 200 when it is up
	Live    string   `json:"live,omitempty"`  // URL that answers 200 when it is not stuck
	Version string   `json:"version,omitempty"`
}

// Port is one TCP port of a Component.
type Port struct {
	Name     string `json:"name"`
	Port     int    `json:"port"`
	HostPort int    `json:"hostPort,omitempty"`
	Protocol string `json:"protocol,omitempty"`
}

// Env is one environment variable.
type Env struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}
