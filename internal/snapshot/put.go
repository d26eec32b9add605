package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"kwokctl/internal/kube"
)

// inFlight is how many objects are written to etcd at a time; it waits for the disk once for many.
const inFlight = 16

// eventLife is how long the API server keeps events.
const eventLife = time.Hour

// Put writes the objects of a snapshot that CheckObjects has checked to etcd, past the API server: so they keep their
// UIDs, the times they were made and their status, and what refers to them by UID stays right. Objects that no server
// has made yet, without a UID, are applied through the API server afterwards.
func (o *Objects) Put(ctx context.Context, in *Input, etcd *clientv3.Client, progress Progress) error {
	if err := o.makeNamespaces(ctx, o.missing); err != nil {
		return err
	}
	lease, err := etcd.Grant(ctx, int64(eventLife.Seconds()))
	if err != nil {
		return fmt.Errorf("restore objects: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &putter{Objects: o, in: in, etcd: etcd, lease: lease.ID, fail: cancel, progress: progress}
	documents := make(chan Document)
	var workers sync.WaitGroup
	for range inFlight {
		workers.Go(func() {
			for d := range documents {
				p.one(ctx, d)
			}
		})
	}
	err = p.read(ctx, documents)
	close(documents)
	workers.Wait()
	if err := errors.Join(err, context.Cause(ctx)); err != nil {
		return fmt.Errorf("restore objects: %w", err)
	}
	return p.apply(ctx)
}

type putter struct {
	*Objects
	in       *Input
	etcd     *clientv3.Client
	lease    clientv3.LeaseID
	fail     context.CancelCauseFunc
	progress Progress
	done     atomic.Int64

	mu     sync.Mutex
	unmade []unmade // objects for the API server
}

// unmade is an object that the API server has to make.
type unmade struct {
	head
	text []byte
}

// read hands out the documents.
func (p *putter) read(ctx context.Context, to chan<- Document) error {
	r, err := p.in.reader(ctx)
	if err != nil {
		return err
	}
	for n := 0; ; {
		d, err := r.Next()
		var line *LineError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err == nil:
			if n++; p.skip[n] {
				continue
			}
			select {
			case to <- d:
			case <-ctx.Done():
				return nil
			}
		case !errors.As(err, &line) || !p.filter.IgnoreErrors:
			return err
		}
	}
}

// one writes one object.
func (p *putter) one(ctx context.Context, d Document) {
	err := p.put(ctx, d)
	if err == nil || ctx.Err() != nil {
		return
	}
	err = &LineError{p.in.Name, d.Line, err}
	if !p.filter.IgnoreErrors {
		p.fail(err)
		return
	}
	p.mu.Lock()
	p.Problems = append(p.Problems, err)
	p.mu.Unlock()
}

func (p *putter) put(ctx context.Context, d Document) error {
	var h head
	if err := json.Unmarshal(d.JSON, &h); err != nil {
		return err
	}
	kind, ok := p.kinds.byType[schema.FromAPIVersionAndKind(h.APIVersion, h.Kind)]
	if kind.Namespaced && h.Metadata.Namespace == "" {
		h.Metadata.Namespace = metav1.NamespaceDefault
	}
	if !ok || !p.meant(kind, &h) {
		return nil
	}
	if p.filter.Shift && !p.taken.IsZero() {
		text, err := shift(kind, d.JSON, time.Since(p.taken).Round(time.Second))
		if err != nil {
			return err
		}
		d.JSON = text
	}
	if h.Metadata.UID == "" {
		text, err := p.relinked(d.JSON)
		if err != nil {
			return err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.unmade = append(p.unmade, unmade{h, text})
		return nil
	}
	object, err := decode(kind, d.JSON)
	if err != nil {
		return err
	}
	object.SetNamespace(h.Metadata.Namespace)
	object.SetResourceVersion("")
	object.SetSelfLink("")
	p.relink(object)
	data, err := encode(object)
	if err != nil {
		return err
	}
	var options []clientv3.OpOption
	if kind.Resource == "events" {
		options = append(options, clientv3.WithLease(p.lease))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, putTime, errors.New("etcd does not answer"))
	defer cancel()
	if _, err := p.etcd.Put(ctx, p.filter.Prefix+p.kinds.key(kind, h.Metadata.Namespace, h.Metadata.Name), string(data), options...); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("%s: %w", &h, err)
	}
	p.report(1)
	return nil
}

// putTime is long for one object: etcd that takes longer has died, of a full disk for example.
const putTime = 20 * time.Second

func (p *putter) report(n int) { p.in.tell(p.progress, p.done.Add(int64(n)), int64(p.Count)) }

// relink makes an object refer to its owners in this cluster, where they are not those of the file.
func (o *Objects) relink(object metav1.Object) {
	var refs []metav1.OwnerReference
	for _, ref := range object.GetOwnerReferences() {
		if uid, replaced := o.owners[ref.UID]; replaced {
			ref.UID = uid
		}
		if ref.UID != "" {
			refs = append(refs, ref)
		}
	}
	object.SetOwnerReferences(refs)
}

// relinked is relink for an object that is sent as it is.
func (o *Objects) relinked(text []byte) ([]byte, error) {
	var object unstructured.Unstructured
	if err := object.UnmarshalJSON(text); err != nil || len(object.GetOwnerReferences()) == 0 {
		return text, err
	}
	o.relink(&object)
	return object.MarshalJSON()
}

// apply sends what has to be made to the API server.
func (p *putter) apply(ctx context.Context) error {
	var first, rest bytes.Buffer
	spaces := map[string]bool{}
	for _, u := range p.unmade {
		to := &rest
		if u.Kind == "Namespace" || u.Kind == "CustomResourceDefinition" {
			to = &first
		}
		if u.Kind == "Pod" {
			spaces[u.Metadata.Namespace] = true
		}
		to.WriteString("---\n")
		to.Write(u.text)
		to.WriteString("\n")
	}
	if err := kube.Apply(ctx, p.kinds.config, first.Bytes()); err != nil {
		return err
	}
	// Pods are admitted where there is an account; the controllers, which make them, are stopped.
	var accounts bytes.Buffer
	for space := range spaces {
		fmt.Fprintf(&accounts, "---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: %q}}\n", space)
	}
	if err := kube.Apply(ctx, p.kinds.config, accounts.Bytes()); err != nil {
		return err
	}
	if err := kube.Apply(ctx, p.kinds.config, rest.Bytes()); err != nil {
		return err
	}
	p.report(len(p.unmade))
	return nil
}

// makeNamespaces makes those that objects are in, and that are neither in the file nor in the cluster.
func (o *Objects) makeNamespaces(ctx context.Context, names []string) error {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "---\n{apiVersion: v1, kind: Namespace, metadata: {name: %q}}\n", name)
	}
	return kube.Apply(ctx, o.kinds.config, []byte(b.String()))
}

