//go:build linux || darwin

package process

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kwokctl/runtimes"
)

// prober asks one process of a component for its health.
type prober struct {
	dir     string
	probe   runtimes.Probe
	periods Periods
	clients map[string]*http.Client // by scheme and host
}

func newProber(dir string, probe runtimes.Probe, periods Periods) *prober {
	return &prober{dir: dir, probe: probe, periods: periods, clients: map[string]*http.Client{}}
}

// run sends each answer to answers, nil for a good one: first those of Ready until one is good, then those of Live.
// It ends with ctx.
func (p *prober) run(ctx context.Context, answers chan<- error) {
	defer p.close()
	began := time.Now()
	for {
		// Both pause and patience grow with the time it takes: quick where that is seen, cheap where it is not.
		elapsed := time.Since(began)
		err := p.ask(ctx, p.probe.Ready, min(max(elapsed, 20*p.periods.ProbeFirst), p.periods.LiveTimeout))
		if !send(ctx, answers, err) {
			return
		}
		if err == nil {
			break
		}
		if !sleep(ctx, min(max(elapsed/50, p.periods.ProbeFirst), p.periods.ProbeMost)) {
			return
		}
	}
	live := p.probe.Live
	if live == "" {
		live = p.probe.Ready
	}
	for live != "" && sleep(ctx, p.periods.Live) {
		if !send(ctx, answers, p.ask(ctx, live, p.periods.LiveTimeout)) {
			return
		}
	}
}

func send(ctx context.Context, answers chan<- error, err error) bool {
	select {
	case answers <- err:
		return true
	case <-ctx.Done():
		return false
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// ask sends one request; nil means 200.
func (p *prober) ask(ctx context.Context, address string, most time.Duration) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	client, err := p.client(u)
	if err != nil {
		return err
	}
	if u.Scheme == "unix" {
		u.Scheme = "http"
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	res, err := client.Do(req)
	if err != nil {
		return describeProbe(address, most, err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // read to the end, or the connection cannot be used again
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s%s", address, res.Status, failedChecks(string(body)))
	}
	return nil
}

// describeProbe says in short words why there was no answer.
func describeProbe(address string, most time.Duration, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: no answer within %s", address, most.Round(time.Millisecond))
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%s: %w", address, op.Err)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return fmt.Errorf("%s: %w", address, err)
}

// failedChecks picks the lines "[-]name failed…" with which servers of Kubernetes and etcd say what is missing.
func failedChecks(body string) string {
	var failed []string
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, "[-]"); ok {
			name, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			failed = append(failed, name)
		}
	}
	if len(failed) == 0 {
		return ""
	}
	return " (" + strings.Join(failed, ", ") + ")"
}

func (p *prober) client(u *url.URL) (*http.Client, error) {
	key := u.Scheme + "://" + u.Host
	if c := p.clients[key]; c != nil {
		return c, nil
	}
	t := &http.Transport{MaxIdleConnsPerHost: 1} // no proxy: it is all on this machine
	switch u.Scheme {
	case "http":
	case "unix":
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			// A relative name, which is short enough for a socket: the supervisor works in the cluster directory.
			return new(net.Dialer).DialContext(ctx, "unix", u.Host)
		}
	case "https":
		config, err := p.tls()
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig = config
	default:
		return nil, fmt.Errorf("probe: %s: scheme %q is not http, https or unix", u, u.Scheme)
	}
	c := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	p.clients[key] = c
	return c, nil
}

func (p *prober) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.probe.CA != "" {
		pem, err := os.ReadFile(p.path(p.probe.CA))
		if err != nil {
			return nil, fmt.Errorf("probe: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("probe: %s holds no certificate", p.probe.CA)
		}
	}
	if p.probe.Cert != "" {
		pair, err := tls.LoadX509KeyPair(p.path(p.probe.Cert), p.path(p.probe.Key))
		if err != nil {
			return nil, fmt.Errorf("probe: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (p *prober) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.dir, name)
}

func (p *prober) close() {
	for _, c := range p.clients {
		c.CloseIdleConnections()
	}
}
