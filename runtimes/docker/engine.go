package docker

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"kwokctl/internal/files"
	"kwokctl/runtimes"
)

const stateFile = "engine.json"

// state is what the cluster directory remembers: a cluster stays on the engine it was made on, whatever the
// environment says later. It is written before anything is made there.
type state struct {
	ID     string   `json:"id"`
	Engine string   `json:"engine"`
	At     endpoint `json:"at"`
	// Volumes numbers the volumes with the components' data. It grows when fresh ones take their place.
	Volumes int `json:"volumes,omitempty"`
	// Before is the number of those that are kept until the cluster is ready with the fresh ones.
	Before *int `json:"before,omitempty"`
	// Made says that there were volumes: one that is not there any more was lost, and with it the data.
	Made bool `json:"made,omitempty"`
	// Addresses of components on the cluster's network, where they are fixed.
	Addresses map[string]netip.Addr `json:"addresses,omitempty"`
}

// EngineOf returns which engine runs the cluster in dir, "" when none ever did.
func EngineOf(dir string) string {
	var s state
	if readJSON(filepath.Join(dir, stateFile), &s) != nil {
		return ""
	}
	return s.Engine
}

func (r *Runtime) load() (s state, err error) {
	err = readJSON(filepath.Join(r.Dir, stateFile), &s)
	return s, err
}

func (r *Runtime) save(s state) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return files.WriteAtomic(filepath.Join(r.Dir, stateFile), append(data, '\n'), 0o600)
}

// engine is a connection to the engine of a cluster.
type engine struct {
	*client.Client
	state
	tunnel *tunnel // that the connections go through, if the engine is behind ssh
}

// Close ends the connection.
func (e *engine) Close() error {
	err := e.Client.Close()
	if e.tunnel != nil {
		e.tunnel.Close()
	}
	return err
}

// open connects to the engine that the cluster was made on; nil when it was made on none.
func (r *Runtime) open(ctx context.Context) (*engine, error) {
	s, err := r.load()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return connect(ctx, s, r.Patience)
}

// openOrChoose is like open; for a cluster that was made on none it chooses one and remembers it.
func (r *Runtime) openOrChoose(ctx context.Context) (*engine, error) {
	e, err := r.open(ctx)
	if e != nil || err != nil {
		return e, err
	}
	if e, err = r.choose(ctx); err != nil {
		return nil, err
	}
	if err := r.save(e.state); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// choose connects to the engine that a new cluster is made on. Nothing is written.
func (r *Runtime) choose(ctx context.Context) (*engine, error) {
	at, err := find(r.Engine, r.Getenv)
	if err != nil {
		return nil, err
	}
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails
	return connect(ctx, state{ID: hex.EncodeToString(id), Engine: r.Engine, At: at}, r.Patience)
}

// Available implements runtimes.Runtime.
func (r *Runtime) Available(ctx context.Context) error {
	at, err := find(r.Engine, r.Getenv)
	if err != nil {
		return fmt.Errorf("%w: %w", runtimes.ErrUnavailable, err)
	}
	e, err := connect(ctx, state{Engine: r.Engine, At: at}, r.Patience)
	if err != nil {
		return err
	}
	return e.Close()
}

// connect returns a connection on which the engine has answered.
func connect(ctx context.Context, s state, most time.Duration) (*engine, error) {
	opts, err := options(s.At)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", runtimes.ErrUnavailable, s.Engine, err)
	}
	ping, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	e, err := reach(ping, s, opts)
	var answer client.PingResult
	if err == nil {
		answer, err = e.Ping(ping, client.PingOptions{NegotiateAPIVersion: true})
	}
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, context.DeadlineExceeded) || ping.Err() != nil:
		err = unavailable(s, fmt.Errorf("no answer within %s", most))
	case err != nil:
		err = unavailable(s, err)
	case answer.APIVersion == "":
		err = unavailable(s, errors.New("what answers there does not speak the Docker Engine API"))
	case answer.OSType != "" && answer.OSType != "linux":
		err = unavailable(s, fmt.Errorf("it runs containers of %s; those of linux are needed", answer.OSType))
	}
	if err != nil && e != nil {
		_ = e.Close()
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// reach returns a connection on which nobody has answered yet.
func reach(ctx context.Context, s state, opts []client.Opt) (e *engine, err error) {
	e = &engine{state: s}
	if s.At.ssh() {
		if e.tunnel, err = dig(ctx, s.At.away(s.Engine)); err != nil {
			return nil, err
		}
		opts = []client.Opt{client.WithHost("unix://" + e.tunnel.socket())}
	}
	if e.Client, err = client.New(opts...); err != nil {
		if e.tunnel != nil {
			e.tunnel.Close()
		}
		return nil, err
	}
	return e, nil
}

// options turns an endpoint into those of the client. The client gets the user agent and nothing else of ours.
func options(at endpoint) ([]client.Opt, error) {
	if at.local() || at.ssh() || at.CA == "" && at.Cert == "" && !at.SkipVerify {
		return []client.Opt{client.WithHost(at.Host)}, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: at.SkipVerify}
	if at.CA != "" && !at.SkipVerify {
		pem, err := os.ReadFile(at.CA)
		if err != nil {
			return nil, fmt.Errorf("read authority of the engine: %w%s", err, certHint)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read authority of the engine: %s holds no certificate%s", at.CA, certHint)
		}
	}
	if at.certified() {
		pair, err := tls.LoadX509KeyPair(at.Cert, at.Key)
		if err != nil {
			return nil, fmt.Errorf("read certificate for the engine: %w%s", err, certHint)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DialContext: new(net.Dialer).DialContext}}
	return []client.Opt{client.WithHTTPClient(transport), client.WithHost(at.Host)}, nil
}

// missing tells whether the API itself said that something does not exist. Nothing else counts as gone.
func missing(err error) bool { return errdefs.IsNotFound(err) }

// labels marks what belongs to a component of the cluster, or to all of it.
func (r *Runtime) labels(e *engine, component string) map[string]string {
	all := map[string]string{
		ClusterLabel: r.Name, idLabel: e.ID, directoryLabel: r.Dir,
		"com.docker.compose.project": r.project(),
	}
	if e.Engine == Podman {
		all["io.podman.compose.project"] = r.project()
	}
	if component != "" {
		all[componentLabel] = component
		all["com.docker.compose.service"] = component
	}
	return all
}

// ours selects what belongs to the cluster.
func (e *engine) ours() client.Filters {
	return client.Filters{}.Add("label", idLabel+"="+e.ID)
}
