package components

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"kwokctl/internal/api"
)

// Processes tells whether the components of a cluster run as processes for sure, and Contained whether in containers.
// Neither, when that depends on what can be used.
func Processes(o *Options) bool {
	return o.Runtime == "binary" || o.Runtime == "" && len(o.Runtimes) == 0
}

// Contained is explained with Processes.
func Contained(o *Options) bool { return o.Runtime != "" && o.Runtime != "binary" }

// image is where an image of others is, for a component that is not embedded, or not in the version that is asked for.
// It is empty for the others.
func (row Component) image(o *Options, kube, etcd bool) string {
	at := func(prefix, standard, name, version string) string {
		return strings.TrimSuffix(cmp.Or(prefix, standard), "/") + "/" + name + ":" + version
	}
	plain := func(version string) string { return strings.TrimPrefix(version, "v") }
	const official = "registry.k8s.io"
	switch row.Name {
	case "kube-apiserver", "kube-controller-manager", "kube-scheduler":
		if names, _ := Names(o); row.Name == "kube-scheduler" && slices.Contains(names, "scheduler-plugins") {
			standard := at(o.SchedulerPluginsImagePrefix, official+"/scheduler-plugins", "kube-scheduler", "v"+schedulerPlugins().release(o))
			return cmp.Or(o.SchedulerPluginsSchedulerImage, standard)
		}
		if kube {
			return at(o.KubeImagePrefix, official, row.Name, "v"+plain(o.KubeVersion))
		}
	case "etcd":
		if etcd {
			return at(o.EtcdImagePrefix, official, "etcd", plain(o.EtcdVersion))
		}
	case "prometheus":
		return at(o.PrometheusImagePrefix, "docker.io/prom", "prometheus", "v"+plain(cmp.Or(o.PrometheusVersion, standardPrometheus)))
	case "metrics-server":
		return at(o.MetricsServerImagePrefix, official+"/metrics-server", "metrics-server", "v"+plain(cmp.Or(o.MetricsServerVersion, standardMetricsServer)))
	case "dashboard":
		return at("", "docker.io/kubernetesui", "dashboard", "v"+standardDashboard)
	case "kueueviz-backend", "kueueviz-frontend":
		return at(o.KueueImagePrefix, official+"/kueue", row.Name, "v"+kueue().release(o))
	case "jaeger":
		return at(o.JaegerImagePrefix, "docker.io/jaegertracing", "all-in-one", plain(cmp.Or(o.JaegerVersion, standardJaeger)))
	}
	for _, m := range managers() {
		if m.name == row.Name {
			return at(m.prefix(o), official+"/"+m.name, m.imageName, "v"+m.release(o))
		}
	}
	return ""
}

// locateImages puts the addresses of images into the options that name them.
func locateImages(o *Options, names []string, kube, etcd bool) {
	for _, row := range Table() {
		if row.Image != nil && *row.Image(o) == "" && slices.Contains(names, row.Name) {
			*row.Image(o) = row.image(o, kube, etcd)
		}
	}
}

// checkMounts refuses what no container can have.
func checkMounts(at string, volumes []api.Volume) error {
	for _, v := range volumes {
		switch {
		case v.HostPath == "":
			return fmt.Errorf("%s: volume %s: no hostPath", at, v.Name)
		case !strings.HasPrefix(v.MountPath, "/") || strings.Trim(v.MountPath, "/") == "" || strings.Contains(v.MountPath, ".."):
			return fmt.Errorf("%s: volume %s: mountPath %q: want a path that begins with /, below it", at, v.Name, v.MountPath)
		case !slices.Contains(mountTypes(), v.PathType):
			return fmt.Errorf("%s: volume %s: pathType %q: allowed are %s, and none", at, v.Name, v.PathType, strings.Join(mountTypes()[1:], ", "))
		}
	}
	return nil
}

// mountTypes are the types of paths that engines can tell apart, as far as they do.
func mountTypes() []string { return []string{"", "Directory", "DirectoryOrCreate", "File", "Socket"} }
