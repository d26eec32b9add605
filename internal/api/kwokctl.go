package api

// KwokctlConfiguration describes a cluster: what the user asked for in Options, ComponentsPatches and Components and,
// in a stored file, what was decided in all of them.
type KwokctlConfiguration struct {
	TypeMeta          `json:",inline"`
	Metadata          ObjectMeta          `json:"metadata,omitzero"`
	Options           KwokctlOptions      `json:"options,omitzero"`
	Components        []Component         `json:"components,omitempty"`
	ComponentsPatches []ComponentsPatches `json:"componentsPatches,omitempty"`
	Status            KwokctlStatus       `json:"status,omitzero"`

	raw []byte                    // as read, so that Settings can tell what was set
	at  func(field string) string // file and line of a field
}

// NewKwokctlConfiguration returns a configuration with the defaults of all options.
func NewKwokctlConfiguration() *KwokctlConfiguration {
	c := &KwokctlConfiguration{TypeMeta: TypeMeta{APIVersion: ConfigVersion, Kind: "KwokctlConfiguration"}}
	setDefaults(&c.Options)
	return c
}

// KwokctlStatus is written by kwokctl into the stored file of a cluster.
type KwokctlStatus struct {
	Version    string `json:"version,omitempty"`    // kwokctl version that made the cluster, no leading v
	Kubeconfig string `json:"kubeconfig,omitempty"` // file that the cluster's context was added to
	EngineHost string `json:"engineHost,omitempty"` // where its ports are published; "" = on this machine
}

