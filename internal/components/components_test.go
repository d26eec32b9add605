package components

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kwokctl/internal/api"
	"kwokctl/runtimes"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// options are those of a cluster whose ports are chosen.
func options(change func(*Options)) *Options {
	cfg := api.NewKwokctlConfiguration()
	o := &cfg.Options
	o.KubeApiserverPort, o.KubeControllerManagerPort, o.KubeSchedulerPort, o.KwokControllerPort = 6443, 10257, 10259, 10247
	if err := o.Scale(); err != nil {
		panic(err)
	}
	change(o)
	return o
}

func addr(o *Options) func(component, port string) string {
	return func(component, port string) string {
		switch {
		case component == "etcd" && port == "tls":
			return fmt.Sprintf("127.0.0.1:%d", o.EtcdPort)
		case component == "etcd":
			return "unix://" + ClientSocket
		}
		return fmt.Sprintf("127.0.0.1:%d", Number(o, component, port))
	}
}

// around is what processes see, in a directory without files.
func around(o *Options) Surroundings {
	return Surroundings{"127.0.0.1", addr(o), func(string) []byte { return nil }}
}

// TestMake holds whole plans against golden files.
func TestMake(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"default":   func(*Options) {},
		"etcd-port": func(o *Options) { o.EtcdPort = 2379; o.EtcdUnsafeNoFsync = true },
		"observed": func(o *Options) {
			o.PrometheusPort, o.PrometheusBinary, o.EtcdPort = 9090, "/opt/prometheus", 2379
			o.JaegerPort, o.JaegerOtlpGrpcPort, o.JaegerBinary = 16686, 4317, "/opt/jaeger"
		},
		"metrics": func(o *Options) {
			o.Enable, o.MetricsServerPort, o.MetricsServerBinary = []string{"metrics-server"}, 4443, "/opt/metrics-server"
		},
		"without-authorization": func(o *Options) {
			o.KubeAuthorization, o.KubeAdmission, o.DisableQPSLimits = false, false, true
			o.KubeApiserverInsecurePort, o.KubeSchedulerConfig, o.KubeSchedulerBinary = 8080, "/home/me/scheduler.yaml", "/opt/kube-scheduler"
			o.KubeFeatureGates, o.KubeRuntimeConfig, o.EtcdPrefix, o.EtcdQuotaBackendSize = "A=true,B=false", "api/alpha=true", "/mine", "1Gi"
		},
		"audit":        func(o *Options) { o.KubeAuditPolicy = "/home/me/policy.yaml" },
		"no-scheduler": func(o *Options) { o.Disable = []string{"kube-scheduler"} },
		"extra-args": func(o *Options) {
			o.ExtraArgs = []string{"kube-apiserver=v=4", "etcd=heartbeat-interval=50", "kube-apiserver=authorization-mode=AlwaysAllow"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(change)
			plan, err := Make(&api.KwokctlConfiguration{Options: *o}, around(o))
			if err != nil {
				t.Fatal(err)
			}
			got := print(plan)
			path := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the plan differs from %s; if that is meant: go test ./internal/components -update\n%s", path, got)
			}
		})
	}
}

