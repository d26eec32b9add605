package kectl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// etcd is a map with the face of etcd, which answers in pages of two.
type etcd struct {
	mu     sync.Mutex
	values map[string]string
	broken string // a key that cannot be written
}

func (e *etcd) Get(_ context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	op := clientv3.OpGet(key, opts...)
	end := string(op.RangeBytes())
	resp := &clientv3.GetResponse{Header: &etcdserverpb.ResponseHeader{Revision: 7}}
	keys := []string{}
	for k := range e.values {
		if k == key || k > key && k < end {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	if len(keys) > 2 {
		keys, resp.More = keys[:2], true
	}
	for _, k := range keys {
		kv := &mvccpb.KeyValue{Key: []byte(k)}
		if !op.IsKeysOnly() {
			kv.Value = []byte(e.values[k])
		}
		resp.Kvs = append(resp.Kvs, kv)
	}
	return resp, nil
}

// Do refuses transactions: all that one writes has one revision, which Kubernetes cannot cope with.
func (e *etcd) Do(_ context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := string(op.KeyBytes())
	switch {
	case k == e.broken:
		return clientv3.OpResponse{}, errors.New("broken")
	case op.IsPut():
		e.values[k] = string(op.ValueBytes())
		return (&clientv3.PutResponse{}).OpResponse(), nil
	case op.IsDelete():
		resp := &clientv3.DeleteResponse{}
		if _, was := e.values[k]; was {
			resp.Deleted = 1
		}
		delete(e.values, k)
		return resp.OpResponse(), nil
	}
	return clientv3.OpResponse{}, errors.New("neither put nor delete")
}

func (e *etcd) Watch(context.Context, string, ...clientv3.OpOption) clientv3.WatchChan {
	c := make(chan clientv3.WatchResponse, 1)
	c <- clientv3.WatchResponse{Events: []*clientv3.Event{
		{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{Key: []byte("/registry/pods/default/a"), Value: []byte("{}")}},
		{Type: clientv3.EventTypeDelete, Kv: &mvccpb.KeyValue{Key: []byte("/registry/pods/default/b")}},
	}}
	close(c)
	return c
}

const definition = `{"kind":"CustomResourceDefinition","spec":{"group":"lab.k8s.io","scope":"Namespaced","names":{"plural":"rats","singular":"rat","kind":"Rat","shortNames":["rt"]}}}`

func store() (*Store, *etcd) {
	e := &etcd{values: map[string]string{"/registry/apiextensions.k8s.io/customresourcedefinitions/rats.lab.k8s.io": definition}}
	return &Store{Etcd: e, Prefix: "/registry", Chunk: 2}, e
}

// TestKeys has the places that differ from the API's names.
func TestKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		sel  Selection
		want string
	}{
		{Selection{Resource: "no", Name: "x"}, "/registry/minions/x"},
		{Selection{Resource: "Nodes"}, "/registry/minions/"},
		{Selection{Resource: "pod", Name: "x", Namespace: "n"}, "/registry/pods/n/x"},
		{Selection{Resource: "po"}, "/registry/pods/default/"},
		{Selection{Resource: "po", All: true}, "/registry/pods/"},
		{Selection{Resource: "svc", Name: "x"}, "/registry/services/specs/default/x"},
		{Selection{Resource: "ep", Name: "x"}, "/registry/services/endpoints/default/x"},
		{Selection{Resource: "rc", Name: "x"}, "/registry/controllers/default/x"},
		{Selection{Resource: "ing", Name: "x"}, "/registry/ingress/default/x"},
		{Selection{Resource: "deploy.apps", Name: "x"}, "/registry/deployments/default/x"},
		{Selection{Resource: "crd", Name: "x"}, "/registry/apiextensions.k8s.io/customresourcedefinitions/x"},
		{Selection{Resource: "apiservice", Name: "x"}, "/registry/apiregistration.k8s.io/apiservices/x"},
		{Selection{Resource: "clusterroles.rbac.authorization.k8s.io", Name: "system:x"}, "/registry/clusterroles/system:x"},
		{Selection{Resource: "rt", Name: "x"}, "/registry/lab.k8s.io/rats/default/x"},
		{Selection{}, "/registry/"},
	} {
		s, _ := store()
		if got, _, _, err := s.keys(t.Context(), tt.sel); got != tt.want || err != nil {
			t.Errorf("%+v: %q, %v; want %q", tt.sel, got, err, tt.want)
		}
	}
	s, _ := store()
	for _, sel := range []Selection{{Resource: "cats"}, {Resource: "pods.apps"}, {Resource: "no", Name: "a/b"}} {
		if got, _, _, err := s.keys(t.Context(), sel); err == nil {
			t.Errorf("%+v: %q", sel, got)
		}
	}
}

