package cli

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"kwokctl/internal/cluster"
	"kwokctl/internal/kubeconfig"
	"kwokctl/internal/pki"
)

// adminUser and adminGroup are who the administrator of a cluster is.
const (
	adminUser  = "kwok-admin"
	adminGroup = "system:masters"
)

// maxIdentity is how long the name of a user or group may be: longer than that of any service account.
const maxIdentity = 512

// kubeconfigOptions are the flags of get kubeconfig.
type kubeconfigOptions struct {
	host, user string
	groups     []string
	insecure   bool
}

func newGetKubeconfig(env *Env) *cobra.Command {
	var o kubeconfigOptions
	cmd := &cobra.Command{Use: "kubeconfig", Short: "Print a kubeconfig for a cluster", Args: exactly(cobra.NoArgs),
		Example: "  kwokctl get kubeconfig > k.yaml\n  kwokctl get kubeconfig --host host.docker.internal    # from a container\n  kwokctl get kubeconfig --user jane --group dev"}
	cmd.Flags().StringVar(&o.host, "host", "127.0.0.1", "host, or host:port, to put in place of the API server's; empty leaves it")
	cmd.Flags().StringVar(&o.user, "user", adminUser, "name of the user")
	cmd.Flags().StringSliceVar(&o.groups, "group", []string{adminGroup}, "groups of the user")
	cmd.Flags().BoolVar(&o.insecure, "insecure-skip-tls-verify", false, "do not check the API server's certificate")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range append([]string{o.user}, o.groups...) {
			if len(name) > maxIdentity || strings.ContainsFunc(name, unicode.IsControl) {
				return fmt.Errorf("--user, --group %.40q: want a name of at most %d characters, all on one line", name, maxIdentity)
			}
		}
		if o.user == "" {
			return errors.New("--user: must not be empty")
		}
		if !cmd.Flags().Changed("host") { // its default is where most API servers are
			o.host = ""
		}
		c, err := env.open()
		if err != nil {
			return err
		}
		e, err := o.entry(c)
		if err != nil {
			return err
		}
		data, err := kubeconfig.Encode(e)
		if err != nil {
			return err
		}
		_, err = env.Out.Write(data)
		return err
	}
	return cmd
}

// entry is how this user reaches c at this host.
func (o kubeconfigOptions) entry(c *cluster.Cluster) (kubeconfig.Entry, error) {
	e, err := c.Entry()
	if err != nil {
		return e, err
	}
	if e.Server, err = replaceHost(e.Server, o.host); err != nil {
		return e, err
	}
	e.Insecure = o.insecure
	if e.ServerName, err = serverName(c, e.Server); err != nil {
		return e, err
	}
	groups := slices.DeleteFunc(slices.Clone(o.groups), func(g string) bool { return g == "" })
	if o.user == adminUser && slices.Equal(groups, []string{adminGroup}) {
		return e, nil
	}
	key, err := os.ReadFile(filepath.Join(c.Dir, "pki", "ca.key"))
	if err == nil {
		e.Cert, e.Key, err = pki.Sign(e.CA, key, o.user, groups, time.Now())
	}
	if err != nil {
		return e, fmt.Errorf("sign certificate of %q: %w", o.user, err)
	}
	return e, nil
}

// serverName is a name that the certificate of the API server has, if it does not have the host of server: a client
// that comes by another way, as from a container, can check the certificate all the same.
func serverName(c *cluster.Cluster, server string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(c.Dir, "pki", "kube-apiserver.crt"))
	if err != nil {
		return "", fmt.Errorf("read certificate of the API server: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", errors.New("read certificate of the API server: not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("read certificate of the API server: %w", err)
	}
	if cert.VerifyHostname(u.Hostname()) == nil {
		return "", nil
	}
	return "localhost", nil
}

// replaceHost puts host, or host:port, in place of the host of server.
func replaceHost(server, host string) (string, error) {
	if host == "" {
		return server, nil
	}
	if strings.ContainsAny(host, " /?#@\\") {
		return "", fmt.Errorf("--host %q: want a host or host:port", host)
	}
	u, err := url.Parse(server)
	if err != nil {
		return "", fmt.Errorf("address of the API server: %w", err)
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), u.Port()
	}
	n, err := strconv.Atoi(port)
	if name == "" || err != nil || n < 1 || n > 65535 || strings.Contains(name, ":") && net.ParseIP(name) == nil {
		return "", fmt.Errorf("--host %q: want a host or host:port, with a port from 1 to 65535", host)
	}
	u.Host = net.JoinHostPort(name, port)
	return u.String(), nil
}
