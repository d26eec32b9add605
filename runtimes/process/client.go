//go:build linux || darwin

package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// client talks to the supervisor of the cluster in dir.
type client struct {
	dir  string
	http http.Client
}

// errNobody means that nobody listens on the socket, or does not any more.
var errNobody = errors.New("no supervisor")

// errExited means that the supervisor that was asked is ending.
var errExited = errors.New("supervisor is ending")

func newClient(dir string) *client {
	return &client{dir: dir, http: http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialSocket(ctx, dir)
		},
	}}}
}

// call sends one request and decodes the answer into reply. It takes no longer than most.
func (c *client) call(ctx context.Context, most time.Duration, method, path string, body, reply any) error {
	short, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	answer, err := c.open(short, method, path, body)
	if err == nil {
		defer answer.Close()
		if err = json.NewDecoder(answer).Decode(reply); hungUp(err) {
			err = errNobody
		}
	}
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		return c.silent(most)
	}
	return err
}

// open sends one request and returns the body of the answer.
func (c *client) open(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR), hungUp(err):
		return nil, errNobody
	case err != nil:
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("ask the supervisor: %w", err)
	case res.StatusCode == http.StatusOK:
		return res.Body, nil
	}
	defer res.Body.Close()
	var e errorReply
	if err := json.NewDecoder(res.Body).Decode(&e); err != nil {
		return nil, fmt.Errorf("ask the supervisor: %s", res.Status)
	}
	if e.Exiting {
		return nil, errExited
	}
	return nil, errors.New(e.Error)
}

// hungUp tells whether the other side ended in the middle of a request.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// silent is the error for a supervisor that does not answer.
func (c *client) silent(most time.Duration) error {
	return &silentError{id: supervisorOf(c.dir), dir: c.dir, most: most}
}

type silentError struct {
	id   identity
	dir  string
	most time.Duration
}

func (e *silentError) Error() string {
	return fmt.Sprintf("supervisor of %s (pid %d) does not answer within %s; log: %s",
		e.dir, e.id.PID, e.most, filepath.Join(e.dir, logsDir, ownLog))
}

// supervisorOf finds the supervisor without its help: from its lock file, else from the state file. The zero
// identity means that neither tells.
func supervisorOf(dir string) identity {
	if id, err := holder(filepath.Join(dir, lockName)); err == nil {
		return id
	}
	var s state
	if text, err := os.ReadFile(filepath.Join(dir, stateName)); err == nil && json.Unmarshal(text, &s) == nil {
		return s.Supervisor
	}
	return identity{}
}
