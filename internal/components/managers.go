package components

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"kwokctl/runtimes"
)

// manager is a controller of another project: a program, or an image, that comes with manifests. In a real cluster
// they run it; here all of them is applied but that.
type manager struct {
	name      string
	namespace string // of its service account, whose rights it has
	account   string
	webhooks  bool   // the API server calls it
	late      bool   // it says that it is ready before its webhooks are
	config    string // what its configuration is called in a ConfigMap of its manifests; "" for none
	program   string // in its image
	ports     []Port
	binary    func(*Options) *string
	image     func(*Options) *string
	manifests func(*Options) []string // the user's
	version   func(*Options) string   // that the user asks for
	standard  string                  // the version unless there is another
	prefix    func(*Options) string   // where its image is, unless at the official place
	imageName string
	home      []string // addresses of its manifests; %s is the version
	args      func(c Context) []string
	// adapt makes its configuration fit; nil: it is taken as it is.
	adapt func(c Context, config map[string]any)
	probe func(c Context) runtimes.Probe
}

// managers returns those there are.
func managers() []manager {
	return []manager{jobset(), lws(), kueue(), descheduler(), schedulerPlugins(), nodeReadiness()}
}

// Manager is what a cluster prepares for a manager.
type Manager struct {
	Name   string
	User   string // of the API server, with its groups
	Groups []string
	// Service is where the API server finds its webhooks, as service.namespace.svc; "" for none.
	Service string
	// Manifests are paths or URLs.
	Manifests []string
}

// Managers returns the managers of a cluster with options o, which were checked.
func Managers(o *Options) []Manager {
	names, _ := Names(o)
	var all []Manager
	for _, m := range managers() {
		if !slices.Contains(names, m.name) {
			continue
		}
		accounts := "system:serviceaccounts"
		one := Manager{Name: m.name, User: "system:serviceaccount:" + m.namespace + ":" + m.account,
			Groups: []string{accounts, accounts + ":" + m.namespace}, Manifests: m.manifests(o)}
		if m.webhooks {
			one.Service = m.service() + "." + m.namespace + ".svc"
		}
		if len(one.Manifests) == 0 {
			for _, address := range m.home {
				one.Manifests = append(one.Manifests, strings.ReplaceAll(address, "%s", m.release(o)))
			}
		}
		all = append(all, one)
	}
	return all
}

// WebhookDir is where the certificates of a manager's webhooks are, in the cluster directory.
func WebhookDir(name string) string { return "webhooks/" + name }

// release is the version that is asked for, without the v.
func (m manager) release(o *Options) string {
	return cmp.Or(strings.TrimPrefix(m.version(o), "v"), m.standard)
}

func (m manager) service() string { return m.name + "-webhook-service" }

func (m manager) configPath() string { return "config/" + m.name + ".yaml" }

// row is the manager as a component.
func (m manager) row() Component {
	return Component{
		Name: m.name, Foreign: true, Needs: []string{"kube-apiserver"}, Ports: m.ports,
		Binary: m.binary, Image: m.image, Program: m.program,
		Args: m.args, Probe: m.probe, Files: m.files, Manifest: m.manifest, Last: true,
	}
}

// files are its way to the API server and, once its manifests are there, its configuration.
func (m manager) files(c Context) []File {
	all := []File{kubeconfigFile(c, m.name)}
	text := c.Read(givenConfig(m.name))
	if m.config == "" || text == nil {
		return all
	}
	var config map[string]any
	if m.adapt != nil && yaml.Unmarshal(text, &config) == nil && config != nil { // which Adapt has seen to
		m.adapt(c, config)
		text, _ = yaml.Marshal(config)
	}
	return append(all, File{Path: m.configPath(), Data: text})
}

// manifest is what is left of its manifests, with the service and the certificate of its webhooks.
func (m manager) manifest(c Context) []byte {
	text := c.Read(givenObjects(m.name))
	if text == nil || !m.webhooks {
		return text
	}
	port := strconv.Itoa(Number(c.Options, m.name, "webhook"))
	ca := base64.StdEncoding.EncodeToString(c.Read(WebhookDir(m.name) + "/ca.crt"))
	text = []byte(strings.NewReplacer(webhookPort, port, webhookCA, ca).Replace(string(text)))
	text = fmt.Appendf(text, `---
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s}
spec: {type: ExternalName, externalName: %s, ports: [{name: webhook, port: %s}]}
---
apiVersion: v1
kind: Secret
metadata: {name: %s-webhook-server-cert, namespace: %s}
stringData:
`, m.service(), m.namespace, hostName(c, m.name, "webhook"), port, m.name, m.namespace)
	for _, file := range []string{"ca.crt", "ca.key", "tls.crt", "tls.key"} {
		text = fmt.Appendf(text, "  %s: %q\n", file, c.Read(WebhookDir(m.name)+"/"+file))
	}
	return text
}

