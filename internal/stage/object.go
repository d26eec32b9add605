// Package stage is the pure engine: which stage comes next for an object, when, and what it does. It knows no
// clock and no network; both are handed in.
package stage

import (
	"bytes"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kwokctl/internal/api"
)

// Meta is what every object has.
type Meta struct {
	APIVersion, Kind     string
	Namespace, Name, UID string
	Version              string // resourceVersion
	Labels, Annotations  map[string]string
	Finalizers           []string
	Deleting             bool
	Owners               []metav1.OwnerReference
	GracePeriod          *int64 // deletionGracePeriodSeconds
}

// Object is one version of one object. Pods and nodes arrive typed, every other kind as JSON; Tree is the JSON
// form, built at first use, that expressions and templates see. Its numbers are json.Number.
type Object interface {
	Meta() *Meta
	Tree() map[string]any
	typed() any // *corev1.Pod, *corev1.Node or nil
}

// Pod is a typed pod.
type Pod struct {
	*corev1.Pod
	meta Meta
	tree map[string]any
}

// NewPod wraps a pod; it must not be changed afterwards.
func NewPod(p *corev1.Pod) *Pod {
	return &Pod{Pod: p, meta: metaOf(&p.ObjectMeta, "Pod")}
}

// Meta returns the metadata.
func (p *Pod) Meta() *Meta { return &p.meta }

// Tree returns the JSON form.
func (p *Pod) Tree() map[string]any {
	if p.tree == nil {
		p.tree = treeOf(p.Pod, "Pod")
	}
	return p.tree
}

func (p *Pod) typed() any { return p.Pod }

// Node is a typed node.
type Node struct {
	*corev1.Node
	meta Meta
	tree map[string]any
}

// NewNode wraps a node; it must not be changed afterwards.
func NewNode(n *corev1.Node) *Node {
	return &Node{Node: n, meta: metaOf(&n.ObjectMeta, "Node")}
}

// Meta returns the metadata.
func (n *Node) Meta() *Meta { return &n.meta }

// Tree returns the JSON form.
func (n *Node) Tree() map[string]any {
	if n.tree == nil {
		n.tree = treeOf(n.Node, "Node")
	}
	return n.tree
}

func (n *Node) typed() any { return n.Node }

// Tree is an object of any kind as JSON.
type Tree struct {
	tree map[string]any
	meta Meta
}

// NewTree wraps a JSON object, with numbers as json.Number; it must not be changed afterwards.
func NewTree(tree map[string]any) *Tree {
	text, _ := json.Marshal(tree["metadata"])
	var m metav1.ObjectMeta
	_ = json.Unmarshal(text, &m) // what does not fit is as good as absent
	t := &Tree{tree: tree, meta: metaOf(&m, "")}
	t.meta.APIVersion, _ = tree["apiVersion"].(string)
	t.meta.Kind, _ = tree["kind"].(string)
	return t
}

// Decode reads a JSON object.
func Decode(text []byte) (*Tree, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var tree map[string]any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	return NewTree(tree), nil
}

// Meta returns the metadata.
func (t *Tree) Meta() *Meta { return &t.meta }

// Tree returns the JSON form.
func (t *Tree) Tree() map[string]any { return t.tree }

func (t *Tree) typed() any { return nil }

// likeOf is what CEL expressions of a kind see as self: nil stands for JSON.
func likeOf(ref api.ResourceRef) any {
	switch ref {
	case api.ResourceRef{APIGroup: "v1", Kind: "Pod"}:
		return (*corev1.Pod)(nil)
	case api.ResourceRef{APIGroup: "v1", Kind: "Node"}:
		return (*corev1.Node)(nil)
	}
	return nil
}

// selfOf is the value of self for an object.
func selfOf(o Object) any {
	if self := o.typed(); self != nil {
		return self
	}
	return o.Tree()
}

func metaOf(m *metav1.ObjectMeta, kind string) Meta {
	return Meta{APIVersion: "v1", Kind: kind, Namespace: m.Namespace, Name: m.Name, UID: string(m.UID),
		Version: m.ResourceVersion, Labels: m.Labels, Annotations: m.Annotations, Finalizers: m.Finalizers,
		Deleting: m.DeletionTimestamp != nil, Owners: m.OwnerReferences, GracePeriod: m.DeletionGracePeriodSeconds}
}

// clock prints a time as templates do.
func clock(t time.Time) string { return t.Format(time.RFC3339Nano) }
