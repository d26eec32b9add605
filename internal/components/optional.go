package components

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"kwokctl/internal/api"
	"kwokctl/kustomize"
	"kwokctl/runtimes"
)

// Files of the optional components in the cluster directory.
const (
	tracingFile    = "apiserver-tracing-config.yaml"
	prometheusFile = "prometheus.yaml"
)

// everything is the sampling rate of traces: all of a million.
const everything = 1000000

// jaeger takes the traces of etcd and kube-apiserver.
func jaeger() Component {
	return Component{
		Name: "jaeger", Foreign: true,
		Ports:  []Port{{Name: "http", Option: func(o *Options) *int { return &o.JaegerPort }}, {Name: "otlp-grpc", Option: func(o *Options) *int { return &o.JaegerOtlpGrpcPort }}},
		Binary: func(o *Options) *string { return &o.JaegerBinary },
		Image:  func(o *Options) *string { return &o.JaegerImage },
		Args: func(c Context) []string {
			return []string{
				"--collector.otlp.enabled=true",
				"--query.http-server.host-port=" + net.JoinHostPort(c.Bind, strconv.Itoa(c.Options.JaegerPort)),
				"--collector.otlp.grpc.host-port=" + net.JoinHostPort(c.Bind, strconv.Itoa(c.Options.JaegerOtlpGrpcPort)),
			}
		},
		Probe: func(c Context) runtimes.Probe {
			return runtimes.Probe{Ready: "http://" + c.Addr("jaeger", "http") + "/"}
		},
	}
}

// traceAddress is where traces go.
func traceAddress(c Context) string { return c.Addr("jaeger", "otlp-grpc") }

func etcdTracing(c Context) []string {
	if !c.Has("jaeger") {
		return nil
	}
	return []string{ // by the names that older etcds know too
		"--experimental-enable-distributed-tracing=true", "--experimental-distributed-tracing-address=" + traceAddress(c),
		"--experimental-distributed-tracing-sampling-rate=" + strconv.Itoa(everything),
	}
}

func apiServerTracing(c Context) []string {
	if !c.Has("jaeger") {
		return nil
	}
	return []string{"--tracing-config-file=" + tracingFile}
}

func tracingConfig(c Context) []File {
	if !c.Has("jaeger") {
		return nil
	}
	return []File{{Path: tracingFile, Data: fmt.Appendf(nil, `apiVersion: apiserver.config.k8s.io/v1beta1
kind: TracingConfiguration
endpoint: %s
samplingRatePerMillion: %d
`, traceAddress(c), everything)}}
}

// metricsServer answers kubectl top, from what it asks of nodes.
func metricsServer() Component {
	return Component{
		Name: "metrics-server", Foreign: true, Needs: []string{"kube-apiserver", "kwok-controller"},
		Ports:  []Port{{Name: "https", Option: func(o *Options) *int { return &o.MetricsServerPort }}},
		Binary: func(o *Options) *string { return &o.MetricsServerBinary },
		Image:  func(o *Options) *string { return &o.MetricsServerImage },
		Args: func(c Context) []string {
			config := configPath("metrics-server")
			return []string{
				"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
				"--bind-address=" + c.Bind, "--secure-port=" + strconv.Itoa(c.Options.MetricsServerPort),
				"--tls-cert-file=pki/metrics-server-serving.crt", "--tls-private-key-file=pki/metrics-server-serving.key",
				"--kubelet-preferred-address-types=Hostname,InternalIP,ExternalIP", "--kubelet-use-node-status-port",
				"--kubelet-insecure-tls", "--metric-resolution=15s",
			}
		},
		Probe: func(c Context) runtimes.Probe { // it is ready when nodes gave metrics; there may be none for long
			return probe(c, "metrics-server", "https", "/livez", "/livez")
		},
		Files: func(c Context) []File { return []File{kubeconfigFile(c, "metrics-server")} },
		Manifest: func(c Context) []byte {
			return fmt.Appendf(kustomize.MetricsServerRBAC(), `---
apiVersion: v1
kind: Service
metadata:
  name: metrics-server
  namespace: kube-system
spec:
  type: ExternalName
  externalName: %[2]s
  ports:
  - name: https
    port: %[1]d
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  name: v1beta1.metrics.k8s.io
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service:
    name: metrics-server
    namespace: kube-system
    port: %[1]d
`, c.Options.MetricsServerPort, hostName(c, "metrics-server", "https"))
		},
	}
}

