package kube

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// Manager is the field manager of what Apply writes.
const Manager = "kwokctl"

// object is a manifest and what must be known of it to apply it.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
	text  []byte            // as JSON
}

func (o *object) String() string {
	if o.Metadata.Namespace != "" {
		return strings.ToLower(o.Kind) + " " + o.Metadata.Namespace + "/" + o.Metadata.Name
	}
	return strings.ToLower(o.Kind) + " " + o.Metadata.Name
}

// opens tells whether other objects may need this one to exist before them.
func (o *object) opens() bool { return o.Kind == "Namespace" || o.Kind == "CustomResourceDefinition" }

// Apply makes the cluster have the objects of a YAML stream, by server-side apply: to do it again changes nothing.
// Namespaces and custom kinds come first; the rest needs no order.
func Apply(ctx context.Context, cfg *rest.Config, manifests []byte) error {
	objects, err := parse(manifests)
	if err != nil {
		return err
	}
	if len(objects) == 0 {
		return nil
	}
	c, err := New(cfg)
	if err != nil {
		return err
	}
	var first, rest []*object
	for _, o := range objects {
		if o.opens() {
			first = append(first, o)
		} else {
			rest = append(rest, o)
		}
	}
	// A custom kind is served a moment after its definition is accepted.
	const settle = 10 * time.Second
	patience := time.Duration(0)
	if len(first) > 0 {
		patience = settle
	}
	if err := c.applyAll(ctx, first, patience); err != nil {
		return err
	}
	for _, o := range first {
		if err := c.established(ctx, o, settle); err != nil {
			return fmt.Errorf("apply %s: %w", o, err)
		}
	}
	return c.applyAll(ctx, rest, patience)
}

// Check tells what Apply could not read.
func Check(manifests []byte) error {
	_, err := parse(manifests)
	return err
}

// look is how often the API server is asked for what it does a moment later.
const look = 50 * time.Millisecond

// established returns when a custom kind is served: programs give up on kinds that are not.
func (c *Client) established(ctx context.Context, o *object, patience time.Duration) error {
	if o.Kind != "CustomResourceDefinition" {
		return nil
	}
	r, err := c.Resource(ctx, o.APIVersion, o.Kind)
	for deadline := time.Now().Add(patience); err == nil; err = Pause(ctx, look) {
		var now struct {
			Status struct {
				Conditions []struct{ Type, Status string }
			}
		}
		text, err := c.Do(ctx, Request{Method: http.MethodGet, Path: r.Path("", o.Metadata.Name)})
		if err == nil {
			err = json.Unmarshal(text, &now)
		}
		if err != nil {
			return err
		}
		for _, condition := range now.Status.Conditions {
			if condition.Type == "Established" && condition.Status == "True" {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return errors.New("it is not established; another definition may have its names")
		}
	}
	return err
}

// applyAll applies the objects at once, a few in flight, and returns the first error.
func (c *Client) applyAll(ctx context.Context, objects []*object, patience time.Duration) error {
	const inFlight = 8
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, inFlight)
	var wg sync.WaitGroup
	for _, o := range objects {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			if err := c.apply(ctx, o, patience); err != nil {
				cancel(fmt.Errorf("apply %s: %w", o, err))
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (c *Client) apply(ctx context.Context, o *object, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		r, err := c.Resource(ctx, o.APIVersion, o.Kind)
		if err == nil {
			namespace := o.Metadata.Namespace
			if r.Namespaced && namespace == "" {
				namespace = "default"
			}
			_, err = c.Do(ctx, Request{Method: http.MethodPatch, Path: r.Path(namespace, o.Metadata.Name), Body: o.text,
				Query: url.Values{"fieldManager": {Manager}, "force": {"true"}}, Type: "application/apply-patch+yaml",
				Accept: Metadata})
		}
		if !apierrors.IsNotFound(err) || time.Now().After(deadline) {
			return err
		}
		if err := Pause(ctx, look); err != nil {
			return err
		}
	}
}

// parse reads a YAML stream; lists become their items.
func parse(manifests []byte) ([]*object, error) {
	var all []*object
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	for n := 1; ; n++ {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err == nil {
			doc, err = yaml.YAMLToJSON(doc)
		}
		if err == nil {
			all, err = collect(all, doc)
		}
		if err != nil {
			return nil, fmt.Errorf("read manifests: document %d: %w", n, err)
		}
	}
}

func collect(all []*object, text []byte) ([]*object, error) {
	if string(text) == "null" {
		return all, nil
	}
	o := &object{text: text}
	if err := json.Unmarshal(text, o); err != nil {
		return nil, err
	}
	if strings.HasSuffix(o.Kind, "List") && o.Metadata.Name == "" {
		for _, item := range o.Items {
			var err error
			if all, err = collect(all, item); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	if o.APIVersion == "" || o.Kind == "" || o.Metadata.Name == "" {
		return nil, errors.New("no apiVersion, kind or metadata.name")
	}
	return append(all, o), nil
}