// KwokctlOptions are the options of a cluster, by their names in the file. Options is the table that says what each
// is. Fields whose default is not their zero value are always written.
type KwokctlOptions struct {
	Runtime    string   `json:"runtime,omitempty"`
	Runtimes   []string `json:"runtimes,omitempty"`
	Components []string `json:"components,omitempty"`
	Enable     []string `json:"enable,omitempty"`
	Disable    []string `json:"disable,omitempty"`
	ExtraArgs  []string `json:"extraArgs,omitempty"` // component=key=value
	QuietPull  bool     `json:"quietPull,omitempty"`
	CacheDir   string   `json:"cacheDir,omitempty"`
	BinSuffix  string   `json:"binSuffix,omitempty"`

	DisableKubeScheduler         bool `json:"disableKubeScheduler,omitempty"`
	DisableKubeControllerManager bool `json:"disableKubeControllerManager,omitempty"`
	EnableMetricsServer          bool `json:"enableMetricsServer,omitempty"`

	BindAddress                        string   `json:"bindAddress,omitempty"`
	KubeApiserverPort                  int      `json:"kubeApiserverPort,omitempty"`
	KubeApiserverInsecurePort          int      `json:"kubeApiserverInsecurePort,omitempty"`
	InsecureKubeconfig                 bool     `json:"insecureKubeconfig,omitempty"`
	EtcdPort                           int      `json:"etcdPort,omitempty"`
	EtcdPeerPort                       int      `json:"etcdPeerPort,omitempty"`
	KwokControllerPort                 int      `json:"kwokControllerPort,omitempty"`
	KubeControllerManagerPort          int      `json:"kubeControllerManagerPort,omitempty"`
	KubeSchedulerPort                  int      `json:"kubeSchedulerPort,omitempty"`
	PrometheusPort                     int      `json:"prometheusPort,omitempty"`
	JaegerPort                         int      `json:"jaegerPort,omitempty"`
	JaegerOtlpGrpcPort                 int      `json:"jaegerOtlpGrpcPort,omitempty"`
	MetricsServerPort                  int      `json:"metricsServerPort,omitempty"`
	JobsetPort                         int      `json:"jobsetPort,omitempty"`
	JobsetHealthPort                   int      `json:"jobsetHealthPort,omitempty"`
	JobsetMetricsPort                  int      `json:"jobsetMetricsPort,omitempty"`
	LwsPort                            int      `json:"lwsPort,omitempty"`
	LwsHealthPort                      int      `json:"lwsHealthPort,omitempty"`
	LwsMetricsPort                     int      `json:"lwsMetricsPort,omitempty"`
	KueuePort                          int      `json:"kueuePort,omitempty"`
	KueueHealthPort                    int      `json:"kueueHealthPort,omitempty"`
	KueueMetricsPort                   int      `json:"kueueMetricsPort,omitempty"`
	DeschedulerPort                    int      `json:"deschedulerPort,omitempty"`
	SchedulerPluginsHealthPort         int      `json:"schedulerPluginsHealthPort,omitempty"`
	SchedulerPluginsMetricsPort        int      `json:"schedulerPluginsMetricsPort,omitempty"`
	KueuevizPort                       int      `json:"kueuevizPort,omitempty"`
	KueuevizBackendPort                int      `json:"kueuevizBackendPort,omitempty"`
	NodeReadinessControllerHealthPort  int      `json:"nodeReadinessControllerHealthPort,omitempty"`
	NodeReadinessControllerMetricsPort int      `json:"nodeReadinessControllerMetricsPort,omitempty"`
	DashboardPort                      int      `json:"dashboardPort,omitempty"`
	KubeApiserverCertSANs              []string `json:"kubeApiserverCertSANs,omitempty"`

	SecurePort          bool   `json:"securePort"`
	KubeAuthorization   bool   `json:"kubeAuthorization"`
	KubeAdmission       bool   `json:"kubeAdmission"`
	KubeFeatureGates    string `json:"kubeFeatureGates,omitempty"`
	KubeRuntimeConfig   string `json:"kubeRuntimeConfig,omitempty"`
	Audit               bool   `json:"audit,omitempty"`
	KubeAuditPolicy     string `json:"kubeAuditPolicy,omitempty"`
	KubeSchedulerConfig string `json:"kubeSchedulerConfig,omitempty"`
	DisableQPSLimits    bool   `json:"disableQPSLimits,omitempty"`
	Mode                string `json:"mode,omitempty"`

	EtcdPrefix           string `json:"etcdPrefix"`
	EtcdQuotaBackendSize string `json:"etcdQuotaBackendSize"`
	EtcdUnsafeNoFsync    bool   `json:"etcdUnsafeNoFsync,omitempty"`

	HeartbeatFactor                                         float64  `json:"heartbeatFactor"`
	NodeLeaseDurationSeconds                                int      `json:"nodeLeaseDurationSeconds"`
	NodeStatusUpdateFrequencyMilliseconds                   int64    `json:"nodeStatusUpdateFrequencyMilliseconds"`
	KubeControllerManagerNodeMonitorPeriodMilliseconds      int64    `json:"kubeControllerManagerNodeMonitorPeriodMilliseconds"`
	KubeControllerManagerNodeMonitorGracePeriodMilliseconds int64    `json:"kubeControllerManagerNodeMonitorGracePeriodMilliseconds"`
	EnableCRDs                                              []string `json:"enableCRDs,omitempty"`

	EtcdBinary                    string `json:"etcdBinary,omitempty"`
	KubeApiserverBinary           string `json:"kubeApiserverBinary,omitempty"`
	KubeControllerManagerBinary   string `json:"kubeControllerManagerBinary,omitempty"`
	KubeSchedulerBinary           string `json:"kubeSchedulerBinary,omitempty"`
	KwokControllerBinary          string `json:"kwokControllerBinary,omitempty"`
	MetricsServerBinary           string `json:"metricsServerBinary,omitempty"`
	PrometheusBinary              string `json:"prometheusBinary,omitempty"`
	JaegerBinary                  string `json:"jaegerBinary,omitempty"`
	JobsetBinary                  string `json:"jobsetBinary,omitempty"`
	NodeReadinessControllerBinary string `json:"nodeReadinessControllerBinary,omitempty"`
	DashboardBinary               string `json:"dashboardBinary,omitempty"`
	LwsBinary                     string `json:"lwsBinary,omitempty"`
	KueueBinary                   string `json:"kueueBinary,omitempty"`
	DeschedulerBinary             string `json:"deschedulerBinary,omitempty"`
	SchedulerPluginsBinary        string `json:"schedulerPluginsBinary,omitempty"`
	KindBinary                    string `json:"kindBinary,omitempty"`
	KubectlBinary                 string `json:"kubectlBinary,omitempty"`
	EtcdctlBinary                 string `json:"etcdctlBinary,omitempty"`
	EtcdutlBinary                 string `json:"etcdutlBinary,omitempty"`
	KectlBinary                   string `json:"kectlBinary,omitempty"`
	EtcdBinaryTar                 string `json:"etcdBinaryTar,omitempty"`
	PrometheusBinaryTar           string `json:"prometheusBinaryTar,omitempty"`
	JaegerBinaryTar               string `json:"jaegerBinaryTar,omitempty"`

	KubeBinaryPrefix          string `json:"kubeBinaryPrefix,omitempty"`
	EtcdBinaryPrefix          string `json:"etcdBinaryPrefix,omitempty"`
	KwokBinaryPrefix          string `json:"kwokBinaryPrefix,omitempty"`
	PrometheusBinaryPrefix    string `json:"prometheusBinaryPrefix,omitempty"`
	JaegerBinaryPrefix        string `json:"jaegerBinaryPrefix,omitempty"`
	MetricsServerBinaryPrefix string `json:"metricsServerBinaryPrefix,omitempty"`
	KindBinaryPrefix          string `json:"kindBinaryPrefix,omitempty"`

	EtcdImage                       string `json:"etcdImage,omitempty"`
	KubeApiserverImage              string `json:"kubeApiserverImage,omitempty"`
	KubeControllerManagerImage      string `json:"kubeControllerManagerImage,omitempty"`
	KubeSchedulerImage              string `json:"kubeSchedulerImage,omitempty"`
	KwokControllerImage             string `json:"kwokControllerImage,omitempty"`
	MetricsServerImage              string `json:"metricsServerImage,omitempty"`
	PrometheusImage                 string `json:"prometheusImage,omitempty"`
	JaegerImage                     string `json:"jaegerImage,omitempty"`
	DashboardImage                  string `json:"dashboardImage,omitempty"`
	KindNodeImage                   string `json:"kindNodeImage,omitempty"`
	KubectlImage                    string `json:"kubectlImage,omitempty"`
	KueueImage                      string `json:"kueueImage,omitempty"`
	KueuevizFrontendImage           string `json:"kueuevizFrontendImage,omitempty"`
	KueuevizBackendImage            string `json:"kueuevizBackendImage,omitempty"`
	JobsetImage                     string `json:"jobsetImage,omitempty"`
	LwsImage                        string `json:"lwsImage,omitempty"`
	DeschedulerImage                string `json:"deschedulerImage,omitempty"`
	SchedulerPluginsControllerImage string `json:"schedulerPluginsControllerImage,omitempty"`
	SchedulerPluginsSchedulerImage  string `json:"schedulerPluginsSchedulerImage,omitempty"`
	NodeReadinessControllerImage    string `json:"nodeReadinessControllerImage,omitempty"`

	KubeImagePrefix                    string `json:"kubeImagePrefix,omitempty"`
	EtcdImagePrefix                    string `json:"etcdImagePrefix,omitempty"`
	KwokImagePrefix                    string `json:"kwokImagePrefix,omitempty"`
	PrometheusImagePrefix              string `json:"prometheusImagePrefix,omitempty"`
	JaegerImagePrefix                  string `json:"jaegerImagePrefix,omitempty"`
	MetricsServerImagePrefix           string `json:"metricsServerImagePrefix,omitempty"`
	SchedulerPluginsImagePrefix        string `json:"schedulerPluginsImagePrefix,omitempty"`
	KueueImagePrefix                   string `json:"kueueImagePrefix,omitempty"`
	JobsetImagePrefix                  string `json:"jobsetImagePrefix,omitempty"`
	LwsImagePrefix                     string `json:"lwsImagePrefix,omitempty"`
	DeschedulerImagePrefix             string `json:"deschedulerImagePrefix,omitempty"`
	NodeReadinessControllerImagePrefix string `json:"nodeReadinessControllerImagePrefix,omitempty"`
	KindNodeImagePrefix                string `json:"kindNodeImagePrefix,omitempty"`

	KubeVersion                    string `json:"kubeVersion,omitempty"`
	EtcdVersion                    string `json:"etcdVersion,omitempty"`
	KwokVersion                    string `json:"kwokVersion,omitempty"`
	KindVersion                    string `json:"kindVersion,omitempty"`
	PrometheusVersion              string `json:"prometheusVersion,omitempty"`
	JaegerVersion                  string `json:"jaegerVersion,omitempty"`
	MetricsServerVersion           string `json:"metricsServerVersion,omitempty"`
	SchedulerPluginsVersion        string `json:"schedulerPluginsVersion,omitempty"`
	KueueVersion                   string `json:"kueueVersion,omitempty"`
	JobsetVersion                  string `json:"jobsetVersion,omitempty"`
	LwsVersion                     string `json:"lwsVersion,omitempty"`
	DeschedulerVersion             string `json:"deschedulerVersion,omitempty"`
	NodeReadinessControllerVersion string `json:"nodeReadinessControllerVersion,omitempty"`
	KectlVersion                   string `json:"kectlVersion,omitempty"`

	MetricsServerManifests           []string `json:"metricsServerManifests,omitempty"`
	KueueManifests                   []string `json:"kueueManifests,omitempty"`
	JobsetManifests                  []string `json:"jobsetManifests,omitempty"`
	LwsManifests                     []string `json:"lwsManifests,omitempty"`
	DeschedulerManifests             []string `json:"deschedulerManifests,omitempty"`
	SchedulerPluginsManifests        []string `json:"schedulerPluginsManifests,omitempty"`
	NodeReadinessControllerManifests []string `json:"nodeReadinessControllerManifests,omitempty"`
}

