package docker

import (
	"cmp"
	"net/netip"
	"strconv"

	"github.com/moby/moby/api/types/network"

	"kwokctl/runtimes"
)

// ports are those that a component listens on, and where they are published, if they are.
func (r *Runtime) ports(e *engine, s runtimes.Spec) (network.PortSet, network.PortMap) {
	ports, published := network.PortSet{}, network.PortMap{}
	at, _ := netip.ParseAddr(r.Publish)
	if e.Engine == Podman && at.IsUnspecified() {
		at = netip.Addr{} // which means all; 0.0.0.0 is looked for in what comes, by netavark 1.4, and never found
	}
	for _, p := range s.Ports {
		port, _ := network.PortFrom(uint16(cmp.Or(p.Inside, p.Number)), network.TCP)
		ports[port] = struct{}{}
		if p.Hidden {
			continue
		}
		binding := network.PortBinding{HostIP: at, HostPort: strconv.Itoa(p.Number)}
		if p.Local {
			binding.HostIP = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		published[port] = []network.PortBinding{binding}
	}
	return ports, published
}
