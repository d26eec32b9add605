package runtimes

import (
	"cmp"
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
)

// Prober asks one component for its health.
type Prober struct {
	dir     string
	probe   Probe
	clients map[string]*http.Client // by scheme and host
}

// NewProber returns a prober of a component whose files lie in dir. Over a unix socket it can only ask when dir is the
// working directory.
func NewProber(dir string, probe Probe) *Prober {
	return &Prober{dir: dir, probe: probe, clients: map[string]*http.Client{}}
}

// Pace says how often and how patiently to ask. Both grow with the time it takes: quick where that is seen, cheap where
// it is not.
type Pace struct {
	First, Most time.Duration // the shortest and the longest pause between two questions
	Patience    time.Duration // the longest wait for an answer
}

// Steady is how long a component that cannot be asked, or that has exited during a start, has to last until it counts as
// ready: most that cannot run at all end sooner.
const Steady = time.Second

// UntilReady asks whether the component is ready until it is, and tells each answer, nil for a good one. It returns
// false when ctx ended or tell returned false.
func (p *Prober) UntilReady(ctx context.Context, pace Pace, tell func(error) bool) bool {
	if p.probe.Ready == "" && !Pause(ctx, Steady) {
		return false
	}
	began := time.Now()
	for {
		elapsed := time.Since(began)
		err := p.Ask(ctx, p.probe.Ready, min(max(elapsed, 20*pace.First), pace.Patience))
		if !tell(err) {
			return false
		}
		if err == nil {
			return true
		}
		if !Pause(ctx, min(max(elapsed/50, pace.First), pace.Most)) {
			return false
		}
	}
}

// Pause waits, and tells whether ctx lasted that long.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Ask sends one request; nil means 200. Of a tcp address it is enough that somebody listens.
func (p *Prober) Ask(ctx context.Context, address string, most time.Duration) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if u.Scheme == "tcp" {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
		if err != nil {
			return describeProbe(address, most, err)
		}
		return conn.Close()
	}
	client, err := p.client(u)
	if err != nil {
		return err
	}
	if u.Scheme == "unix" {
		u.Scheme = "http"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	req.Host = cmp.Or(p.probe.Host, req.Host)
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

func (p *Prober) client(u *url.URL) (*http.Client, error) {
	key := u.Scheme + "://" + u.Host
	if c := p.clients[key]; c != nil {
		return c, nil
	}
	t := &http.Transport{MaxIdleConnsPerHost: 1} // no proxy: it is all on this machine
	switch u.Scheme {
	case "http":
	case "unix":
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			// A relative name, which is short enough for a socket: who asks works in the cluster directory.
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

func (p *Prober) tls() (*tls.Config, error) {
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

func (p *Prober) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.dir, name)
}

func (p *Prober) Close() {
	for _, c := range p.clients {
		c.CloseIdleConnections()
	}
}
