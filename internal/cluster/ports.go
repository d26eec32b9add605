package cluster

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"kwokctl/internal/api"
	"kwokctl/internal/components"
	"kwokctl/internal/kube"
	"kwokctl/runtimes"
)

// Free ports are taken from the top of this range downwards: below what Linux hands out to clients by itself.
const (
	maxPort = 32766
	minPort = 10001
)

// firstPort is where the search for ports begins. It depends on the work directory, so that users of one machine,
// whose clusters know nothing of each other, do not run into each other's stopped ones.
func (h Home) firstPort() int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(h.Dir)) // never fails
	return maxPort - int(hash.Sum32()%(maxPort-minPort))
}

// choosePorts fills in the ports of a new cluster. Ports that other clusters have are theirs, even while those are
// stopped.
func (h Home) choosePorts(name string, cfg *api.KwokctlConfiguration) error {
	o := &cfg.Options
	taken := map[int]string{}
	others, err := h.List()
	if err != nil {
		return err
	}
	for _, other := range others {
		if other == name {
			continue
		}
		c, err := h.Open(other)
		if err != nil {
			continue // damaged: its ports cannot be known; a port in use is found busy below
		}
		for _, s := range c.specs {
			for _, p := range s.Published() {
				taken[p.Number] = other
			}
		}
	}
	names, err := components.Names(o)
	if err != nil {
		return err
	}
	if err := takeUserPorts(name, cfg, taken); err != nil {
		return err
	}
	has := func(component string) bool { return slices.Contains(names, component) }
	next, listen := h.firstPort(), tryPort(cfg)
	if cfg.Status.EngineHost != "" { // where anybody may have any: the next try is to find others
		next = minPort + rand.IntN(maxPort-minPort)
	}
	for _, row := range components.Table() {
		if !has(row.Name) {
			continue
		}
		for _, p := range row.Ports {
			port := p.Option(o)
			switch {
			case *port == 0 && row.Quiet != nil && row.Quiet(has), p.Hidden(o):
				continue
			case *port != 0:
				if err := checkPort(*port, row.Name, taken, listen); err != nil {
					return err
				}
			default:
				if next, err = nextPort(next, taken, row.Name, listen); err != nil {
					return err
				}
				*port = next
			}
			taken[*port] = name
		}
	}
	return nil
}

// nextPort returns the first free port from one downwards.
func nextPort(port int, taken map[int]string, component string, listen func(int) error) (int, error) {
	for range maxPort - minPort {
		if taken[port] == "" && listen(port) == nil {
			return port, nil
		}
		if port--; port < minPort {
			port = maxPort
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d for %s", minPort, maxPort, component)
}

// takeUserPorts takes the ports of components that the user describes.
func takeUserPorts(name string, cfg *api.KwokctlConfiguration, taken map[int]string) error {
	for _, c := range cfg.Components {
		for _, p := range c.Ports {
			number := max(p.Port, p.HostPort)
			if components.Contained(&cfg.Options) { // where others may have that port too
				number = p.HostPort
			}
			if number == 0 {
				continue
			}
			if err := checkPort(number, c.Name, taken, tryPort(cfg)); err != nil {
				return err
			}
			taken[number] = name
		}
	}
	return nil
}

// checkPort tells why a port that the user chose cannot be had.
func checkPort(port int, component string, taken map[int]string, listen func(int) error) error {
	switch {
	case port < 1 || port > 65535:
		return fmt.Errorf("port %d for %s: allowed are 1 to 65535, and 0 for a free one", port, component)
	case taken[port] != "":
		return fmt.Errorf("port %d for %s belongs to cluster %q", port, component, taken[port])
	}
	if err := listen(port); err != nil {
		return fmt.Errorf("port %d for %s is busy: %s", port, component, holder(port, err))
	}
	return nil
}

// tryPort returns the function that tries whether a port can be had; that of another machine is not known to be taken
// until the engine says so.
func tryPort(cfg *api.KwokctlConfiguration) func(port int) error {
	if cfg.Status.EngineHost != "" {
		return func(int) error { return nil }
	}
	return listen
}

// listen tries whether a port can be had on the loopback address and on all.
func listen(port int) error {
	for _, host := range []string{loopback, ""} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		l.Close()
	}
	return nil
}

// holder names the process that listens on a port, if that can be known.
func holder(port int, err error) string {
	if owner := listener(port); owner != "" {
		return owner
	}
	return err.Error()
}

// checkPorts fails when a stranger has taken a port of this cluster while it was stopped.
func (c *Cluster) checkPorts(ctx context.Context) error {
	list, err := c.Status(ctx)
	if err != nil {
		return err
	}
	err = c.checkStopped(list)
	if err == nil || slices.ContainsFunc(list, func(s runtimes.Status) bool { return s.State != runtimes.Stopped }) {
		return err
	}
	// It may be the last moment of processes whose supervisor was killed.
	if _, err := c.rt.Stop(ctx, c.specs, true); err != nil {
		return err
	}
	for until := time.Now().Add(releaseTime); ; {
		if err = c.checkStopped(list); err == nil || time.Now().After(until) || kube.Pause(ctx, 20*time.Millisecond) != nil {
			return err
		}
	}
}

// releaseTime is how long the system may take to give back the ports of a process that has ended.
const releaseTime = time.Second

func (c *Cluster) checkStopped(list []runtimes.Status) error {
	for i, s := range c.specs {
		if list[i].State != runtimes.Stopped {
			continue
		}
		for _, p := range s.Published() {
			if err := checkPort(p.Number, s.Name, nil, tryPort(c.Config)); err != nil {
				return fmt.Errorf("start cluster %q: %w", c.Name, err)
			}
		}
	}
	return nil
}
