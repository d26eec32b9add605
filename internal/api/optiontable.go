package api

import "slices"

// DefaultComponents is what a cluster consists of when nobody says otherwise.
func DefaultComponents() []string {
	return []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller"}
}

// Options returns the table of all options of a cluster: the only place that knows their flags, variables, fields and
// defaults. Flags of create cluster, environment variables, checks and docs/reference follow from it.
func Options() []Option {
	return slices.Concat(setOptions(), portOptions(), kubeOptions(), beatOptions(), programOptions(), imageOptions(),
		prefixOptions(), versionOptions(), manifestOptions())
}

// setOptions say what the cluster is made of.
func setOptions() []Option {
	return []Option{
		{Field: "runtime", Flag: "runtime", Env: "RUNTIME", Unset: "binary", Help: "what runs the components: binary, docker or podman"},
		{Field: "runtimes", Unset: "binary", Help: "runtimes to choose from when runtime is not set"},
		{Field: "components", Flag: "components", Default: DefaultComponents(), Help: "components of the cluster"},
		{Field: "enable", Flag: "enable", Help: "components to add"},
		{Field: "disable", Flag: "disable", Help: "components to leave out"},
		{Field: "extraArgs", Flag: "extra-args", Form: Repeated, Help: "component=key=value: a flag for a component, in place of ours of that name"},
		{Field: "disableKubeScheduler", Flag: "disable-kube-scheduler", Env: "DISABLE_KUBE_SCHEDULER", Instead: "--disable kube-scheduler", Help: "leave out kube-scheduler"},
		{Field: "disableKubeControllerManager", Flag: "disable-kube-controller-manager", Env: "DISABLE_KUBE_CONTROLLER_MANAGER", Instead: "--disable kube-controller-manager", Help: "leave out kube-controller-manager"},
		{Field: "enableMetricsServer", Flag: "enable-metrics-server", Instead: "--enable metrics-server", Help: "add metrics-server"},
		{Field: "enableCRDs", Flag: "enable-crds", Help: "kinds that the controller reads from the cluster: their definitions are installed"},
		{Field: "quietPull", Flag: "quiet-pull", Env: "QUIET_PULL", Help: "show no progress of downloads"},
		{Field: "cacheDir", Form: Path, Unset: "cache in the work directory", Help: "where downloads are kept"},
		{Field: "binSuffix", Help: "ending of the names of programs that are downloaded"},
	}
}

