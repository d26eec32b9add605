package pki

import "crypto/x509"

// usage is what a certificate may be used for.
type usage int

const (
	authority usage = iota // signs other certificates
	client                 // proves who calls
	server                 // proves who answers
	both                   // etcd uses its serving certificates to call itself and its peers
)

// row is one certificate. Its files are name.crt and name.key.
type row struct {
	name  string
	by    string // name of the authority that signs it; empty: itself
	use   usage
	cn    string
	group string   // organization, which Kubernetes takes as a group
	hosts []string // besides those in local and in Spec.Hosts
}

// The authorities. One per trust domain, so that a key stolen in one opens nothing in the others.
const (
	clusterCA    = "ca"
	etcdCA       = "etcd-ca"
	frontProxyCA = "front-proxy-ca"
)

// serviceAccount signs tokens. It is a key pair and no certificate: sa.key and sa.pub.
const serviceAccount = "sa"

// local is where every server can be reached, besides its own name.
func local() []string { return []string{"localhost", "127.0.0.1", "::1"} }

// table is every certificate of a cluster, authorities first.
func table() []row {
	return []row{
		{name: clusterCA, use: authority, cn: "kwok-ca"},
		{name: etcdCA, use: authority, cn: "kwok-etcd-ca"},
		{name: frontProxyCA, use: authority, cn: "kwok-front-proxy-ca"},

		{name: "kube-apiserver", by: clusterCA, use: server, cn: "kube-apiserver", hosts: []string{
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
			"kube-apiserver", "10.0.0.1", // the first address of the service range is the service "kubernetes"
		}},
		{name: "apiserver-kubelet-client", by: clusterCA, use: client, cn: "kube-apiserver-kubelet-client"},
		{name: "apiserver-etcd-client", by: etcdCA, use: client, cn: "kube-apiserver-etcd-client"},
		{name: "front-proxy-client", by: frontProxyCA, use: client, cn: "front-proxy-client"},

		{name: "etcd-server", by: etcdCA, use: both, cn: "etcd", hosts: []string{"etcd"}},
		{name: "etcd-peer", by: etcdCA, use: both, cn: "etcd", hosts: []string{"etcd"}},

		{name: "kube-controller-manager", by: clusterCA, use: client, cn: "system:kube-controller-manager"},
		{name: "kube-controller-manager-serving", by: clusterCA, use: server, cn: "kube-controller-manager",
			hosts: []string{"kube-controller-manager"}},
		{name: "kube-scheduler", by: clusterCA, use: client, cn: "system:kube-scheduler"},
		{name: "kube-scheduler-serving", by: clusterCA, use: server, cn: "kube-scheduler",
			hosts: []string{"kube-scheduler"}},
		{name: "kwok-controller", by: clusterCA, use: client, cn: "kwok-controller"},
		{name: "kwok-controller-serving", by: clusterCA, use: server, cn: "kwok-controller",
			hosts: []string{"kwok-controller"}},

		{name: "metrics-server", by: clusterCA, use: client, cn: "metrics-server"},
		{name: "metrics-server-serving", by: clusterCA, use: server, cn: "metrics-server", hosts: []string{"metrics-server"}},

		{name: "dashboard", by: clusterCA, use: client, cn: "dashboard"},
		{name: "kueueviz-backend", by: clusterCA, use: client, cn: "kueueviz-backend"},

		{name: "descheduler-serving", by: clusterCA, use: server, cn: "descheduler", hosts: []string{"descheduler"}},

		{name: "admin", by: clusterCA, use: client, cn: "kwok-admin", group: "system:masters"},
	}
}

// keyUsages gives the exact usages of a certificate: none is granted that is not needed.
func (u usage) keyUsages() (x509.KeyUsage, []x509.ExtKeyUsage) {
	switch u {
	case authority:
		return x509.KeyUsageCertSign | x509.KeyUsageCRLSign, nil
	case client:
		return x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case server:
		return x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	default:
		return x509.KeyUsageDigitalSignature,
			[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
}
