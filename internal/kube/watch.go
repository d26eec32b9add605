package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Watch asks for the changes of objects of one kind after a revision, and calls each for every event, until each
// returns an error, ctx ends or the server has had enough, for which it returns nil. An event of type ERROR ends it
// with an error of apimachinery's errors package, such as that the revision is too old.
func (c *Client) Watch(ctx context.Context, r Resource, namespace, revision string, query url.Values, each func(kind string, object json.RawMessage) error) error {
	all := url.Values{"watch": {"1"}, "resourceVersion": {revision}, "allowWatchBookmarks": {"true"}}
	for key, values := range query {
		all[key] = values
	}
	resp, err := c.send(ctx, Request{Method: http.MethodGet, Path: r.Path(namespace, ""), Query: all})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	events := json.NewDecoder(resp.Body)
	for {
		var e struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := events.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == io.EOF { // the server ends each watch after some time
				return nil
			}
			return fmt.Errorf("watch %s: %w", r.Plural, err)
		}
		if e.Type == "ERROR" {
			var s metav1.Status
			if err := json.Unmarshal(e.Object, &s); err != nil {
				return fmt.Errorf("watch %s: %w", r.Plural, err)
			}
			return &apierrors.StatusError{ErrStatus: s}
		}
		if err := each(e.Type, e.Object); err != nil {
			return err
		}
	}
}