// portOptions say where components are reached. Ports are on 127.0.0.1.
func portOptions() []Option {
	const free, inner, off, socket = "a free one", "a free one; in containers, on their network alone", "off", "a unix socket only"
	inside := func(field, whose string) Option {
		return Option{Field: field, Form: PortNumber, Unset: free, Help: "port of " + whose}
	}
	return []Option{
		{Field: "bindAddress", Unset: "127.0.0.1", Help: "address that components listen on"},
		{Field: "kubeApiserverPort", Flag: "kube-apiserver-port", Env: "KUBE_APISERVER_PORT", Form: PortNumber, Unset: free, Help: "port of kube-apiserver"},
		{Field: "kubeApiserverInsecurePort", Flag: "kube-apiserver-insecure-port", Env: "KUBE_APISERVER_INSECURE_PORT", Form: PortNumber, Unset: off, Help: "port of a proxy to kube-apiserver that makes every local caller its administrator"},
		{Field: "insecureKubeconfig", Help: "let the context in your kubeconfig use the insecure port"},
		{Field: "etcdPort", Flag: "etcd-port", Env: "ETCD_PORT", Form: PortNumber, Unset: socket, Help: "port of etcd, with mutual TLS"},
		{Field: "etcdPeerPort", Form: PortNumber, Unset: socket, Help: "0: etcd has no peers"},
		{Field: "kwokControllerPort", Flag: "controller-port", Env: "CONTROLLER_PORT", Form: PortNumber, Unset: inner, Help: "port of kwok-controller"},
		{Field: "kubeControllerManagerPort", Flag: "kube-controller-manager-port", Env: "KUBE_CONTROLLER_MANAGER_PORT", Form: PortNumber, Unset: inner, Help: "port of kube-controller-manager"},
		{Field: "kubeSchedulerPort", Flag: "kube-scheduler-port", Env: "KUBE_SCHEDULER_PORT", Form: PortNumber, Unset: inner, Help: "port of kube-scheduler"},
		{Field: "prometheusPort", Flag: "prometheus-port", Env: "PROMETHEUS_PORT", Form: PortNumber, Unset: off, Help: "port of prometheus; it is added to the cluster"},
		{Field: "jaegerPort", Flag: "jaeger-port", Env: "JAEGER_PORT", Form: PortNumber, Unset: off, Help: "port of jaeger; it is added to the cluster"},
		{Field: "jaegerOtlpGrpcPort", Form: PortNumber, Unset: free, Help: "port where jaeger takes traces"},
		{Field: "metricsServerPort", Form: PortNumber, Unset: free, Help: "port of metrics-server"},
		inside("jobsetPort", "jobset's webhooks"), inside("jobsetHealthPort", "jobset's health"), inside("jobsetMetricsPort", "jobset's metrics"),
		inside("lwsPort", "lws' webhooks"), inside("lwsHealthPort", "lws' health"), inside("lwsMetricsPort", "lws' metrics"),
		inside("kueuePort", "kueue's webhooks"), inside("kueueHealthPort", "kueue's health"), inside("kueueMetricsPort", "kueue's metrics"),
		inside("deschedulerPort", "descheduler"), inside("schedulerPluginsHealthPort", "scheduler-plugins' health"),
		inside("schedulerPluginsMetricsPort", "scheduler-plugins' metrics"),
		inside("nodeReadinessControllerHealthPort", "node-readiness-controller's health"),
		inside("nodeReadinessControllerMetricsPort", "node-readiness-controller's metrics"), inside("kueuevizBackendPort", "kueueviz' own API"),
		{Field: "kueuevizPort", Flag: "kueueviz-port", Form: PortNumber, Unset: off, Help: "port of kueueviz; it and kueue are added to the cluster"},
		{Field: "dashboardPort", Flag: "dashboard-port", Env: "DASHBOARD_PORT", Form: PortNumber, Unset: off, Help: "port of the dashboard; it is added to the cluster"},
		{Field: "kubeApiserverCertSANs", Help: "further names and addresses in the certificate of kube-apiserver"},
	}
}

// kubeOptions change how the programs of Kubernetes and etcd work.
func kubeOptions() []Option {
	return []Option{
		{Field: "securePort", Flag: "secure-port", Env: "SECURE_PORT", Default: true, Help: "serve HTTPS"},
		{Field: "kubeAuthorization", Flag: "kube-authorization", Env: "KUBE_AUTHORIZATION", Default: true, Unset: "as securePort", Help: "authorize with RBAC"},
		{Field: "kubeAdmission", Flag: "kube-admission", Env: "KUBE_ADMISSION", Default: true, Unset: "as kubeAuthorization", Help: "run admission plugins"},
		{Field: "kubeFeatureGates", Flag: "kube-feature-gates", Env: "KUBE_FEATURE_GATES", Help: "feature gates of Kubernetes: Name=true,Other=false"},
		{Field: "kubeRuntimeConfig", Flag: "kube-runtime-config", Env: "KUBE_RUNTIME_CONFIG", Help: "API versions to turn on or off: api/alpha=true,apps/v1=false"},
		{Field: "audit", Flag: "audit", Help: "log every request to kube-apiserver, for kwokctl audit"},
		{Field: "kubeAuditPolicy", Flag: "kube-audit-policy", Env: "KUBE_AUDIT_POLICY", Form: Path, Help: "what to log of which request, in place of what kwokctl audit policy prints; it turns the audit log on"},
		{Field: "kubeSchedulerConfig", Flag: "kube-scheduler-config", Env: "KUBE_SCHEDULER_CONFIG", Form: Path, Help: "KubeSchedulerConfiguration for kube-scheduler"},
		{Field: "mode", Instead: "--kube-feature-gates and --kube-runtime-config", Help: "without effect"},
		{Field: "disableQPSLimits", Flag: "disable-qps-limits", Help: "let kube-apiserver take any number of requests at once"},
		{Field: "etcdPrefix", Flag: "etcd-prefix", Default: "/registry", Help: "what the keys of all objects in etcd begin with"},
		{Field: "etcdQuotaBackendSize", Flag: "etcd-quota-backend-size", Default: "8Gi", Help: "how large etcd's database may grow"},
		{Field: "etcdUnsafeNoFsync", Flag: "etcd-unsafe-no-fsync", Help: "do not wait for the disk: faster, and a power loss may lose the cluster"},
	}
}