const objects = `apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: x, uid: u, creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion: "5"}, status: {capacity: {cpu: 4}}}
- {apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: i}]}}
---
# nothing
---
{"apiVersion": "lab.k8s.io/v1", "kind": "Rat", "metadata": {"name": "r", "namespace": "cage"}, "spec": {"size": 9007199254740993}}
{"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}]}
`

func TestPutGetDelete(t *testing.T) {
	t.Parallel()
	s, e := store()
	var out bytes.Buffer
	n, err := s.Put(t.Context(), strings.NewReader(objects), Selection{}, Output{"key", &out})
	const keys = "/registry/minions/x\n/registry/pods/default/p\n/registry/lab.k8s.io/rats/cage/r\n/registry/deployments/default/d\n"
	if err != nil || n != 4 || out.String() != keys {
		t.Fatalf("%d, %v\n%s", n, err, out.String())
	}
	rat := e.values["/registry/lab.k8s.io/rats/cage/r"]
	if !strings.Contains(rat, "9007199254740993") || !strings.Contains(rat, `"uid":"`) || !strings.Contains(rat, `"creationTimestamp":"`) {
		t.Error(rat)
	}
	node := e.values["/registry/minions/x"]
	if !strings.HasPrefix(node, magic) {
		t.Errorf("%q", node)
	}

	// What is shown can be put back, and is then the same to the byte.
	out.Reset()
	if n, _, err := s.Get(t.Context(), Selection{Resource: "no", Name: "x"}, Output{"yaml", &out}); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if !strings.HasPrefix(out.String(), "---\n# /registry/minions/x | application/vnd.kubernetes.protobuf\n") || strings.Contains(out.String(), "resourceVersion") {
		t.Error(out.String())
	}
	shown := out.String()
	out.Reset()
	if n, err := s.Delete(t.Context(), Selection{Resource: "no", Name: "x"}, Output{"key", &out}); err != nil || n != 1 || out.String() != "/registry/minions/x\n" {
		t.Fatalf("%d, %v, %q", n, err, out.String())
	}
	if _, err := s.Put(t.Context(), strings.NewReader(shown), Selection{Resource: "no", Name: "x"}, Output{"none", &out}); err != nil {
		t.Fatal(err)
	}
	if e.values["/registry/minions/x"] != node {
		t.Errorf("%q, was %q", e.values["/registry/minions/x"], node)
	}

	out.Reset() // all that is below a key, in pages
	if n, _, err := s.Get(t.Context(), Selection{}, Output{"key", &out}); err != nil || n != 5 {
		t.Errorf("%d, %v\n%s", n, err, out.String())
	}
	if n, err := s.Delete(t.Context(), Selection{Resource: "rats", Name: "r", All: true}, Output{"none", &out}); err != nil || n != 1 {
		t.Error(n, err)
	}
	if n, err := s.Delete(t.Context(), Selection{All: true}, Output{"none", &out}); err != nil || n != 4 || len(e.values) != 0 {
		t.Error(n, err, e.values)
	}
}

func TestPutSelects(t *testing.T) {
	t.Parallel()
	for want, sel := range map[string]Selection{
		"/registry/minions/x":              {Resource: "nodes"},
		"/registry/pods/lab/p":             {Resource: "pods", Namespace: "lab"},
		"/registry/lab.k8s.io/rats/cage/r": {Resource: "rats", All: true},
		"/registry/deployments/default/d":  {Name: "d"},
	} {
		s, e := store()
		if n, err := s.Put(t.Context(), strings.NewReader(objects), sel, Output{Format: "none"}); err != nil || n != 1 || e.values[want] == "" {
			t.Errorf("%+v: %d, %v", sel, n, err)
		}
	}
	s, _ := store()
	if n, err := s.Put(t.Context(), strings.NewReader(objects), Selection{Resource: "rats"}, Output{Format: "none"}); n != 0 || err != nil {
		t.Errorf("the rat is in another namespace: %d, %v", n, err)
	}
}

