package components

import (
	"fmt"
	"strconv"
	"strings"

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

	// ServiceRange is where services get their addresses; ServiceIP is the first, the API server's own.
	ServiceRange = "10.96.0.0/12"
	ServiceIP    = "10.96.0.1"

	// heartbeatFactor stretches upstream's heartbeats and what watches them alike: 5 means a lease of 200 s.
	heartbeatFactor = 5
	// DefaultLeaseSeconds is how long a node lease is valid.
	DefaultLeaseSeconds = 40 * heartbeatFactor
	monitorPeriod       = 5 * heartbeatFactor
	monitorGrace        = 40 * heartbeatFactor

	alwaysAllow = "--authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics"
)

func etcd() Component {
	return Component{
		Name: "etcd", Must: true,
		Ports: []string{"client"}, Port: func(o *Options) *int { return &o.EtcdPort },
		Args: func(c Context) []string {
			listen, socket := "unix://"+ClientSocket, "unix://"+ClientSocket
			args := []string{
				"--name=" + Member, "--data-dir=" + DataDir,
				"--auto-compaction-retention=1", "--quota-backend-bytes=8589934592",
				// One member elects itself when its election timer runs out; the defaults make that 0.6 s.
				"--heartbeat-interval=10", "--election-timeout=100",
				"--listen-peer-urls=" + PeerURL, "--initial-advertise-peer-urls=" + PeerURL, "--initial-cluster=" + Member + "=" + PeerURL,
				"--advertise-client-urls=" + socket,
			}
			if c.Options.EtcdPort != 0 {
				listen += ",https://" + c.Bind + ":" + strconv.Itoa(c.Options.EtcdPort)
				args = append(args, "--cert-file=pki/etcd-server.crt", "--key-file=pki/etcd-server.key",
					"--trusted-ca-file=pki/etcd-ca.crt", "--client-cert-auth=true")
			}
			if c.Options.EtcdUnsafeNoFsync {
				args = append(args, "--unsafe-no-fsync=true")
			}
			return append(args, "--listen-client-urls="+listen)
		},
		Probe: func(Context) runtimes.Probe {
			return runtimes.Probe{Ready: "unix://" + ClientSocket + "/readyz", Live: "unix://" + ClientSocket + "/livez"}
		},
	}
}

func apiServer() Component {
	return Component{
		Name: "kube-apiserver", Must: true, Needs: []string{"etcd"},
		Ports: []string{"https"}, Port: func(o *Options) *int { return &o.KubeApiserverPort },
		Args: func(c Context) []string {
			return []string{
				"--etcd-prefix=/registry", "--etcd-servers=" + c.Addr("etcd", "client"),
				"--allow-privileged=true", "--endpoint-reconciler-type=none",
				"--bind-address=" + c.Bind, "--advertise-address=127.0.0.1",
				"--secure-port=" + strconv.Itoa(c.Options.KubeApiserverPort),
				"--service-cluster-ip-range=" + ServiceRange,
				"--authorization-mode=Node,RBAC",
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
		},
		Probe: func(c Context) runtimes.Probe { return probe(c, "kube-apiserver", "https", "/readyz", "/livez") },
	}
}

func controllerManager() Component {
	return Component{
		Name: "kube-controller-manager", Needs: []string{"kube-apiserver"},
		Ports: []string{"https"}, Port: func(o *Options) *int { return &o.KubeControllerManagerPort },
		Args: func(c Context) []string {
			return append(client(c, "kube-controller-manager", c.Options.KubeControllerManagerPort),
				fmt.Sprintf("--node-monitor-period=%ds", monitorPeriod),
				fmt.Sprintf("--node-monitor-grace-period=%ds", monitorGrace),
				"--root-ca-file=pki/ca.crt", "--service-account-private-key-file=pki/sa.key",
				"--use-service-account-credentials=true",
				// It would write to every node again as the cluster grows, to tell kubelets how long to cache secrets.
				"--controllers=*,-ttl-controller",
			)
		},
		Probe: func(c Context) runtimes.Probe {
			return probe(c, "kube-controller-manager", "https", "/healthz", "/healthz")
		},
		Files: func(c Context) []File { return []File{kubeconfigFile(c, "kube-controller-manager")} },
	}
}

func scheduler() Component {
	return Component{
		Name: "kube-scheduler", Needs: []string{"kube-apiserver"},
		Ports: []string{"https"}, Port: func(o *Options) *int { return &o.KubeSchedulerPort },
		Args:  func(c Context) []string { return client(c, "kube-scheduler", c.Options.KubeSchedulerPort) },
		Probe: func(c Context) runtimes.Probe { return probe(c, "kube-scheduler", "https", "/readyz", "/livez") },
		Files: func(c Context) []File { return []File{kubeconfigFile(c, "kube-scheduler")} },
	}
}

func kwokController() Component {
	return Component{
		Name: "kwok-controller", Needs: []string{"kube-apiserver"},
		Ports: []string{"http"}, Port: func(o *Options) *int { return &o.KwokControllerPort },
		Args: func(c Context) []string {
			args := []string{
				"--manage-all-nodes=true", "--kubeconfig=" + configPath("kwok-controller"), "--config=kwok.yaml",
				"--node-ip=", "--node-name=localhost", "--node-port=" + strconv.Itoa(c.Options.KwokControllerPort),
				"--server-address=" + c.Bind + ":" + strconv.Itoa(c.Options.KwokControllerPort),
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
		Files:    func(c Context) []File { return []File{kubeconfigFile(c, "kwok-controller")} },
		Manifest: func() []byte { return kustomize.ControllerRBAC() },
	}
}

// client is what the scheduler and the controller-manager have in common. There is one of each, so nobody has to be
// elected; and the limits on requests, which cap a Deployment at 20 pods a second by default, are out of reach.
func client(c Context, name string, port int) []string {
	config := configPath(name)
	return []string{
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--leader-elect=false", "--kube-api-qps=5000", "--kube-api-burst=10000",
		"--bind-address=" + c.Bind, "--secure-port=" + strconv.Itoa(port),
		"--tls-cert-file=pki/" + name + "-serving.crt", "--tls-private-key-file=pki/" + name + "-serving.key",
		alwaysAllow,
	}
}

func probe(c Context, component, port, ready, live string) runtimes.Probe {
	base := "https://" + c.Addr(component, port)
	return runtimes.Probe{Ready: base + ready, Live: base + live, CA: "pki/ca.crt"}
}

func configPath(component string) string { return "config/" + component + ".kubeconfig" }

// kubeconfigFile is how a component finds the API server, as itself: with its own certificate.
func kubeconfigFile(c Context, component string) File {
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
`, c.Addr("kube-apiserver", "https"), component)}
}

// Stored turns specs into the components of the stored configuration, in upstream's format.
func Stored(specs []runtimes.Spec) []api.Component {
	var list []api.Component
	for _, s := range specs {
		c := api.Component{Name: s.Name, Links: s.Needs, Binary: s.Program, Args: s.Args, Ready: s.Probe.Ready, Live: s.Probe.Live}
		for _, p := range s.Ports {
			c.Ports = append(c.Ports, api.Port{Name: p.Name, Port: p.Number, HostPort: p.Number, Protocol: "TCP"})
		}
		list = append(list, c)
	}
	return list
}