// beatOptions are the times of nodes. All but the factor are multiplied by it.
func beatOptions() []Option {
	return []Option{
		{Field: "heartbeatFactor", Flag: "heartbeat-factor", Default: 5.0, Help: "stretches heartbeats of nodes and the times of who watches them; 0 and 1 leave them"},
		{Field: "nodeLeaseDurationSeconds", Flag: "node-lease-duration-seconds", Form: Natural, Default: 40, Help: "how long a node lease is valid, before the heartbeat factor; 0 for no leases"},
		{Field: "nodeStatusUpdateFrequencyMilliseconds", Form: Natural, Default: 10000, Help: "how often nodes report their status, before the heartbeat factor"},
		{Field: "kubeControllerManagerNodeMonitorPeriodMilliseconds", Form: Natural, Default: 5000, Help: "how often kube-controller-manager looks at nodes, before the heartbeat factor"},
		{Field: "kubeControllerManagerNodeMonitorGracePeriodMilliseconds", Form: Natural, Default: 40000, Help: "how long a silent node counts as healthy, before the heartbeat factor"},
	}
}

// programOptions are programs in place of the embedded ones, and those that are not embedded.
func programOptions() []Option {
	row := func(field, flag, env, what string) Option {
		return Option{Field: field, Flag: flag, Env: env, Form: Program, Help: what}
	}
	tar := func(field, flag, env, instead string) Option {
		return Option{Field: field, Flag: flag, Env: env, Form: Program, Instead: instead, Help: "archive that holds it"}
	}
	return []Option{
		row("etcdBinary", "etcd-binary", "ETCD_BINARY", "etcd, in place of the embedded one"),
		row("kubeApiserverBinary", "kube-apiserver-binary", "KUBE_APISERVER_BINARY", "kube-apiserver, in place of the embedded one"),
		row("kubeControllerManagerBinary", "kube-controller-manager-binary", "KUBE_CONTROLLER_MANAGER_BINARY", "kube-controller-manager, in place of the embedded one"),
		row("kubeSchedulerBinary", "kube-scheduler-binary", "KUBE_SCHEDULER_BINARY", "kube-scheduler, in place of the embedded one"),
		row("kwokControllerBinary", "kwok-controller-binary", "CONTROLLER_BINARY", "kwok, in place of the embedded one"),
		row("metricsServerBinary", "metrics-server-binary", "METRICS_SERVER_BINARY", "metrics-server"),
		row("jobsetBinary", "jobset-binary", "JOBSET_BINARY", "jobset"),
		row("lwsBinary", "lws-binary", "LWS_BINARY", "lws"),
		row("kueueBinary", "kueue-binary", "KUEUE_BINARY", "kueue"),
		row("deschedulerBinary", "descheduler-binary", "DESCHEDULER_BINARY", "descheduler"),
		row("nodeReadinessControllerBinary", "node-readiness-controller-binary", "NODE_READINESS_CONTROLLER_BINARY", "node-readiness-controller"),
		row("dashboardBinary", "dashboard-binary", "DASHBOARD_BINARY", "the dashboard, of a version that is one program (2.x)"),
		row("schedulerPluginsBinary", "scheduler-plugins-binary", "SCHEDULER_PLUGINS_BINARY", "the controller of scheduler-plugins"),
		row("prometheusBinary", "prometheus-binary", "PROMETHEUS_BINARY", "prometheus"),
		row("jaegerBinary", "jaeger-binary", "JAEGER_BINARY", "jaeger"),
		{Field: "kindBinary", Flag: "kind-binary", Env: "KIND_BINARY", Help: "without effect"},
		row("kubectlBinary", "", "KUBECTL_BINARY", "kubectl, in place of the embedded one"),
		row("etcdctlBinary", "", "", "etcdctl, in place of the embedded one"),
		row("etcdutlBinary", "", "", "etcdutl, in place of the embedded one"),
		row("kectlBinary", "", "", "kectl, in place of the embedded one"),
		tar("etcdBinaryTar", "etcd-binary-tar", "ETCD_BINARY_TAR", "--etcd-binary"),
		tar("prometheusBinaryTar", "prometheus-binary-tar", "PROMETHEUS_BINARY_TAR", "--prometheus-binary"),
		tar("jaegerBinaryTar", "jaeger-binary-tar", "JAEGER_BINARY_TAR", "--jaeger-binary"),
	}
}