// TestMetricsOfUsers gives components of the user's jobs of Prometheus.
func TestMetricsOfUsers(t *testing.T) {
	o := options(func(o *Options) { o.PrometheusPort, o.PrometheusBinary = 9090, "/opt/prometheus" })
	mine := api.Component{Name: "mine", Command: []string{"mine"},
		Metric:           &api.ComponentMetric{Scheme: "https", Host: "127.0.0.1:9999", Path: "/stats", CertPath: "pki/admin.crt", KeyPath: "pki/admin.key", InsecureSkipVerify: true},
		MetricsDiscovery: &api.ComponentMetric{Host: "127.0.0.1:9998", Path: "/sd"}}
	plan, err := Make(&api.KwokctlConfiguration{Options: *o, Components: []api.Component{mine}}, around(o))
	if err != nil {
		t.Fatal(err)
	}
	const want = `- job_name: mine
  scheme: https
  static_configs: [{targets: ["127.0.0.1:9999"]}]
  tls_config: {cert_file: "pki/admin.crt", key_file: "pki/admin.key", insecure_skip_verify: true}
  metrics_path: "/stats"
- job_name: mine-metrics-discovery
  http_sd_configs: [{url: "http://127.0.0.1:9998/sd"}]
`
	if got := print(plan); !strings.Contains(got, want) {
		t.Errorf("not in it: %s\n%s", want, got)
	}
	for _, bad := range []api.ComponentMetric{{Scheme: "ftp", Host: "h:1"}, {Path: "/metrics"}} {
		mine.Metric = &bad
		if _, err := Make(&api.KwokctlConfiguration{Options: *o, Components: []api.Component{mine}}, around(o)); err == nil || !strings.Contains(err.Error(), "components[0] mine: metric: scheme") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func print(plan *Plan) string {
	var b strings.Builder
	for _, s := range plan.Specs {
		fmt.Fprintf(&b, "%s needs %v, ports %v, ready %s, live %s, env %v\n", s.Name, s.Needs, s.Ports, s.Probe.Ready, s.Probe.Live, s.Env)
		for _, arg := range s.Args {
			fmt.Fprintf(&b, "  %s\n", arg)
		}
	}
	for _, f := range plan.Files {
		fmt.Fprintf(&b, "--- %s\n%s", f.Path, f.Data)
	}
	fmt.Fprintf(&b, "manifests: %d bytes\n", len(plan.Manifests))
	return b.String()
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want string // names, or the error
	}{
		{Options{}, "etcd kube-apiserver kube-controller-manager kube-scheduler kwok-controller"},
		{Options{Disable: []string{"kube-scheduler"}}, "etcd kube-apiserver kube-controller-manager kwok-controller"},
		{Options{Components: []string{"kube-apiserver", "etcd"}}, "etcd kube-apiserver"},
		{Options{Components: []string{"etcd", "kube-apiserver"}, Enable: []string{"kwok-controller"}}, "etcd kube-apiserver kwok-controller"},
		{Options{Disable: []string{"etcd"}}, "components: etcd is missing; a cluster cannot do without it"},
		{Options{Enable: []string{"kubelet"}}, `enable: no component "kubelet"; there are jaeger, etcd, kube-apiserver, kube-apiserver-insecure-proxy, kube-controller-manager, kube-scheduler, kwok-controller, metrics-server, prometheus, dashboard, jobset, lws, kueue, descheduler, scheduler-plugins, node-readiness-controller, kueueviz-backend, kueueviz-frontend, kueueviz; did you mean kueue?`},
	} {
		names, err := Names(&tt.o)
		got := strings.Join(names, " ")
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.o, got, tt.want)
		}
	}
}

func TestExtraArgs(t *testing.T) {
	for arg, want := range map[string]string{
		"kube-apiserver":        `extra-args: "kube-apiserver" is not component=key=value`,
		"kube-apiserver=v":      `extra-args: "kube-apiserver=v" is not component=key=value`,
		"kube-apiserver==4":     `extra-args: "kube-apiserver==4" is not component=key=value`,
		"kubelet=v=4":           `extra-args: no component "kubelet" in this cluster`,
		"kube-apiserver=--v=4":  "",
		"kube-apiserver=a=b=c,": "",
	} {
		o := options(func(o *Options) { o.ExtraArgs = []string{arg} })
		_, err := Make(&api.KwokctlConfiguration{Options: *o}, around(o))
		if (err == nil) != (want == "") || (err != nil && !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", arg, err, want)
		}
	}
}

