package components

import (
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
)

// What etcd's database may be limited to, in bytes: with less than that a cluster does not start.
const (
	leastQuota = 16 << 20
	mostQuota  = 1 << 50
)

// quota is how large etcd's database may grow, in bytes. The option was checked.
func quota(o *Options) int64 {
	q, err := resource.ParseQuantity(o.EtcdQuotaBackendSize)
	if err != nil {
		return 0 // which etcd takes for its own default
	}
	return q.Value()
}

// checkOptions tells which option has a value that cannot work. The first is enough: the user mends one at a time.
func checkOptions(o *Options) error {
	for _, check := range []func(*Options) error{
		checkServing, checkEtcd, checkGates, checkRuntimeConfig, checkHere,
	} {
		if err := check(o); err != nil {
			return err
		}
	}
	return nil
}

func checkServing(o *Options) error {
	switch {
	case !o.SecurePort:
		return fmt.Errorf("secure-port false: Kubernetes serves HTTPS only by now; for plain HTTP on this machine there is --kube-apiserver-insecure-port")
	case o.InsecureKubeconfig && o.KubeApiserverInsecurePort == 0:
		return fmt.Errorf("insecureKubeconfig: needs kubeApiserverInsecurePort")
	case !slices.Contains([]string{"", "127.0.0.1", "0.0.0.0", "::"}, o.BindAddress):
		return fmt.Errorf("bindAddress %q: allowed are 127.0.0.1, and 0.0.0.0 and :: for all addresses", o.BindAddress)
	case slices.ContainsFunc(o.KubeApiserverCertSANs, func(s string) bool { return !hostname(s) }):
		return fmt.Errorf("kubeApiserverCertSANs %q: want names and addresses of hosts", o.KubeApiserverCertSANs)
	case o.EtcdPeerPort != 0:
		return fmt.Errorf("etcdPeerPort %d: etcd has no peers; it listens for them on a unix socket", o.EtcdPeerPort)
	}
	return nil
}

// hostname tells whether a certificate can be for a name, *.x included, or for an address.
func hostname(s string) bool {
	return net.ParseIP(s) != nil || len(validation.IsDNS1123Subdomain(strings.TrimPrefix(strings.ToLower(s), "*."))) == 0
}

func checkEtcd(o *Options) error {
	if !strings.HasPrefix(o.EtcdPrefix, "/") || len(o.EtcdPrefix) < 2 || path.Clean(o.EtcdPrefix) != o.EtcdPrefix || strings.ContainsAny(o.EtcdPrefix, " \t\n") {
		return fmt.Errorf("etcd-prefix %q: want a path such as /registry", o.EtcdPrefix)
	}
	q, err := resource.ParseQuantity(o.EtcdQuotaBackendSize)
	// CmpInt64 and not Value, which overflows.
	if err != nil || q.CmpInt64(leastQuota) < 0 || q.CmpInt64(mostQuota) > 0 {
		return fmt.Errorf("etcd-quota-backend-size %q: want a size from 16Mi to 1Pi, such as 8Gi or 500M", o.EtcdQuotaBackendSize)
	}
	return nil
}

// checkGates looks at the form only; whether there are such gates is for the program to say.
func checkGates(o *Options) error {
	return checkPairs("kube-feature-gates", "Name=true,Other=false", o.KubeFeatureGates, func(value string) bool { return value == "true" || value == "false" })
}

func checkRuntimeConfig(o *Options) error {
	return checkPairs("kube-runtime-config", "api/alpha=true,apps/v1=false", o.KubeRuntimeConfig, func(value string) bool { return value == "true" || value == "false" })
}

func checkPairs(flag, example, text string, good func(string) bool) error {
	if text == "" {
		return nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, found := strings.Cut(strings.TrimSpace(pair), "=")
		if key == "" || !found || !good(strings.TrimSpace(value)) {
			return fmt.Errorf("%s: %q in %q: want pairs such as %s", flag, pair, text, example)
		}
	}
	return nil
}

// checkHere refuses what would silently not be done.
func checkHere(o *Options) error {
	for field, value := range map[string]string{
		"etcdutlBinary": o.EtcdutlBinary, "kectlBinary": o.KectlBinary,
	} {
		if value != "" {
			return fmt.Errorf("%s %s: kwokctl has no use for it", field, value)
		}
	}
	return nil
}