// operator is a manager built with controller-runtime the way Kubernetes' own projects do: its configuration is a file,
// its webhooks and their certificate have names that follow from its own.
func operator(m manager) manager {
	m.namespace, m.account, m.webhooks = m.name+"-system", m.name+"-controller-manager", true
	m.config, m.program = "controller_manager_config.yaml", "/manager"
	m.args = func(Context) []string {
		return []string{"--config=" + m.configPath(), "--kubeconfig=" + configPath(m.name)}
	}
	special := m.adapt
	m.adapt = func(c Context, config map[string]any) {
		at := func(port string) string {
			return net.JoinHostPort(c.Bind, strconv.Itoa(Number(c.Options, m.name, port)))
		}
		webhook := section(config, "webhook")
		webhook["host"], webhook["port"] = c.Bind, Number(c.Options, m.name, "webhook")
		webhook["certDir"] = WebhookDir(m.name)
		section(config, "health")["healthProbeBindAddress"] = at("health")
		section(config, "metrics")["bindAddress"] = at("metrics")
		section(config, "leaderElection")["leaderElect"] = false // there is one
		special(c, config)
	}
	m.probe = func(c Context) runtimes.Probe {
		probe := healthProbe(m.name)(c)
		if m.late { // somebody listens when all else is done
			probe.Ready = "tcp://" + c.Addr(m.name, "webhook")
		}
		return probe
	}
	return m
}

// rotates tells a manager whether to look after the certificates of its webhooks. If it does, it finds those in the
// Secret good for years, and they are what the files are.
func rotates(config map[string]any, does bool) {
	section(config, "internalCertManagement")["enable"] = does
}

// healthProbe asks what controller-runtime serves.
func healthProbe(name string) func(Context) runtimes.Probe {
	return func(c Context) runtimes.Probe {
		base := "http://" + c.Addr(name, "health")
		return runtimes.Probe{Ready: base + "/readyz", Live: base + "/healthz"}
	}
}

const release = "https://github.com/kubernetes-sigs/"

func jobset() manager {
	return operator(manager{
		name: "jobset", standard: "0.12.0", home: []string{release + "jobset/releases/download/v%s/manifests.yaml"},
		ports: []Port{
			{Name: "webhook", Option: func(o *Options) *int { return &o.JobsetPort }},
			{Name: "health", Option: func(o *Options) *int { return &o.JobsetHealthPort }},
			{Name: "metrics", Option: func(o *Options) *int { return &o.JobsetMetricsPort }},
		},
		binary:    func(o *Options) *string { return &o.JobsetBinary },
		image:     func(o *Options) *string { return &o.JobsetImage },
		manifests: func(o *Options) []string { return o.JobsetManifests },
		version:   func(o *Options) string { return o.JobsetVersion },
		prefix:    func(o *Options) string { return o.JobsetImagePrefix },
		imageName: "jobset",
		adapt: func(_ Context, config map[string]any) {
			rotates(config, false) // its own looks in a place that cannot be chosen
			section(config, "metrics")["certDir"] = WebhookDir("jobset")
		},
	})
}

func lws() manager {
	return operator(manager{
		name: "lws", late: true, standard: "0.9.0", home: []string{release + "lws/releases/download/v%s/manifests.yaml"},
		ports: []Port{
			{Name: "webhook", Option: func(o *Options) *int { return &o.LwsPort }},
			{Name: "health", Option: func(o *Options) *int { return &o.LwsHealthPort }},
			{Name: "metrics", Option: func(o *Options) *int { return &o.LwsMetricsPort }},
		},
		binary:    func(o *Options) *string { return &o.LwsBinary },
		image:     func(o *Options) *string { return &o.LwsImage },
		manifests: func(o *Options) []string { return o.LwsManifests },
		version:   func(o *Options) string { return o.LwsVersion },
		prefix:    func(o *Options) string { return o.LwsImagePrefix },
		imageName: "lws",
		adapt:     func(_ Context, config map[string]any) { rotates(config, true) },
	})
}

func kueue() manager {
	return operator(manager{
		name: "kueue", standard: "0.18.1", home: []string{release + "kueue/releases/download/v%s/manifests.yaml"},
		ports: []Port{
			{Name: "webhook", Option: func(o *Options) *int { return &o.KueuePort }},
			{Name: "health", Option: func(o *Options) *int { return &o.KueueHealthPort }},
			{Name: "metrics", Option: func(o *Options) *int { return &o.KueueMetricsPort }},
		},
		binary:    func(o *Options) *string { return &o.KueueBinary },
		image:     func(o *Options) *string { return &o.KueueImage },
		manifests: func(o *Options) []string { return o.KueueManifests },
		version:   func(o *Options) string { return o.KueueVersion },
		prefix:    func(o *Options) string { return o.KueueImagePrefix },
		imageName: "kueue",
		adapt: func(_ Context, config map[string]any) {
			rotates(config, true) // without, it wants certificates of its metrics in /etc/kueue
			// That server listens on all addresses, at a port that cannot be chosen.
			gates := section(config, "featureGates")
			if _, said := gates["VisibilityOnDemand"]; !said {
				gates["VisibilityOnDemand"] = false
			}
		},
	})
}

