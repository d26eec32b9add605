package components

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"kwokctl/internal/api"
	"kwokctl/kustomize"
	"kwokctl/runtimes"
)

const (
	// ClientSocket is etcd's unix socket in the cluster directory, as the host:port that etcd's URLs ask for.
	ClientSocket = "etcd:0"
	// Member and PeerURL are etcd's name and address among its peers, of which there are none; DataDir is where its
	// data are in the cluster directory.
	Member  = "node0"
	PeerURL = "unix://etcd:1"
	DataDir = "etcd"

	// AuditPolicy and AuditLog are files of the cluster directory. The log has five files of 100 MiB at most, which
	// the API server rotates.
	AuditPolicy = "config/audit.yaml"
	AuditLog    = "logs/audit.log"

	// ServiceRange is where services get their addresses; ServiceIP is the first, the API server's own.
	ServiceRange = "10.96.0.0/12"
	ServiceIP    = "10.96.0.1"

	alwaysAllow = "--authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics"
)

func etcd() Component {
	return Component{
		Name: "etcd", Must: true, Data: "etcd", Needs: []string{"jaeger"}, // to bring it the last traces when it ends
		Ports:  []Port{{Name: "client", Option: func(o *Options) *int { return &o.EtcdPort }}},
		Quiet:  func(has func(string) bool) bool { return !has("prometheus") }, // which knows no unix sockets
		Binary: func(o *Options) *string { return &o.EtcdBinary },
		Image:  func(o *Options) *string { return &o.EtcdImage },
		Args: func(c Context) []string {
			listen, socket := "unix://"+ClientSocket, "unix://"+ClientSocket
			args := []string{
				"--name=" + Member, "--data-dir=" + DataDir,
				"--auto-compaction-retention=1", "--quota-backend-bytes=" + strconv.FormatInt(quota(c.Options), 10),
				// One member elects itself when its election timer runs out; the defaults make that 0.6 s.
				"--heartbeat-interval=20", "--election-timeout=100",
				"--listen-peer-urls=" + PeerURL, "--initial-advertise-peer-urls=" + PeerURL, "--initial-cluster=" + Member + "=" + PeerURL,
				"--advertise-client-urls=" + socket,
			}
			if c.Options.EtcdPort != 0 {
				listen += ",https://" + net.JoinHostPort(c.Bind, strconv.Itoa(c.Options.EtcdPort))
				args = append(args, "--cert-file=pki/etcd-server.crt", "--key-file=pki/etcd-server.key",
					"--trusted-ca-file=pki/etcd-ca.crt", "--client-cert-auth=true")
			}
			if c.Options.EtcdUnsafeNoFsync {
				args = append(args, "--unsafe-no-fsync=true")
			}
			return append(append(args, "--listen-client-urls="+listen), etcdTracing(c)...)
		},
		Probe: func(Context) runtimes.Probe {
			return runtimes.Probe{Ready: "unix://" + ClientSocket + "/readyz", Live: "unix://" + ClientSocket + "/livez"}
		},
	}
}

