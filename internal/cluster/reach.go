package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"kwokctl/internal/components"
	"kwokctl/internal/kube"
)

// reachTime is how long a published port may take to lead to the API server, and reachPause how often it is tried.
const (
	reachTime  = 10 * time.Second
	reachPause = 100 * time.Millisecond
)

// reach returns when the port of an API server in a container, which is ready, leads to it from here. It never does on
// an engine of another machine that is taken for one of this.
func (c *Cluster) reach(ctx context.Context) error {
	if !components.Contained(&c.Config.Options) {
		return nil
	}
	return c.reachWithin(ctx, reachTime)
}

func (c *Cluster) reachWithin(ctx context.Context, patience time.Duration) error {
	most, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	address := net.JoinHostPort(c.Host(), strconv.Itoa(c.Config.Options.KubeApiserverPort))
	var met error
	for {
		conn, err := new(net.Dialer).DialContext(most, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		if met == nil || most.Err() == nil {
			met = err
		}
		if kube.Pause(most, reachPause) == nil {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return c.unreached(address, met)
	}
}

// unreached says in one line why a cluster that runs cannot be used.
func (c *Cluster) unreached(address string, err error) error {
	var net *net.OpError
	if errors.As(err, &net) {
		err = net.Err
	}
	engine, host := c.Config.Options.Runtime, c.Config.Status.EngineHost
	if host == "" {
		return fmt.Errorf("kube-apiserver is ready, but there is no way to it from here: %s: %w; if %s runs on another machine, docs/runtimes.md says under \"Which engine\" how to reach it", address, err, engine)
	}
	return fmt.Errorf("kube-apiserver is ready, but there is no way to it from here: %s: %w; let that port pass on the way to %s", address, err, host)
}