// prometheus collects the metrics of all others.
func prometheus() Component {
	return Component{
		Name: "prometheus", Foreign: true,
		Needs:  []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller", "metrics-server"},
		Ports:  []Port{{Name: "http", Option: func(o *Options) *int { return &o.PrometheusPort }}},
		Binary: func(o *Options) *string { return &o.PrometheusBinary },
		Image:  func(o *Options) *string { return &o.PrometheusImage },
		Args: func(c Context) []string {
			return []string{
				"--config.file=" + prometheusFile, "--storage.tsdb.path=prometheus",
				"--web.listen-address=" + net.JoinHostPort(c.Bind, strconv.Itoa(c.Options.PrometheusPort)),
			}
		},
		Probe: func(c Context) runtimes.Probe {
			base := "http://" + c.Addr("prometheus", "http")
			return runtimes.Probe{Ready: base + "/-/ready", Live: base + "/-/healthy"}
		},
		Files: prometheusConfig,
	}
}

// Administered tells whether a component of a cluster is its administrator, or is asked for its health by one.
func Administered(o *Options) bool {
	names, _ := Names(o) // which were checked
	return slices.Contains(names, InsecureProxy) || slices.Contains(names, "prometheus") || !o.KubeAuthorization
}

// prometheusConfig has a job for each component. Paths are relative to its own place.
func prometheusConfig(c Context) []File {
	var b strings.Builder
	b.WriteString("global: {scrape_interval: 15s, scrape_timeout: 10s, evaluation_interval: 15s}\nscrape_configs:\n")
	job := func(name, scheme, address, credentials string) {
		fmt.Fprintf(&b, "- job_name: %s\n  scheme: %s\n  static_configs: [{targets: [%q]}]\n", name, scheme, address)
		if credentials != "" {
			fmt.Fprintf(&b, "  tls_config: {%s}\n", credentials)
		}
	}
	job("prometheus", "http", c.Addr("prometheus", "http"), "")
	const ca = "ca_file: pki/ca.crt"
	if c.Options.EtcdPort != 0 {
		job("etcd", "https", c.Addr("etcd", "tls"), "ca_file: pki/etcd-ca.crt, cert_file: pki/apiserver-etcd-client.crt, key_file: pki/apiserver-etcd-client.key")
	}
	job("kube-apiserver", "https", c.Addr("kube-apiserver", "https"), ca+", cert_file: pki/admin.crt, key_file: pki/admin.key")
	for _, name := range []string{"kube-controller-manager", "kube-scheduler"} {
		if c.Has(name) {
			job(name, "https", c.Addr(name, "https"), ca)
		}
	}
	if c.Has("kwok-controller") {
		address := c.Addr("kwok-controller", "http")
		job("kwok-controller", "http", address, "")
		fmt.Fprintf(&b, "- job_name: kwok-controller-metrics-discovery\n  http_sd_configs: [{url: 'http://%s/discovery/prometheus'}]\n", address)
	}
	if c.Has("metrics-server") {
		job("metrics-server", "https", c.Addr("metrics-server", "https"), ca+", cert_file: pki/admin.crt, key_file: pki/admin.key")
	}
	for _, u := range c.Users {
		if m := u.Metric; m != nil {
			job(u.Name, cmp.Or(m.Scheme, "http"), m.Host, metricTLS(m))
			fmt.Fprintf(&b, "  metrics_path: %q\n", cmp.Or(m.Path, "/metrics"))
		}
		if m := u.MetricsDiscovery; m != nil {
			fmt.Fprintf(&b, "- job_name: %s-metrics-discovery\n  http_sd_configs: [{url: %q}]\n", u.Name, cmp.Or(m.Scheme, "http")+"://"+m.Host+m.Path)
		}
	}
	return []File{{Path: prometheusFile, Data: []byte(b.String())}}
}

