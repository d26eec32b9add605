// Package kube talks to an API server: connect, find kinds, apply manifests. It speaks JSON over one HTTP/2
// connection, so that the launcher links no generated client.
package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Connect reads how to reach an API server: from the current context of a kubeconfig file, with another address if
// master is given; else at master alone; else as a pod in the cluster. No client-side limit slows its user down.
// The caller sets UserAgent.
func Connect(kubeconfig, master string) (*rest.Config, error) {
	var cfg *rest.Config
	var err error
	if kubeconfig == "" && master == "" {
		if cfg, err = rest.InClusterConfig(); err != nil {
			return nil, fmt.Errorf("connect: no kubeconfig given and not in a cluster: %w", err)
		}
	} else {
		overrides := &clientcmd.ConfigOverrides{ClusterInfo: api.Cluster{Server: master}}
		rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
		if kubeconfig == "" {
			cfg, err = clientcmd.NewDefaultClientConfig(*api.NewConfig(), overrides).ClientConfig()
		} else {
			cfg, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
		}
		if err != nil {
			return nil, fmt.Errorf("connect with %q: %w", kubeconfig, inConfig(kubeconfig, err))
		}
	}
	cfg.QPS = -1
	return cfg, nil
}

// inConfig says what is wrong with a kubeconfig file without its name, and without advice that is not for our users.
func inConfig(path string, err error) error {
	if clientcmd.IsEmptyConfig(err) {
		return errors.New("it has no current context")
	}
	if text, ok := strings.CutPrefix(err.Error(), fmt.Sprintf("error loading config file %q: ", path)); ok {
		return errors.New(strings.Replace(text, "read "+path+": ", "", 1))
	}
	return err
}

// Client sends requests to one API server. It is safe for concurrent use.
type Client struct {
	http *http.Client
	base *url.URL

	mu    sync.Mutex
	kinds map[string]map[string]Resource // by group/version, then kind
}

// New makes a client; it does not connect yet.
func New(cfg *rest.Config) (*Client, error) {
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	return &Client{http: h, base: base, kinds: map[string]map[string]Resource{}}, nil
}

// Request is one call. It must be harmless to repeat.
type Request struct {
	Method string
	Path   string // from the root of the API server
	Query  url.Values
	Body   []byte
	Type   string // of Body; empty: application/json
	Accept string // empty: application/json
}

// Metadata asks for only the metadata of an object, or of each in a list: Request.Accept.
const (
	Metadata     = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
	MetadataList = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
)

// Do sends r and returns the body of the answer. What the server or the network refuses for the moment is sent
// again, up to eight times, after the time the server asks for; an internal error, which may be for good, up to
// three. Other errors are those of apimachinery's errors package.
func (c *Client) Do(ctx context.Context, r Request) ([]byte, error) {
	pause := 50 * time.Millisecond
	for n := 1; ; n++ {
		body, err := c.once(ctx, r)
		tries := 8
		if apierrors.ReasonForError(err) == metav1.StatusReasonInternalError {
			tries = 3
		}
		if err == nil || n >= tries || ctx.Err() != nil || !transient(err) {
			return body, err
		}
		wait := pause
		if s, ok := apierrors.SuggestsClientDelay(err); ok && s > 0 {
			wait = time.Duration(s) * time.Second
		}
		if err := Pause(ctx, wait); err != nil {
			return nil, err
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// Pause waits, unless ctx ends first.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// transient tells whether the same request may succeed a little later. An error without a status comes from the
// network: the server restarts.
func transient(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		var net *url.Error
		return errors.As(err, &net) || errors.Is(err, io.ErrUnexpectedEOF)
	}
	code := status.Status().Code
	return code == http.StatusTooManyRequests || code >= 500 && code != http.StatusNotImplemented
}

func (c *Client) once(ctx context.Context, r Request) ([]byte, error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return body, nil
}

// send sends r once. The caller closes the answer's body, which is not that of an error.
func (c *Client) send(ctx context.Context, r Request) (*http.Response, error) {
	u := *c.base
	u.Path = path.Join("/", u.Path, r.Path)
	u.RawQuery = r.Query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	const jsonType = "application/json"
	if r.Type == "" {
		r.Type = jsonType
	}
	if r.Accept == "" {
		r.Accept = jsonType
	}
	if len(r.Body) > 0 {
		req.Header.Set("Content-Type", r.Type)
	}
	req.Header.Set("Accept", r.Accept)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return nil, failure(resp, body)
}

// failure is the error that an answer stands for.
func failure(resp *http.Response, body []byte) error {
	var s metav1.Status
	if err := json.Unmarshal(body, &s); err != nil || s.Kind != "Status" || s.Message == "" {
		text := strings.Join(strings.Fields(string(body)), " ")
		s = metav1.Status{Message: fmt.Sprintf("%s: %.300s", resp.Status, text)}
	}
	s.Status, s.Code = metav1.StatusFailure, int32(resp.StatusCode)
	if after, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		if s.Details == nil {
			s.Details = &metav1.StatusDetails{}
		}
		s.Details.RetryAfterSeconds = int32(after)
		if s.Reason == "" && resp.StatusCode == http.StatusTooManyRequests {
			s.Reason = metav1.StatusReasonTooManyRequests
		}
	}
	if s.Reason == "" && resp.StatusCode == http.StatusNotFound {
		s.Reason = metav1.StatusReasonNotFound
	}
	if resp.StatusCode == http.StatusInternalServerError {
		s.Reason = metav1.StatusReasonInternalError // often missing or "Unknown"
	}
	return &apierrors.StatusError{ErrStatus: s}
}