// imageOptions are for runtimes of containers; processes have no use for them.
func imageOptions() []Option {
	row := func(field, flag, env string) Option {
		return Option{Field: field, Flag: flag, Env: env, Help: "image, for runtimes of containers"}
	}
	return []Option{
		row("etcdImage", "etcd-image", "ETCD_IMAGE"),
		row("kubeApiserverImage", "kube-apiserver-image", "KUBE_APISERVER_IMAGE"),
		row("kubeControllerManagerImage", "kube-controller-manager-image", "KUBE_CONTROLLER_MANAGER_IMAGE"),
		row("kubeSchedulerImage", "kube-scheduler-image", "KUBE_SCHEDULER_IMAGE"),
		row("kwokControllerImage", "kwok-controller-image", "CONTROLLER_IMAGE"),
		row("metricsServerImage", "metrics-server-image", "METRICS_SERVER_IMAGE"),
		row("prometheusImage", "prometheus-image", "PROMETHEUS_IMAGE"),
		row("jaegerImage", "jaeger-image", "JAEGER_IMAGE"),
		row("dashboardImage", "dashboard-image", "DASHBOARD_IMAGE"),
		row("kindNodeImage", "kind-node-image", "KIND_NODE_IMAGE"),
		row("kubectlImage", "", "KUBECTL_IMAGE"),
		row("kueueImage", "", "KUEUE_IMAGE"),
		row("kueuevizFrontendImage", "", "KUEUEVIZ_FRONTEND_IMAGE"),
		row("kueuevizBackendImage", "", "KUEUEVIZ_BACKEND_IMAGE"),
		row("jobsetImage", "", "JOBSET_IMAGE"),
		row("lwsImage", "", "LWS_IMAGE"),
		row("deschedulerImage", "", "DESCHEDULER_IMAGE"),
		row("schedulerPluginsControllerImage", "", "SCHEDULER_PLUGINS_CONTROLLER_IMAGE"),
		row("schedulerPluginsSchedulerImage", "", "SCHEDULER_PLUGINS_SCHEDULER_IMAGE"),
		row("nodeReadinessControllerImage", "", "NODE_READINESS_CONTROLLER_IMAGE"),
	}
}