// metricTLS is what Prometheus needs for the metrics of a component over TLS.
func metricTLS(m *api.ComponentMetric) string {
	var all []string
	if m.CertPath != "" {
		all = append(all, fmt.Sprintf("cert_file: %q, key_file: %q", m.CertPath, m.KeyPath))
	}
	if m.InsecureSkipVerify {
		all = append(all, "insecure_skip_verify: true")
	}
	return strings.Join(all, ", ")
}

// dashboard shows the cluster in a browser. Who opens it may look at all but secrets, and may give a token to do more.
func dashboard() Component {
	return Component{
		Name: "dashboard", Foreign: true, Needs: []string{"kube-apiserver"},
		Ports:  []Port{{Name: "http", Option: func(o *Options) *int { return &o.DashboardPort }}},
		Binary: func(o *Options) *string { return &o.DashboardBinary },
		Image:  func(o *Options) *string { return &o.DashboardImage }, Program: "/dashboard",
		Args: func(c Context) []string {
			return []string{
				"--insecure-bind-address=" + c.Bind, "--insecure-port=" + strconv.Itoa(c.Options.DashboardPort),
				"--bind-address=127.0.0.1", "--port=0", "--enable-insecure-login", "--enable-skip-login", "--disable-settings-authorizer",
				"--metrics-provider=none", "--namespace=" + dashboardSpace, "--kubeconfig=" + configPath("dashboard"),
			}
		},
		Probe: func(c Context) runtimes.Probe {
			return runtimes.Probe{Ready: "http://" + c.Addr("dashboard", "http") + "/"}
		},
		Files:    func(c Context) []File { return []File{kubeconfigFile(c, "dashboard")} },
		Manifest: func(Context) []byte { return kustomize.DashboardObjects() },
		Last:     true, // it ends when the secrets that it is to fill are not there
	}
}

// dashboardSpace is where the dashboard keeps its own objects.
const dashboardSpace = "kubernetes-dashboard"

// kueuevizPort is where both parts of kueueviz listen, on all addresses: they run in containers only.
const kueuevizPort = 8080

// kueuevizBackend tells the other part what kueue does.
func kueuevizBackend() Component {
	const name = "kueueviz-backend"
	return Component{
		Name: name, Foreign: true, Needs: []string{"kube-apiserver", "kueue"},
		Ports:    []Port{{Name: "http", Option: func(o *Options) *int { return &o.KueuevizBackendPort }, Inside: kueuevizPort}},
		Image:    func(o *Options) *string { return &o.KueuevizBackendImage },
		Env:      func(Context) []string { return []string{"KUBECONFIG=" + configPath(name)} },
		Args:     func(Context) []string { return nil },
		Probe:    kueuevizProbe(name),
		Files:    func(c Context) []File { return []File{kubeconfigFile(c, name)} },
		Manifest: func(Context) []byte { return kustomize.KueuevizRBAC() },
	}
}

// kueuevizFrontend is a page in a browser, which asks the other part at the port that the browser reaches.
func kueuevizFrontend() Component {
	const name = "kueueviz-frontend"
	return Component{
		Name: name, Foreign: true, Needs: []string{"kueueviz-backend"},
		Ports: []Port{{Name: "http", Option: func(o *Options) *int { return &o.KueuevizPort }, Inside: kueuevizPort}},
		Image: func(o *Options) *string { return &o.KueuevizFrontendImage },
		Env: func(c Context) []string {
			return []string{"REACT_APP_WEBSOCKET_URL=ws://localhost:" + strconv.Itoa(c.Options.KueuevizBackendPort)}
		},
		Args:  func(Context) []string { return nil },
		Probe: kueuevizProbe(name),
	}
}

func kueuevizProbe(name string) func(Context) runtimes.Probe {
	return func(Context) runtimes.Probe {
		return runtimes.Probe{Ready: fmt.Sprintf("tcp://%s:%d", name, kueuevizPort)}
	}
}
