package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Resource is where the objects of one kind live in the API.
type Resource struct {
	APIVersion string
	Plural     string
	Namespaced bool
}

// Path is the path of one object, or of the list if name is empty. The namespace counts only if there are any.
func (r Resource) Path(namespace, name string) string {
	p := groupPath(r.APIVersion)
	if r.Namespaced && namespace != "" {
		p = path.Join(p, "namespaces", namespace)
	}
	return path.Join(p, r.Plural, name)
}

func groupPath(apiVersion string) string {
	if strings.Contains(apiVersion, "/") {
		return "/apis/" + apiVersion
	}
	return "/api/" + apiVersion
}

// Resource finds a kind by asking the API server, once per group and version. A kind that is not there is an error
// for which apierrors.IsNotFound is true, and is asked for again the next time.
func (c *Client) Resource(ctx context.Context, apiVersion, kind string) (Resource, error) {
	if r, ok := c.known(apiVersion, kind); ok {
		return r, nil
	}
	body, err := c.Do(ctx, Request{Method: http.MethodGet, Path: groupPath(apiVersion)})
	if err != nil && !apierrors.IsNotFound(err) {
		return Resource{}, fmt.Errorf("find kind %s of %s: %w", kind, apiVersion, err)
	}
	if err == nil {
		if err := c.learn(apiVersion, body); err != nil {
			return Resource{}, fmt.Errorf("find kind %s of %s: %w", kind, apiVersion, err)
		}
	}
	if r, ok := c.known(apiVersion, kind); ok {
		return r, nil
	}
	missing := metav1.Status{Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
		Message: "the API server does not have it"}
	return Resource{}, fmt.Errorf("find kind %s of %s: %w", kind, apiVersion, &apierrors.StatusError{ErrStatus: missing})
}

func (c *Client) known(apiVersion, kind string) (Resource, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.kinds[apiVersion][kind]
	return r, ok
}

func (c *Client) learn(apiVersion string, body []byte) error {
	var list metav1.APIResourceList
	if err := json.Unmarshal(body, &list); err != nil {
		return err
	}
	kinds := map[string]Resource{}
	for _, r := range list.APIResources {
		if !strings.Contains(r.Name, "/") { // else a subresource, which may have the kind of its parent
			kinds[r.Kind] = Resource{APIVersion: apiVersion, Plural: r.Name, Namespaced: r.Namespaced}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds[apiVersion] = kinds
	return nil
}
