package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"k8s.io/client-go/rest"
)

// request is one HTTP request to the API server. Paths are absolute and may have a query.
type request struct {
	lane   lane
	method string
	path   string
	ctype  string
	accept string
	as     string // user to impersonate
	body   []byte
}

// reply is what became of a request: err, or a status code with a body.
type reply struct {
	code  int
	body  []byte
	after time.Duration // Retry-After
	err   error
}

func (r reply) ok() bool { return r.err == nil && r.code < 300 }

// gone reports whether the object that a request was about is not there. A 404 that names no object is about a path
// that nobody serves.
func (r reply) gone() bool {
	if r.err != nil || r.code != http.StatusNotFound {
		return false
	}
	s := statusOf(r.body)
	return s == nil || s.Details != nil && s.Details.Name != ""
}

// refusal is an answer that is not a success.
type refusal struct {
	code int
	text string
}

func (e *refusal) Error() string { return fmt.Sprintf("status %d: %s", e.code, e.text) }

// forbidden reports whether we lack the right to do something. Rights are given rarely, and later if at all.
func forbidden(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.code == http.StatusForbidden
}

// fault says what went wrong, in one line.
func (r reply) fault() error {
	if r.err != nil {
		return r.err
	}
	if s := statusOf(r.body); s != nil && s.Message != "" {
		return &refusal{r.code, s.Message}
	}
	return &refusal{r.code, fmt.Sprintf("%.200s", r.body)}
}

// Doer performs requests: the API server in production, a fake in tests.
type Doer interface {
	Do(ctx context.Context, r *request) reply
	// Open starts a watch; its body is a stream of frames. The error carries a reply's code if the server refused.
	Open(ctx context.Context, path, accept string) (io.ReadCloser, reply)
}

// client talks to an API server over three connections: one for watches, one for what keeps nodes alive, one for
// the rest, so that none delays another.
type client struct {
	base  *url.URL
	watch *http.Client
	write [lanes]*http.Client
}

// requestTimeout bounds a request, so that a server that hangs does not hold a sender for ever.
const requestTimeout = 15 * time.Second

func newClient(cfg *rest.Config) (*client, error) {
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	c := &client{base: base}
	if c.watch, err = connection(cfg); err != nil {
		return nil, err
	}
	for l := range c.write {
		if lane(l) > normal {
			c.write[l] = c.write[normal]
			continue
		}
		if c.write[l], err = connection(cfg); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// connection makes a client with connections of its own: a dialer keeps client-go from sharing its transport.
func connection(cfg *rest.Config) (*http.Client, error) {
	own := rest.CopyConfig(cfg)
	own.Timeout = 0
	if own.Dial == nil {
		own.Dial = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	c, err := rest.HTTPClientFor(own)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	return c, nil
}

// Do performs a request.
func (c *client) Do(ctx context.Context, r *request) reply {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := c.request(ctx, r)
	if err != nil {
		return reply{err: err}
	}
	resp, err := c.write[r.lane].Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{err: err}
	}
	return reply{code: resp.StatusCode, body: body, after: retryAfter(resp.Header)}
}

// Open starts a watch.
func (c *client) Open(ctx context.Context, path, accept string) (io.ReadCloser, reply) {
	req, err := c.request(ctx, &request{method: http.MethodGet, path: path, accept: accept})
	if err != nil {
		return nil, reply{err: err}
	}
	resp, err := c.watch.Do(req)
	if err != nil {
		return nil, reply{err: err}
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, reply{code: resp.StatusCode}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	return nil, reply{code: resp.StatusCode, body: body, after: retryAfter(resp.Header), err: err}
}

func (c *client) request(ctx context.Context, r *request) (*http.Request, error) {
	path, query, _ := bytes.Cut([]byte(r.path), []byte("?"))
	u := *c.base
	u.Path = c.base.Path + string(path[1:])
	if len(c.base.Path) == 0 {
		u.Path = string(path)
	}
	u.RawQuery = string(query)
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	if r.ctype != "" {
		req.Header.Set("Content-Type", r.ctype)
	}
	if r.accept == "" {
		r.accept = protobuf
	}
	req.Header.Set("Accept", r.accept)
	if r.as != "" {
		req.Header.Set("Impersonate-User", r.as)
	}
	return req, nil
}

func retryAfter(h http.Header) time.Duration {
	s, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || s < 0 {
		return 0
	}
	return min(time.Duration(s)*time.Second, time.Minute)
}
