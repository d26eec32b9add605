package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"kwokctl/internal/components"
	"kwokctl/internal/kube"
)

// reachTime is how long a published port may take to lead to the API server, and askTime how long one question may.
const (
	reachTime  = 10 * time.Second
	askTime    = 3 * time.Second
	reachPause = 100 * time.Millisecond
)

// reach returns when the port of an API server in a container, which is ready, leads to it from here. It never does on
// an engine of another machine that is taken for one of this.
func (c *Cluster) reach(ctx context.Context) error {
	if !components.Contained(&c.Config.Options) {
		return nil
	}
	_, client, err := c.http()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	return c.reachBy(ctx, client, reachTime)
}

func (c *Cluster) reachBy(ctx context.Context, client *http.Client, patience time.Duration) error {
	most, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var met error
	for {
		err := answers(most, client, c.Server())
		if err == nil {
			return nil
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
		return c.unreached(met)
	}
}

// answers returns nil when an HTTP server answers, whatever it says. That somebody accepts a connection is not enough:
// engines do, before they know where it leads.
func answers(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/livez", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// unreached says in one line why a cluster that runs cannot be used.
func (c *Cluster) unreached(err error) error {
	var request *url.Error
	if errors.As(err, &request) { // which repeats the address
		err = request.Err
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		err = op.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("no answer")
	}
	hint := "if " + c.Config.Options.Runtime + " runs on another machine, docs/runtimes.md says under \"Which engine\" how to reach it"
	if host := c.Config.Status.EngineHost; host != "" {
		hint = "let that port pass on the way to " + host
	}
	return fmt.Errorf("kube-apiserver is ready, but there is no way to it from here: %s: %w; %s", c.Server(), err, hint)
}