// A file with a mistake anywhere writes nothing.
func TestBadPut(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{":                           "document 2",
		"a: b: c":                     "document 2",
		"kind: Pod":                   "no apiVersion",
		"{apiVersion: v1, kind: Pod}": "metadata.name",
		"{apiVersion: v2, kind: Pod, metadata: {name: a}}":                        "v2",
		"{apiVersion: cats/v1, kind: Cat, metadata: {name: a}}":                   "no kind Cat",
		"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {contaners: []}}": "contaners",
		"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: 5}":               "pods a",
	} {
		s, e := store()
		n, err := s.Put(t.Context(), strings.NewReader(objects+"---\n"+text), Selection{}, Output{Format: "none"})
		if n != 0 || err == nil || !strings.Contains(err.Error(), strings.Replace(want, "document 2", "document 4", 1)) || len(e.values) != 1 {
			t.Errorf("%s: %d, %v, %d keys", text, n, err, len(e.values))
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	var all []pair
	for i := range 2500 {
		all = append(all, pair{key: fmt.Sprint(i)})
	}
	all[50].key = "49"
	var sizes []int
	for len(all) > 0 {
		batch, rest := split(all)
		sizes, all = append(sizes, len(batch)), rest
	}
	if got := fmt.Sprint(sizes); got != "[50 1000 1000 450]" {
		t.Error(got)
	}
}

func TestLastOfAKeyWins(t *testing.T) {
	t.Parallel()
	s, e := store()
	var in strings.Builder
	for i := range 200 {
		fmt.Fprintf(&in, "---\n{apiVersion: lab.k8s.io/v1, kind: Rat, metadata: {name: r%d}, size: %d}\n", i%3, i)
	}
	if n, err := s.Put(t.Context(), strings.NewReader(in.String()), Selection{}, Output{Format: "none"}); n != 200 || err != nil {
		t.Fatal(n, err)
	}
	if got := e.values["/registry/lab.k8s.io/rats/default/r1"]; !strings.Contains(got, `"size":199`) {
		t.Error(got)
	}
}

func TestBrokenWrite(t *testing.T) {
	t.Parallel()
	s, e := store()
	e.broken = "/registry/minions/x"
	_, err := s.Put(t.Context(), strings.NewReader(objects), Selection{}, Output{Format: "none"})
	if err == nil || err.Error() != "write /registry/minions/x: broken" {
		t.Error(err)
	}
	if _, err = s.Delete(t.Context(), Selection{Resource: "no", Name: "x"}, Output{Format: "none"}); err == nil {
		t.Error("deleted")
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	s, _ := store()
	var out bytes.Buffer
	if err := s.Watch(t.Context(), Selection{Resource: "pods"}, 0, Output{"yaml", &out}); err != nil {
		t.Fatal(err)
	}
	if want := "---\n# /registry/pods/default/a | application/json\n{}\n---\n# /registry/pods/default/b | deleted\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
}

func TestEncrypted(t *testing.T) {
	t.Parallel()
	s, e := store()
	e.values["/registry/secrets/default/a"] = "k8s:enc:aescbc:v1:key:xyz"
	var out bytes.Buffer
	_, _, err := s.Get(t.Context(), Selection{Resource: "secrets"}, Output{"json", &out})
	if err == nil || !strings.Contains(err.Error(), "encrypted") || out.Len() > 0 {
		t.Error(err, out.String())
	}
	e.values["/registry/secrets/default/a"] = `{"a":1}`
	if _, _, err := s.Get(t.Context(), Selection{Resource: "secrets"}, Output{"json", &out}); err != nil || !json.Valid(out.Bytes()) {
		t.Error(err, out.String())
	}
}