// prefixOptions are mirrors.
func prefixOptions() []Option {
	binary := func(field, env string) Option {
		return Option{Field: field, Env: env + "_PREFIX", Help: "where programs are downloaded from"}
	}
	image := func(field, env string) Option {
		return Option{Field: field, Env: env + "_PREFIX", Help: "where images are pulled from, for runtimes of containers"}
	}
	return []Option{
		binary("kubeBinaryPrefix", "KUBE_BINARY"), binary("etcdBinaryPrefix", "ETCD_BINARY"), binary("kwokBinaryPrefix", "BINARY"),
		binary("prometheusBinaryPrefix", "PROMETHEUS_BINARY"), binary("jaegerBinaryPrefix", "JAEGER_BINARY"),
		binary("metricsServerBinaryPrefix", "METRICS_SERVER_BINARY"), binary("kindBinaryPrefix", "KIND_BINARY"),
		image("kubeImagePrefix", "KUBE_IMAGE"), image("etcdImagePrefix", "ETCD_IMAGE"), image("kwokImagePrefix", "IMAGE"),
		image("prometheusImagePrefix", "PROMETHEUS_IMAGE"), image("jaegerImagePrefix", "JAEGER_IMAGE"),
		image("metricsServerImagePrefix", "METRICS_SERVER_IMAGE"), image("schedulerPluginsImagePrefix", "SCHEDULER_PLUGINS_IMAGE"),
		image("kueueImagePrefix", "KUEUE_IMAGE"), image("jobsetImagePrefix", "JOBSET_IMAGE"), image("lwsImagePrefix", "LWS_IMAGE"),
		image("deschedulerImagePrefix", "DESCHEDULER_IMAGE"), image("nodeReadinessControllerImagePrefix", "NODE_READINESS_IMAGE"),
		image("kindNodeImagePrefix", "KIND_NODE_IMAGE"),
	}
}

// versionOptions name versions of what is fetched.
func versionOptions() []Option {
	row := func(field, env string) Option {
		return Option{Field: field, Env: env, Help: "version of what is fetched"}
	}
	kube := row("kubeVersion", "KUBE_VERSION")
	kube.Flag, kube.Unset, kube.Help = "kube-version", "the embedded one", "version of Kubernetes; another minor than the embedded one is fetched"
	etcd := row("etcdVersion", "ETCD_VERSION")
	etcd.Unset, etcd.Help = "the embedded one", "version of etcd"
	kwok := row("kwokVersion", "VERSION")
	kwok.Unset, kwok.Help = "that of this program", "version of kwok"
	return []Option{
		kube, etcd, kwok, row("kindVersion", "KIND_VERSION"), row("prometheusVersion", "PROMETHEUS_VERSION"),
		row("jaegerVersion", "JAEGER_VERSION"), row("metricsServerVersion", "METRICS_SERVER_VERSION"),
		row("schedulerPluginsVersion", "SCHEDULER_PLUGINS_VERSION"), row("kueueVersion", "KUEUE_VERSION"),
		row("jobsetVersion", "JOBSET_VERSION"), row("lwsVersion", "LWS_VERSION"), row("deschedulerVersion", "DESCHEDULER_VERSION"),
		row("nodeReadinessControllerVersion", "NODE_READINESS_VERSION"), row("kectlVersion", ""),
	}
}

// manifestOptions are what optional components bring along.
func manifestOptions() []Option {
	row := func(field, component, env string) Option {
		return Option{Field: field, Flag: component + "-manifests", Env: env + "_MANIFESTS",
			Unset: "those of its release", Help: "manifests of " + component + ": files, directories with a kustomization, or https URLs"}
	}
	metrics := Option{Field: "metricsServerManifests", Env: "METRICS_SERVER_MANIFESTS", Help: "without effect"}
	return []Option{
		metrics, row("kueueManifests", "kueue", "KUEUE"), row("jobsetManifests", "jobset", "JOBSET"), row("lwsManifests", "lws", "LWS"),
		row("deschedulerManifests", "descheduler", "DESCHEDULER"), row("schedulerPluginsManifests", "scheduler-plugins", "SCHEDULER_PLUGINS"),
		row("nodeReadinessControllerManifests", "node-readiness-controller", "NODE_READINESS"),
	}
}
