package docker

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// plainPort is where the docker command asks engines on TCP unless it is told another port.
const plainPort = "2375"

// address returns the address of an engine with what it leaves out, or says which there may be.
func address(host string) (string, error) {
	scheme, rest, _ := strings.Cut(host, "://")
	switch scheme {
	case "unix", "npipe":
		if rest != "" {
			return host, nil
		}
	case "tcp", "http", "https":
		u, err := url.Parse(host)
		if err != nil || u.Host == "" || u.User != nil {
			break
		}
		if u.Port() == "" && scheme == "tcp" {
			u.Host = net.JoinHostPort(u.Hostname(), plainPort)
		}
		if port, err := strconv.Atoi(u.Port()); u.Port() == "" || err == nil && port > 0 && port < 1<<16 {
			return u.String(), nil
		}
	case "ssh":
		if u, err := url.Parse(host); err == nil && checkAway(u) {
			return host, nil
		}
	}
	return "", fmt.Errorf("engine address %q: allowed are unix:///PATH, tcp://HOST:PORT, ssh://[USER@]HOST[:PORT][/SOCKET] and npipe:////./pipe/NAME", secretless(host))
}

// secret is a password in an address.
var secret = regexp.MustCompile(`://([^:/@]*):.*@`)

// secretless returns an address without the password that somebody put into it.
func secretless(host string) string { return secret.ReplaceAllString(host, "://$1:xxxxx@") }

// local tells whether the engine is reached by something that only processes of this machine can open.
func (e endpoint) local() bool {
	return strings.HasPrefix(e.Host, "unix://") || strings.HasPrefix(e.Host, "npipe://")
}

// certified tells whether there is a certificate to show to the engine. As with the docker command it may be missing,
// since there are engines that do not ask for it.
func (e endpoint) certified() bool { return e.Cert != "" && (exists(e.Cert) || exists(e.Key)) }

// lookTime is how long to wait for the address of a name.
const lookTime = 5 * time.Second

// Elsewhere returns the host that the user reaches the engine at, if that is not this machine: published ports are found
// there, and not at 127.0.0.1. Of the loopback addresses all but the usual one count as another machine, that which a
// tunnel leads to.
func (r *Runtime) Elsewhere(ctx context.Context) (string, error) {
	at, err := find(r.Engine, r.Getenv)
	if err != nil || at.local() {
		return "", err
	}
	u, err := url.Parse(at.Host)
	if err != nil {
		return "", err
	}
	host := u.Hostname()
	if at.ssh() {
		host = at.away(r.Engine).name(ctx)
	}
	if host == "" {
		return "", nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsLoopback() && ip != netip.AddrFrom4([4]byte{127, 0, 0, 1}) && ip != netip.IPv6Loopback() {
			return host, nil
		}
		return elsewhere(host, []netip.Addr{ip}), nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", fmt.Errorf("look up %s: %w", host, err)
	}
	return elsewhere(host, list), nil
}

// elsewhere returns host unless one of its addresses is of this machine.
func elsewhere(host string, list []netip.Addr) string {
	own, _ := net.InterfaceAddrs() // if they cannot be had, only the loopback addresses are known to be of this machine
	if slices.ContainsFunc(list, func(ip netip.Addr) bool {
		ip = ip.Unmap().WithZone("")
		return ip.IsLoopback() || ip.IsUnspecified() || slices.ContainsFunc(own, func(a net.Addr) bool {
			prefix, err := netip.ParsePrefix(a.String())
			return err == nil && prefix.Addr().Unmap() == ip
		})
	}) {
		return ""
	}
	return host
}