func descheduler() manager {
	const home = "https://raw.githubusercontent.com/kubernetes-sigs/descheduler/v%s/kubernetes/base/"
	return manager{
		name: "descheduler", namespace: "kube-system", account: "descheduler-sa", config: "policy.yaml", program: "/bin/descheduler",
		standard: "0.36.0", home: []string{home + "rbac.yaml", home + "configmap.yaml"},
		ports:     []Port{{Name: "https", Option: func(o *Options) *int { return &o.DeschedulerPort }}},
		binary:    func(o *Options) *string { return &o.DeschedulerBinary },
		image:     func(o *Options) *string { return &o.DeschedulerImage },
		manifests: func(o *Options) []string { return o.DeschedulerManifests },
		version:   func(o *Options) string { return o.DeschedulerVersion },
		prefix:    func(o *Options) string { return o.DeschedulerImagePrefix },
		imageName: "descheduler",
		args: func(c Context) []string {
			return []string{
				"--kubeconfig=" + configPath("descheduler"), "--descheduling-interval=5m", "--policy-config-file=config/descheduler.yaml",
				"--bind-address=" + c.Bind, "--secure-port=" + strconv.Itoa(c.Options.DeschedulerPort),
				"--tls-cert-file=pki/descheduler-serving.crt", "--tls-private-key-file=pki/descheduler-serving.key",
			}
		},
		probe: func(c Context) runtimes.Probe { return probe(c, "descheduler", "https", "/healthz", "/healthz") },
	}
}

func schedulerPlugins() manager {
	const home = "https://raw.githubusercontent.com/kubernetes-sigs/scheduler-plugins/v%s/"
	return manager{
		name: "scheduler-plugins", namespace: "scheduler-plugins", account: "scheduler-plugins-controller", program: "controller",
		standard: "0.34.7", home: []string{home + "manifests/install/all-in-one.yaml",
			home + "config/crd/bases/scheduling.x-k8s.io_podgroups.yaml", home + "config/crd/bases/scheduling.x-k8s.io_elasticquotas.yaml"},
		ports: []Port{
			{Name: "health", Option: func(o *Options) *int { return &o.SchedulerPluginsHealthPort }},
			{Name: "metrics", Option: func(o *Options) *int { return &o.SchedulerPluginsMetricsPort }},
		},
		binary:    func(o *Options) *string { return &o.SchedulerPluginsBinary },
		image:     func(o *Options) *string { return &o.SchedulerPluginsControllerImage },
		manifests: func(o *Options) []string { return o.SchedulerPluginsManifests },
		version:   func(o *Options) string { return o.SchedulerPluginsVersion },
		prefix:    func(o *Options) string { return o.SchedulerPluginsImagePrefix },
		imageName: "controller",
		args: func(c Context) []string {
			at := func(port string) string {
				return net.JoinHostPort(c.Bind, strconv.Itoa(Number(c.Options, "scheduler-plugins", port)))
			}
			return []string{"--kubeconfig=" + configPath("scheduler-plugins"), "--metricsAddr=" + at("metrics"), "--probeAddr=" + at("health")}
		},
		probe: healthProbe("scheduler-plugins"),
	}
}

func nodeReadiness() manager {
	const name, home = "node-readiness-controller", release + "node-readiness-controller/releases/download/v%s/"
	return manager{
		name: name, namespace: "nrr-system", account: "nrr-controller-manager", program: "/manager",
		standard: "0.3.0", home: []string{home + "crds.yaml", home + "install.yaml"},
		ports: []Port{
			{Name: "health", Option: func(o *Options) *int { return &o.NodeReadinessControllerHealthPort }},
			{Name: "metrics", Option: func(o *Options) *int { return &o.NodeReadinessControllerMetricsPort }},
		},
		binary:    func(o *Options) *string { return &o.NodeReadinessControllerBinary },
		image:     func(o *Options) *string { return &o.NodeReadinessControllerImage },
		manifests: func(o *Options) []string { return o.NodeReadinessControllerManifests },
		version:   func(o *Options) string { return o.NodeReadinessControllerVersion },
		prefix:    func(o *Options) string { return o.NodeReadinessControllerImagePrefix },
		imageName: name,
		args: func(c Context) []string {
			at := func(port string) string {
				return net.JoinHostPort(c.Bind, strconv.Itoa(Number(c.Options, name, port)))
			}
			return []string{"--kubeconfig=" + configPath(name), "--leader-elect=false", "--metrics-secure=false",
				"--metrics-bind-address=" + at("metrics"), "--health-probe-bind-address=" + at("health")}
		},
		probe: healthProbe(name),
	}
}
