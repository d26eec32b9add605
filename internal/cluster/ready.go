package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"kwokctl/internal/kube"
	"kwokctl/runtimes"
)

// TimeoutError says that a command took longer than it was allowed to.
type TimeoutError struct {
	What string
	Time time.Duration
}

func (e *TimeoutError) Error() string { return fmt.Sprintf("%s: not done within %s", e.What, e.Time) }

// cause replaces an error that only says that ctx has ended by the reason for which it ended. One that names the reason
// stays: it may say what else went wrong, such as what could not be undone.
func cause(ctx context.Context, err error) error {
	why := context.Cause(ctx)
	if why == nil || why != ctx.Err() && errors.Is(err, why) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return why
	}
	return err
}

// bound gives a command, by its name, a limit of time; 0 is none. done, which is to be deferred, says in *err when it was
// reached.
func bound(ctx context.Context, limit time.Duration, what string, err *error) (_ context.Context, done func()) {
	cancel := func() {}
	if limit > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, limit, &TimeoutError{what, limit})
	}
	return ctx, func() {
		*err = cause(ctx, *err)
		cancel()
	}
}

// lateness remembers who is not ready, to name them when time runs out.
type lateness struct {
	mu    sync.Mutex
	order []string
	seen  map[string]runtimes.State
	next  Observe
}

func (l *lateness) note(s runtimes.Status) {
	l.mu.Lock()
	if _, ok := l.seen[s.Name]; !ok {
		l.order = append(l.order, s.Name)
	}
	l.seen[s.Name] = s.State
	l.mu.Unlock()
	if l.next != nil {
		l.next(s)
	}
}

// explain adds who was late to an error that says that time ran out.
func (l *lateness) explain(err error) error {
	var timeout *TimeoutError
	if !errors.As(err, &timeout) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var late []string
	for _, name := range l.order {
		if state := l.seen[name]; state != runtimes.Ready {
			late = append(late, fmt.Sprintf("%s is %s", name, state))
		}
	}
	if len(late) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s", err, strings.Join(late, ", "))
}

// http returns how the API server is reached, as the administrator of the cluster. Close the client's connections.
func (c *Cluster) http() (*rest.Config, *http.Client, error) {
	config, err := kube.Connect(c.Kubeconfig(), "")
	if err != nil {
		return nil, nil, err
	}
	client, err := rest.HTTPClientFor(config)
	return config, client, err
}

// usable returns when the default service account exists and the API server admits nodes and pods.
func (c *Cluster) usable(ctx context.Context, note Observe) error {
	config, client, err := c.http()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	hasControllers := false
	for _, s := range c.specs {
		hasControllers = hasControllers || s.Name == "kube-controller-manager"
	}
	step := func(name string, do func() error) error {
		began := time.Now()
		note(runtimes.Status{Name: name, State: runtimes.Starting})
		if err := do(); err != nil {
			return fmt.Errorf("wait for %s: %w", name, err)
		}
		note(runtimes.Status{Name: name, State: runtimes.Ready, Took: time.Since(began)})
		return nil
	}
	if hasControllers { // it is they who make service accounts, without which no pod is admitted
		if err := step("default service account", func() error {
			return awaitObject(ctx, client, config.Host+"/api/v1/namespaces/default/serviceaccounts?watch=1&fieldSelector=metadata.name%3Ddefault")
		}); err != nil {
			return err
		}
	}
	return step("nodes and pods", func() error {
		if err := admits(ctx, client, config.Host+"/api/v1/nodes", `{"kind":"Node","apiVersion":"v1","metadata":{"name":"kwokctl-probe"}}`); err != nil {
			return err
		}
		if !hasControllers {
			return nil
		}
		return admits(ctx, client, config.Host+"/api/v1/namespaces/default/pods",
			`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"kwokctl-probe"},"spec":{"containers":[{"name":"c","image":"i"}]}}`)
	})
}

// awaitObject returns at the first event of a watch.
func awaitObject(ctx context.Context, client *http.Client, url string) error {
	for {
		err := firstByte(ctx, client, url)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if kube.Pause(ctx, 20*time.Millisecond) != nil {
			return err
		}
	}
}

func firstByte(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.ReadFull(resp.Body, make([]byte, 1))
	return err
}

// admits returns when a dry run of making object passes.
func admits(ctx context.Context, client *http.Client, url, object string) error {
	for {
		err := dryRun(ctx, client, url+"?dryRun=All", object)
		if err == nil || kube.Pause(ctx, 20*time.Millisecond) != nil {
			return err
		}
	}
}

func dryRun(ctx context.Context, client *http.Client, url, object string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(object))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s: %s: %.200s", url, resp.Status, body)
	}
	return nil
}