// ComponentsPatches changes a component that kwokctl describes.
type ComponentsPatches struct {
	Name         string     `json:"name"`
	ExtraArgs    []ExtraArg `json:"extraArgs,omitempty"`
	ExtraVolumes []Volume   `json:"extraVolumes,omitempty"`
	ExtraEnvs    []Env      `json:"extraEnvs,omitempty"`
}

// ExtraArg is a flag for a component: --key=value, or --key when there is no value.
type ExtraArg struct {
	Key      string  `json:"key"`
	Value    *string `json:"value,omitempty"`
	Override bool    `json:"override,omitempty"` // in place of the last flag of that name, if there is one
}

// Component is one component: of a stored cluster, or one that the user describes whole.
type Component struct {
	Name             string           `json:"name"`
	Links            []string         `json:"links,omitempty"` // components it needs
	Binary           string           `json:"binary,omitempty"`
	Image            string           `json:"image,omitempty"`
	Command          []string         `json:"command,omitempty"`
	User             string           `json:"user,omitempty"`
	Args             []string         `json:"args,omitempty"`
	WorkDir          string           `json:"workDir,omitempty"`
	Ports            []Port           `json:"ports,omitempty"`
	Envs             []Env            `json:"envs,omitempty"`
	Volumes          []Volume         `json:"volumes,omitempty"`
	Metric           *ComponentMetric `json:"metric,omitempty"`
	MetricsDiscovery *ComponentMetric `json:"metricsDiscovery,omitempty"`
	ManifestContents []string         `json:"manifestContents,omitempty"`
	Ready            string           `json:"ready,omitempty"` // URL that answers 200 when it is up
	Live             string           `json:"live,omitempty"`  // URL that answers 200 when it is not stuck
	Version          string           `json:"version,omitempty"`
}

// Port is one TCP port of a Component.
type Port struct {
	Name     string `json:"name,omitempty"`
	Port     int    `json:"port"`
	HostPort int    `json:"hostPort,omitempty"`
	Protocol string `json:"protocol,omitempty"`
}

// Env is one environment variable.
type Env struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Volume is a file or directory of the host inside a container.
type Volume struct {
	Name      string `json:"name,omitempty"`
	ReadOnly  bool   `json:"readOnly,omitempty"`
	HostPath  string `json:"hostPath,omitempty"`
	MountPath string `json:"mountPath,omitempty"`
	PathType  string `json:"pathType,omitempty"` // as of hostPath volumes in Kubernetes
}

// ComponentMetric is where a component has its metrics.
type ComponentMetric struct {
	Scheme             string `json:"scheme,omitempty"`
	Host               string `json:"host,omitempty"`
	Path               string `json:"path,omitempty"`
	CertPath           string `json:"certPath,omitempty"`
	KeyPath            string `json:"keyPath,omitempty"`
	InsecureSkipVerify bool   `json:"insecureSkipVerify,omitempty"`
}
