package components

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The minor versions that are linked in, and the oldest whose flags are those that the components get.
const (
	embeddedKube = 36
	embeddedEtcd = 6
	oldestKube   = 22
)

// The versions of components that are not embedded, unless others are asked for.
const (
	standardPrometheus    = "3.12.0"
	standardJaeger        = "1.76.0"
	standardMetricsServer = "0.8.1"
	standardDashboard     = "2.7.0" // the last that is one program
)

// Embedded is the version of Kubernetes that needs no network.
func Embedded() string { return fmt.Sprintf("1.%d", embeddedKube) }

// EmbeddedEtcd is the version of etcd that needs no network.
func EmbeddedEtcd() string { return fmt.Sprintf("3.%d", embeddedEtcd) }

// kubeMinor is the minor version of Kubernetes that is asked for.
func kubeMinor(o *Options) int {
	_, minor, _, err := parseVersion(o.KubeVersion)
	if o.KubeVersion == "" || err != nil {
		return embeddedKube
	}
	return minor
}

// IsEmbedded tells whether a component of Kubernetes is the embedded one, given what the user has named in its place.
func IsEmbedded(o *Options, binary, image string) bool {
	return binary == "" && image == "" && kubeMinor(o) == embeddedKube
}

// parseVersion reads major.minor, and the patch if it is there (else -1).
func parseVersion(text string) (major, minor, patch int, err error) {
	patch = -1
	parts := strings.SplitN(strings.TrimPrefix(text, "v"), ".", 3)
	numbers := []*int{&major, &minor, &patch}
	for i, part := range parts {
		if i == 2 {
			part, _, _ = strings.Cut(part, "-") // as in 1.37.0-rc.1
		}
		if *numbers[i], err = strconv.Atoi(part); err != nil || *numbers[i] < 0 {
			return 0, 0, 0, fmt.Errorf("%q: want a version such as 1.%d.0", text, embeddedKube)
		}
	}
	if len(parts) < 2 {
		return 0, 0, 0, fmt.Errorf("%q: want a version such as 1.%d.0", text, embeddedKube)
	}
	return major, minor, patch, nil
}

// Locate puts the addresses of programs, or of images, into the options that name them: of those that the versions ask for, and that
// are neither embedded nor the user's own.
func Locate(o *Options, goos, goarch string) error {
	names, err := Names(o)
	if err != nil {
		return err
	}
	kube, err := another("kubeVersion", o.KubeVersion, 1, embeddedKube)
	if err != nil {
		return err
	}
	if kube && kubeMinor(o) < oldestKube {
		return fmt.Errorf("kubeVersion %s: the oldest that can be run is 1.%d", o.KubeVersion, oldestKube)
	}
	etcd, err := another("etcdVersion", o.EtcdVersion, 3, embeddedEtcd)
	if err != nil {
		return err
	}
	if Contained(o) {
		locateImages(o, names, kube, etcd)
		return nil
	}
	for _, old := range []struct {
		program     *string
		tar, member string
	}{
		{&o.EtcdBinary, o.EtcdBinaryTar, "etcd"}, {&o.PrometheusBinary, o.PrometheusBinaryTar, "prometheus"},
		{&o.JaegerBinary, o.JaegerBinaryTar, "jaeger-all-in-one"},
	} {
		if *old.program == "" && old.tar != "" {
			*old.program = old.tar + "#" + old.member
		}
	}
	for _, row := range Table() {
		if row.Binary == nil || *row.Binary(o) != "" || !slices.Contains(names, row.Name) {
			continue
		}
		switch row.Name {
		case "kube-apiserver", "kube-controller-manager", "kube-scheduler":
			if kube {
				*row.Binary(o) = kubeAddress(o, goos, goarch) + "/" + row.Name
			}
		case "etcd":
			if etcd {
				*row.Binary(o) = etcdAddress(o, goos, goarch)
			}
		default:
			*row.Binary(o) = optionalAddress(o, row.Name, goos, goarch)
		}
	}
	return nil
}