// object is an object of any kind.
type object interface {
	metav1.Object
	runtime.Object
}

// builtIn returns the types of all kinds that the API server has built in.
var builtIn = sync.OnceValue(func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, apiextensions.AddToScheme, apiregistration.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // two types of one name, which the first test finds
		}
	}
	return s
})

// decode reads an object as the API server does when it reads it from etcd. What it could not read would make it
// unable to list the kind.
func decode(kind Kind, text []byte) (object, error) {
	made, err := builtIn().New(kind.GroupVersionKind)
	if runtime.IsNotRegisteredError(err) { // a custom one: its fields are not the API server's concern
		var u unstructured.Unstructured
		if err := u.UnmarshalJSON(text); err != nil {
			return nil, err
		}
		return &u, nil
	}
	if err == nil {
		err = json.Unmarshal(text, made)
	}
	if err != nil {
		return nil, unfit(err)
	}
	made.GetObjectKind().SetGroupVersionKind(kind.GroupVersionKind)
	o, ok := made.(object)
	if !ok {
		return nil, fmt.Errorf("kind %s cannot be kept", kind.Kind)
	}
	return o, nil
}

// unfit is an error of encoding/json in terms of the file, not of Go.
func unfit(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	want := "an object"
	switch wrong.Type.Kind() {
	case reflect.Slice, reflect.Array:
		want = "a list"
	case reflect.String:
		want = "a text"
	case reflect.Bool:
		want = "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Float32, reflect.Float64:
		want = "a number"
	}
	return fmt.Errorf("%s: a JSON %s, where %s is needed", cmp.Or(wrong.Field, "document"), wrong.Value, want)
}

// encode writes an object as the API server does into etcd.
func encode(o object) ([]byte, error) {
	switch o.(type) {
	case *unstructured.Unstructured, *apiextensions.CustomResourceDefinition, *apiregistration.APIService:
		return json.Marshal(o)
	}
	var b bytes.Buffer
	err := protobuf.NewSerializer(builtIn(), builtIn()).Encode(o, &b)
	return b.Bytes(), err
}