func apiServer() Component {
	return Component{
		Name: "kube-apiserver", Must: true, Needs: []string{"etcd", "jaeger"},
		Ports:  []Port{{Name: "https", Option: func(o *Options) *int { return &o.KubeApiserverPort }}},
		Binary: func(o *Options) *string { return &o.KubeApiserverBinary },
		Image:  func(o *Options) *string { return &o.KubeApiserverImage },
		Args: func(c Context) []string {
			args := []string{
				"--etcd-prefix=" + c.Options.EtcdPrefix, "--etcd-servers=" + c.Addr("etcd", "client"),
				"--allow-privileged=true", "--endpoint-reconciler-type=none",
				"--bind-address=" + c.Bind, "--advertise-address=127.0.0.1",
				"--secure-port=" + strconv.Itoa(c.Options.KubeApiserverPort),
				"--service-cluster-ip-range=" + ServiceRange,
				"--tls-cert-file=pki/kube-apiserver.crt", "--tls-private-key-file=pki/kube-apiserver.key",
				"--client-ca-file=pki/ca.crt",
				"--kubelet-client-certificate=pki/apiserver-kubelet-client.crt",
				"--kubelet-client-key=pki/apiserver-kubelet-client.key",
				"--kubelet-certificate-authority=pki/ca.crt",
				"--service-account-key-file=pki/sa.pub", "--service-account-signing-key-file=pki/sa.key",
				"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
				"--proxy-client-cert-file=pki/front-proxy-client.crt", "--proxy-client-key-file=pki/front-proxy-client.key",
				"--requestheader-client-ca-file=pki/front-proxy-ca.crt", "--requestheader-allowed-names=front-proxy-client",
				"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
				"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			}
			return append(append(args, apiServerChoices(c.Options)...), apiServerTracing(c)...)
		},
		Files: tracingConfig,
		Probe: func(c Context) runtimes.Probe {
			p := probe(c, "kube-apiserver", "https", "/readyz", "/livez")
			if !c.Options.KubeAuthorization { // then it does not talk to strangers
				p.Cert, p.Key = "pki/admin.crt", "pki/admin.key"
			}
			return p
		},
	}
}

// apiServerChoices are the arguments that depend on options.
func apiServerChoices(o *Options) (args []string) {
	if o.KubeAuthorization {
		args = append(args, "--authorization-mode=Node,RBAC")
	}
	if o.KubeAdmission {
		// It would taint every new node, and the controller-manager would take the taint off at once, since a node that
		// has no conditions yet is to have none: a third of what a node costs.
		args = append(args, "--disable-admission-plugins=TaintNodesByCondition")
	} else {
		args = append(args, "--admission-control=")
	}
	if Audited(o) {
		args = append(args, "--audit-policy-file="+AuditPolicy, "--audit-log-path="+AuditLog, "--audit-log-maxsize=100", "--audit-log-maxbackup=4")
	}
	if o.KubeRuntimeConfig != "" {
		args = append(args, "--runtime-config="+o.KubeRuntimeConfig)
	}
	if kubeMinor(o) >= 28 { // which all have it; else every watch that somebody holds is waited for, to the bitter end
		args = append(args, "--shutdown-watch-termination-grace-period=500ms")
	}
	if o.DisableQPSLimits {
		args = append(args, "--max-requests-inflight=0", "--max-mutating-requests-inflight=0", "--enable-priority-and-fairness=false")
	}
	return append(args, featureGates(o, o.KubeApiserverBinary, o.KubeApiserverImage)...)
}

// Audited tells whether the API server writes an audit log.
func Audited(o *Options) bool { return o.Audit || o.KubeAuditPolicy != "" }

// featureGates are the user's and, for an embedded component, one of ours unless the user names it: lists that come as a
// stream of single objects take the API server and its clients a third more processor time at a start with many.
func featureGates(o *Options, binary, image string) []string {
	const streams = "WatchListClient"
	gates := o.KubeFeatureGates
	if IsEmbedded(o, binary, image) && !strings.Contains(gates, streams) {
		gates = strings.TrimSuffix(streams+"=false,"+gates, ",")
	}
	if gates == "" {
		return nil
	}
	return []string{"--feature-gates=" + gates}
}

// insecureProxy lets every program of this machine be the administrator, for tools that know no TLS. It listens on
// the loopback address whatever the others do.
func insecureProxy() Component {
	return Component{
		Name: InsecureProxy, Needs: []string{"kube-apiserver"},
		Ports: []Port{{Name: "http", Option: func(o *Options) *int { return &o.KubeApiserverInsecurePort }}},
		Args: func(c Context) []string {
			port := "--port=" + strconv.Itoa(c.Options.KubeApiserverInsecurePort)
			if Contained(c.Options) { // whose port is published on the loopback address alone
				return []string{"--kubeconfig=" + configPath(InsecureProxy), "--address=" + c.Bind, port}
			}
			return []string{"--kubeconfig=kubeconfig.yaml", port}
		},
		Probe: func(c Context) runtimes.Probe {
			base := "http://" + c.Addr(InsecureProxy, "http")
			return runtimes.Probe{Ready: base + "/readyz", Live: base + "/version", Host: "localhost"}
		},
		Files: func(c Context) []File {
			if !Contained(c.Options) {
				return nil
			}
			return []File{kubeconfigOf(c, InsecureProxy, "admin")}
		},
	}
}

func controllerManager() Component {
	return Component{
		Name: "kube-controller-manager", Needs: []string{"kube-apiserver"},
		Ports:  []Port{{Name: "https", Unasked: 10257, Option: func(o *Options) *int { return &o.KubeControllerManagerPort }}},
		Binary: func(o *Options) *string { return &o.KubeControllerManagerBinary },
		Image:  func(o *Options) *string { return &o.KubeControllerManagerImage },
		Args: func(c Context) []string {
			args := append(serving(c, "kube-controller-manager"), connecting("kube-controller-manager")...)
			args = append(args,
				"--node-monitor-period="+milliseconds(c.Options.KubeControllerManagerNodeMonitorPeriodMilliseconds),
				"--node-monitor-grace-period="+milliseconds(c.Options.KubeControllerManagerNodeMonitorGracePeriodMilliseconds),
				"--root-ca-file=pki/ca.crt", "--service-account-private-key-file=pki/sa.key",
				"--use-service-account-credentials=true",
				"--controllers=*,-"+ttlController(c.Options),
			)
			return append(args, featureGates(c.Options, c.Options.KubeControllerManagerBinary, c.Options.KubeControllerManagerImage)...)
		},
		Probe: func(c Context) runtimes.Probe {
			return probe(c, "kube-controller-manager", "https", "/healthz", "/healthz")
		},
		Files: func(c Context) []File { return []File{kubeconfigFile(c, "kube-controller-manager")} },
	}
}

// ttlController is off: it would write to every node again as the cluster grows, to tell kubelets how long to cache
// secrets.
func ttlController(o *Options) string {
	if kubeMinor(o) < 28 {
		return "ttl"
	}
	return "ttl-controller"
}

func scheduler() Component {
	return Component{
		Name: "kube-scheduler", Needs: []string{"kube-apiserver"},
		Ports:  []Port{{Name: "https", Unasked: 10259, Option: func(o *Options) *int { return &o.KubeSchedulerPort }}},
		Binary: func(o *Options) *string { return &o.KubeSchedulerBinary },
		Image:  func(o *Options) *string { return &o.KubeSchedulerImage },
		Args: func(c Context) []string {
			args := serving(c, "kube-scheduler")
			if c.Options.KubeSchedulerConfig != "" { // it says all of that, see SchedulerConfig
				args = append(args, "--config="+SchedulerFile)
			} else {
				args = append(args, connecting("kube-scheduler")...)
			}
			return append(args, featureGates(c.Options, c.Options.KubeSchedulerBinary, c.Options.KubeSchedulerImage)...)
		},
		Probe: func(c Context) runtimes.Probe {
			if kubeMinor(c.Options) < 31 { // which had only this
				return probe(c, "kube-scheduler", "https", "/healthz", "/healthz")
			}
			return probe(c, "kube-scheduler", "https", "/readyz", "/livez")
		},
		Files: func(c Context) []File { return []File{kubeconfigFile(c, "kube-scheduler")} },
	}
}

func kwokController() Component {
	return Component{
		Name: "kwok-controller", Needs: []string{"kube-apiserver"},
		Ports:  []Port{{Name: "http", Unasked: 10247, Option: func(o *Options) *int { return &o.KwokControllerPort }}},
		Binary: func(o *Options) *string { return &o.KwokControllerBinary },
		Image:  func(o *Options) *string { return &o.KwokControllerImage }, Program: "kwok",
		Env: func(Context) []string { return []string{"KWOK_WORKDIR=."} }, // its default file is the cluster's, not the user's for clusters to come
		Args: func(c Context) []string {
			port := strconv.Itoa(Number(c.Options, "kwok-controller", "http"))
			args := []string{
				"--manage-all-nodes=true", "--kubeconfig=" + configPath("kwok-controller"), "--config=kwok.yaml",
				"--node-ip=", "--node-name=" + hostName(c, "kwok-controller", "http"), "--node-port=" + port,
				"--server-address=" + net.JoinHostPort(c.Bind, port),
				"--tls-cert-file=pki/kwok-controller-serving.crt", "--tls-private-key-file=pki/kwok-controller-serving.key",
				"--node-lease-duration-seconds=" + strconv.Itoa(c.Options.NodeLeaseDurationSeconds),
			}
			if len(c.Options.EnableCRDs) > 0 {
				args = append(args, "--enable-crds="+strings.Join(c.Options.EnableCRDs, ","))
			}
			return args
		},
		Probe: func(c Context) runtimes.Probe {
			base := "http://" + c.Addr("kwok-controller", "http")
			return runtimes.Probe{Ready: base + "/readyz", Live: base + "/livez"}
		},
		Files: func(c Context) []File { return []File{kubeconfigFile(c, "kwok-controller")} },
		Manifest: func(Context) []byte {
			return slices.Concat(kustomize.ControllerRBAC(), []byte("---\n"), kustomize.StorageClass())
		},
	}
}

// serving is how the scheduler and the controller-manager are asked.
func serving(c Context, name string) []string {
	config := configPath(name)
	return []string{
		"--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--bind-address=" + c.Bind, "--secure-port=" + strconv.Itoa(Number(c.Options, name, "https")),
		"--tls-cert-file=pki/" + name + "-serving.crt", "--tls-private-key-file=pki/" + name + "-serving.key",
		alwaysAllow,
	}
}

// Limits on requests, which cap a Deployment at 20 pods a second by default, are out of reach.
const (
	clientQPS   = 5000
	clientBurst = 10000
)

// connecting is how they ask. There is one of each, so nobody has to be elected.
func connecting(name string) []string {
	return []string{
		"--kubeconfig=" + configPath(name), "--leader-elect=false",
		fmt.Sprintf("--kube-api-qps=%d", clientQPS), fmt.Sprintf("--kube-api-burst=%d", clientBurst),
	}
}

func milliseconds(n int64) string { return (time.Duration(n) * time.Millisecond).String() }

func probe(c Context, component, port, ready, live string) runtimes.Probe {
	base := "https://" + c.Addr(component, port)
	return runtimes.Probe{Ready: base + ready, Live: base + live, CA: "pki/ca.crt"}
}

func configPath(component string) string { return "config/" + component + ".kubeconfig" }

// kubeconfigFile is how a component finds the API server, as itself: with its own certificate.
func kubeconfigFile(c Context, component string) File { return kubeconfigOf(c, component, component) }

func kubeconfigOf(c Context, component, user string) File {
	return File{Path: configPath(component), Data: fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: default
clusters:
- name: default
  cluster:
    server: https://%s
    certificate-authority: ../pki/ca.crt
contexts:
- name: default
  context:
    cluster: default
    user: %[2]s
users:
- name: %[2]s
  user:
    client-certificate: ../pki/%[2]s.crt
    client-key: ../pki/%[2]s.key
`, c.Addr("kube-apiserver", "https"), user)}
}

// Stored turns specs into the components of the stored configuration, in upstream's format. Those that the user has
// described, which are among had, stay as they are.
func Stored(specs []runtimes.Spec, had []api.Component) []api.Component {
	var list []api.Component
	for _, s := range specs {
		if i := slices.IndexFunc(had, func(c api.Component) bool { return c.Name == s.Name }); i >= 0 {
			list = append(list, had[i])
			continue
		}
		c := api.Component{Name: s.Name, Links: s.Needs, Image: s.Image, Binary: s.Program, Args: s.Args, Ready: s.Probe.Ready, Live: s.Probe.Live}
		if s.Image != "" {
			c.Binary, c.Command = "", s.Command
		}
		for _, p := range s.Ports {
			port := api.Port{Name: p.Name, Port: p.Number, HostPort: p.Number, Protocol: "TCP"}
			if p.Hidden {
				port.HostPort = 0
			}
			c.Ports = append(c.Ports, port)
		}
		list = append(list, c)
	}
	return list
}

// hostName is where the API server finds a component, as a name: some fields take no address.
func hostName(c Context, component, port string) string {
	host, _, err := net.SplitHostPort(c.Addr(component, port))
	if err != nil || host == "127.0.0.1" {
		return "localhost"
	}
	return host
}