// optionalAddress is where the project of an optional component publishes its program; "" for those of which there is
// no such place.
func optionalAddress(o *Options, name, goos, goarch string) string {
	for _, p := range []struct {
		name, version, standard, prefix, home, file string
	}{
		{"prometheus", o.PrometheusVersion, standardPrometheus, o.PrometheusBinaryPrefix,
			"https://github.com/prometheus/prometheus/releases/download/v%[1]s", "prometheus-%[1]s.%[2]s-%[3]s.tar.gz#prometheus"},
		{"jaeger", o.JaegerVersion, standardJaeger, o.JaegerBinaryPrefix,
			"https://github.com/jaegertracing/jaeger/releases/download/v%[1]s", "jaeger-%[1]s-%[2]s-%[3]s.tar.gz#jaeger-all-in-one"},
		{"metrics-server", o.MetricsServerVersion, standardMetricsServer, o.MetricsServerBinaryPrefix,
			"https://github.com/kubernetes-sigs/metrics-server/releases/download/v%[1]s", "metrics-server-%[2]s-%[3]s"},
	} {
		if p.name == name {
			dir := strings.TrimSuffix(cmp.Or(p.prefix, p.home), "/")
			return replace(dir+"/"+p.file, strings.TrimPrefix(cmp.Or(p.version, p.standard), "v"), goos, goarch)
		}
	}
	return ""
}

// replace puts values into a pattern; a prefix of the user's may hold any other percent sign.
func replace(pattern, version, goos, goarch string) string {
	return strings.NewReplacer("%[1]s", version, "%[2]s", goos, "%[3]s", goarch).Replace(pattern)
}

// another tells whether a version is another minor than the embedded one. Only the minor is looked at: of a patch, the
// embedded one is as good as any.
func another(field, version string, major, embedded int) (bool, error) {
	if version == "" {
		return false, nil
	}
	gotMajor, minor, patch, err := parseVersion(version)
	switch {
	case err != nil:
		return false, fmt.Errorf("%s %w", field, err)
	case gotMajor != major:
		return false, fmt.Errorf("%s %s: want a version that begins with %d, such as %d.%d.0", field, version, major, major, embedded)
	case minor == embedded:
		return false, nil
	case patch < 0:
		return false, fmt.Errorf("%s %s: to fetch it, all three numbers are needed, such as %d.%d.0; %d.%d is embedded", field, version, major, minor, major, embedded)
	}
	return true, nil
}

// kubeAddress is the directory of the official programs. For systems without any there are those of the kwok project.
func kubeAddress(o *Options, goos, goarch string) string {
	version := "v" + strings.TrimPrefix(o.KubeVersion, "v")
	switch {
	case o.KubeBinaryPrefix != "":
		return strings.TrimSuffix(o.KubeBinaryPrefix, "/")
	case goos != "linux":
		return "https://github.com/kwok-ci/k8s/releases/download/" + version + "-kwok.0-" + goos + "-" + goarch
	}
	return "https://dl.k8s.io/release/" + version + "/bin/" + goos + "/" + goarch
}

// Says is the version of Kubernetes that the program of a component must name when it is asked, without v; "" when any
// will do, as of a program of the user's.
func Says(o *Options, component, program, goos, goarch string) string {
	if kubeMinor(o) == embeddedKube || program != kubeAddress(o, goos, goarch)+"/"+component {
		return ""
	}
	return strings.TrimPrefix(o.KubeVersion, "v")
}

func etcdAddress(o *Options, goos, goarch string) string {
	version, _, _ := strings.Cut(strings.TrimPrefix(o.EtcdVersion, "v"), "-") // of images there are 3.5.21-0
	prefix := strings.TrimSuffix(o.EtcdBinaryPrefix, "/")
	if prefix == "" {
		prefix = "https://github.com/etcd-io/etcd/releases/download/v" + version
	}
	return prefix + "/etcd-v" + version + "-" + goos + "-" + goarch + ".tar.gz#etcd"
}