// TestContained: images for what is not embedded, and the user's components, as containers see them.
func TestContained(t *testing.T) {
	o := options(func(o *Options) {
		o.Runtime, o.KubeVersion, o.EtcdVersion, o.EtcdImagePrefix, o.KubeSchedulerImage = "docker", "v1.35.2", "3.5.21-0", "mirror/x/", "mine:1"
		o.PrometheusPort, o.JaegerPort, o.KwokControllerImage = 9090, 16686, "kwok:1"
	})
	if err := Locate(o, "linux", "amd64"); err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		o.KubeApiserverImage: "registry.k8s.io/kube-apiserver:v1.35.2", o.KubeSchedulerImage: "mine:1", o.EtcdImage: "mirror/x/etcd:3.5.21-0",
		o.PrometheusImage: "docker.io/prom/prometheus:v3.12.0", o.JaegerImage: "docker.io/jaegertracing/all-in-one:1.76.0", o.KubeApiserverBinary: "",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	mine := api.Component{Name: "mine", Image: "i:1", User: "1000", WorkDir: "/w", Links: []string{"kube-apiserver"}, Ready: "http://localhost:8080/r",
		Ports: []api.Port{{Name: "p", Port: 8080, HostPort: 9999}, {Name: "inside", Port: 9}}, Volumes: []api.Volume{{HostPath: "/h", MountPath: "/m"}}}
	plan, err := Make(&api.KwokctlConfiguration{Options: *o, Components: []api.Component{mine}}, Surroundings{Bind: "0.0.0.0", Addr: func(c, p string) string { return c + ":" + p }})
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]runtimes.Spec{}
	for _, s := range plan.Specs {
		by[s.Name] = s
	}
	if s := by["kwok-controller"]; s.Image != "kwok:1" || s.Program != "kwok" || s.Env != nil {
		t.Errorf("%+v", s)
	}
	if s := by["mine"]; s.Image != "i:1" || s.Probe.Ready != "http://mine:8080/r" || len(s.Ports) != 1 || s.Ports[0].Number != 9999 || s.Ports[0].Inside != 8080 || len(s.Mounts) != 1 || s.User != "1000" {
		t.Errorf("%+v", s)
	}
	for want, bad := range map[string]api.Component{
		"no image":    {Name: "b", Binary: "/bin/x"},
		"mountPath":   {Name: "b", Image: "i", Volumes: []api.Volume{{HostPath: "/h", MountPath: "/a/../.."}}},
		"no hostPath": {Name: "b", Image: "i", Volumes: []api.Volume{{MountPath: "/a"}}},
		"pathType":    {Name: "b", Image: "i", Volumes: []api.Volume{{HostPath: "/h", MountPath: "/a", PathType: "FileOrCreate"}}},
		"workDir":     {Name: "b", Image: "i", WorkDir: "w"},
	} {
		_, err := Make(&api.KwokctlConfiguration{Options: *o, Components: []api.Component{bad}}, Surroundings{Bind: "0.0.0.0", Addr: func(c, p string) string { return "" }})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", bad, err, want)
		}
	}
}

// TestAllAddresses holds that servers can be told to listen on all addresses of IPv6.
func TestAllAddresses(t *testing.T) {
	o := options(func(o *Options) { o.EtcdPort = 2379 })
	everywhere := around(o)
	everywhere.Bind = "::"
	plan, err := Make(&api.KwokctlConfiguration{Options: *o}, everywhere)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range plan.Specs {
		for _, arg := range s.Args {
			if strings.Contains(arg, ":::") {
				t.Errorf("%s: %s", s.Name, arg)
			}
		}
	}
}

// TestHiddenPorts: in containers, ports that nobody asked for stay on the network of the cluster.
func TestHiddenPorts(t *testing.T) {
	t.Parallel()
	cfg := api.NewKwokctlConfiguration()
	o := &cfg.Options
	o.Runtime, o.KubeApiserverPort, o.KubeSchedulerPort = "docker", 6443, 30259
	plan, err := Make(cfg, Surroundings{Bind: "0.0.0.0", Read: func(string) []byte { return nil },
		Addr: func(component, port string) string { return fmt.Sprint(component, ":", Number(o, component, port)) }})
	if err != nil {
		t.Fatal(err)
	}
	for component, want := range map[string]struct {
		flag   string
		hidden bool
	}{
		"kube-apiserver": {"--secure-port=6443", false}, "kube-scheduler": {"--secure-port=30259", false},
		"kube-controller-manager": {"--secure-port=10257", true}, "kwok-controller": {"--server-address=0.0.0.0:10247", true},
	} {
		i := slices.IndexFunc(plan.Specs, func(s runtimes.Spec) bool { return s.Name == component })
		s := plan.Specs[i]
		if !slices.Contains(s.Args, want.flag) {
			t.Errorf("%s: no %s in %q", component, want.flag, s.Args)
		}
		if len(s.Ports) != 1 || s.Ports[0].Hidden != want.hidden || (len(s.Published()) == 0) != want.hidden {
			t.Errorf("%s: ports %+v, published %+v", component, s.Ports, s.Published())
		}
	}
	for _, c := range Stored(plan.Specs, nil) {
		if c.Name == "kwok-controller" && (c.Ports[0].Port != 10247 || c.Ports[0].HostPort != 0) {
			t.Errorf("%s is stored with ports %+v", c.Name, c.Ports)
		}
	}
}
