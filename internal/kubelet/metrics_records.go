package kubelet

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// records are the nodes that metrics are asked of, and their pods: of each as much as the expressions look at.
type records struct {
	mu    sync.RWMutex
	uses  map[string]bool // parts of objects that expressions look at, such as pod.metadata.annotations; nil: keep nothing
	nodes map[string]*nodeRecord
	epoch uint32

	ofNode, ofPod [][]int // the fields that are these parts
}

// nodeRecord is a node with its pods. They may be known before it is.
type nodeRecord struct {
	raw     []byte // nil: it is not managed
	uid     string
	epoch   uint32
	pods    map[podName]*podRecord
	started float64 // containers, since we know the node
	used    *integrals
}

// podRecord is a pod.
type podRecord struct {
	raw     []byte // in protobuf
	uid     string
	epoch   uint32
	done    bool // it succeeded or failed, and uses nothing
	started int  // containers that were counted
	used    *integrals
}

// integrals are usages over time, by container and resource. Scrapes advance them.
type integrals struct {
	mu  sync.Mutex
	all []integral
}

type integral struct {
	container, resource string
	sum                 float64
	at                  int64 // in nanoseconds
}

// advance adds what was used since the last time, in unit-seconds. At the first time nothing was.
func (i *integrals) advance(container, resource string, usage float64, now time.Time) float64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := slices.IndexFunc(i.all, func(it integral) bool { return it.container == container && it.resource == resource })
	if at < 0 {
		i.all = append(i.all, integral{container: strings.Clone(container), resource: resource, at: now.UnixNano()})
		return 0
	}
	it := &i.all[at]
	if passed := now.UnixNano() - it.at; passed > 0 { // else somebody who began later was faster
		it.sum += max(0, usage) * time.Duration(passed).Seconds()
		it.at = now.UnixNano()
	}
	return it.sum
}

// demand says what is looked at from now on, and reports whether there is more of it than what was kept.
func (r *records) demand(uses map[string]bool) (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if uses == nil {
		r.nodes = nil
	} else if more = r.uses == nil; more {
		r.nodes = map[string]*nodeRecord{}
	}
	for u := range uses {
		more = more || !r.uses[u]
	}
	r.uses = uses
	r.ofNode, r.ofPod = looked(reflect.TypeFor[corev1.Node](), "node", uses), looked(reflect.TypeFor[corev1.Pod](), "pod", uses)
	return more
}

// node returns the record of a node, and makes one if there is none.
func (r *records) node(name string) *nodeRecord {
	n := r.nodes[name]
	if n == nil {
		n = &nodeRecord{pods: map[podName]*podRecord{}, used: &integrals{}}
		r.nodes[name] = n
	}
	return n
}

// setNode takes a version of a node that is managed.
func (r *records) setNode(o *corev1.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.uses == nil {
		return
	}
	n := r.node(o.Name)
	if n.uid != string(o.UID) { // another one of that name
		n.uid, n.started, n.used = string(o.UID), 0, &integrals{}
		for _, p := range n.pods {
			n.started += float64(p.started)
		}
	}
	kept := corev1.Node{ObjectMeta: identityOf(&o.ObjectMeta)}
	pick(&kept, o, r.ofNode)
	n.raw, n.epoch = encode(&kept), r.epoch
}

// dropNode takes note that a node is not managed, or gone. Its pods have deletions of their own.
func (r *records) dropNode(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.nodes[name]; n != nil {
		n.raw, n.uid = nil, ""
		r.tidy(name, n)
	}
}

func (r *records) tidy(name string, n *nodeRecord) {
	if n.raw == nil && len(n.pods) == 0 {
		delete(r.nodes, name)
	}
}

// setPod takes a version of a pod that is on a node.
func (r *records) setPod(o *corev1.Pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.uses == nil {
		return
	}
	n := r.node(o.Spec.NodeName)
	name := podName{o.Namespace, o.Name}
	p := n.pods[name]
	if p == nil || p.uid != string(o.UID) {
		p = &podRecord{uid: string(o.UID), used: &integrals{}}
		n.pods[name] = p
	}
	if started := startedIn(o); started > p.started { // a version that is seen again counts nothing
		n.started += float64(started - p.started)
		p.started = started
	}
	kept := corev1.Pod{ObjectMeta: identityOf(&o.ObjectMeta)}
	for i := range o.Spec.Containers {
		kept.Spec.Containers = append(kept.Spec.Containers, corev1.Container{Name: o.Spec.Containers[i].Name})
	}
	pick(&kept, o, r.ofPod)
	p.raw, p.epoch = encode(&kept), r.epoch
	p.done = o.Status.Phase == corev1.PodSucceeded || o.Status.Phase == corev1.PodFailed
}

// dropPod takes the deletion of a pod.
func (r *records) dropPod(o *corev1.Pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.nodes[o.Spec.NodeName]
	if n == nil {
		return
	}
	name := podName{o.Namespace, o.Name}
	if p := n.pods[name]; p != nil && p.uid == string(o.UID) {
		delete(n.pods, name)
		r.tidy(o.Spec.NodeName, n)
	}
}

// begin starts a complete account of all nodes, or of all pods; end drops those that it did not name.
func (r *records) begin() uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch++
	return r.epoch
}

func (r *records) endNodes(began uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, n := range r.nodes {
		if n.epoch < began {
			n.raw, n.uid = nil, ""
			r.tidy(name, n)
		}
	}
}

func (r *records) endPods(began uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, n := range r.nodes {
		maps.DeleteFunc(n.pods, func(_ podName, p *podRecord) bool { return p.epoch < began })
		r.tidy(name, n)
	}
}

// startedIn counts the containers that were started for a pod, restarts included.
func startedIn(o *corev1.Pod) (n int) {
	for _, list := range [][]corev1.ContainerStatus{o.Status.InitContainerStatuses, o.Status.ContainerStatuses} {
		for _, s := range list {
			if s.State.Running != nil || s.State.Terminated != nil {
				n++
			}
			n += int(s.RestartCount)
		}
	}
	return n
}

// startedOn tells how many containers were started on a node.
func (r *records) startedOn(name string) float64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if n := r.nodes[name]; n != nil {
		return n.started
	}
	return 0
}

// managed returns the names of the nodes, in order.
func (r *records) managed() (names []string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for name, n := range r.nodes {
		if n.raw != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// onePod is a pod as a scrape sees it.
type onePod struct {
	*corev1.Pod
	used *integrals
}

// read returns a node with its pods that are not done, in order; false if there is no such node.
func (r *records) read(name string) (node *corev1.Node, used *integrals, pods []onePod, known bool) {
	var raw []byte
	var rawPods []podRecord
	r.mu.RLock()
	if n := r.nodes[name]; n != nil && n.raw != nil {
		raw, used, known = n.raw, n.used, true
		for _, p := range n.pods {
			if !p.done {
				rawPods = append(rawPods, podRecord{raw: p.raw, used: p.used})
			}
		}
	}
	r.mu.RUnlock()
	if !known {
		return nil, nil, nil, false
	}
	node = &corev1.Node{}
	decode(node, raw)
	for _, p := range rawPods {
		o := onePod{&corev1.Pod{}, p.used}
		decode(o.Pod, p.raw)
		pods = append(pods, o)
	}
	slices.SortFunc(pods, func(a, b onePod) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return node, used, pods, true
}

// identityOf takes that from an object which is kept of any.
func identityOf(m *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: m.Name, Namespace: m.Namespace, UID: m.UID, CreationTimestamp: m.CreationTimestamp}
}

// looked finds the fields of a type that are looked at: of the object itself, or of its metadata, spec and status.
func looked(t reflect.Type, root string, uses map[string]bool) (fields [][]int) {
	for i := range t.NumField() {
		part := root + "." + yamlName(t.Field(i))
		if uses[root] || uses[part] {
			fields = append(fields, []int{i})
			continue
		}
		for j := range t.Field(i).Type.NumField() {
			if uses[part+"."+yamlName(t.Field(i).Type.Field(j))] {
				fields = append(fields, []int{i, j})
			}
		}
	}
	return fields
}

// pick copies fields of an object.
func pick(to, from any, fields [][]int) {
	dst, src := reflect.ValueOf(to).Elem(), reflect.ValueOf(from).Elem()
	for _, f := range fields {
		dst.FieldByIndex(f).Set(src.FieldByIndex(f))
	}
}

func yamlName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// encode and decode are for what we keep ourselves: they fail for nothing that the API server would let pass.
func encode(o interface{ Marshal() ([]byte, error) }) []byte {
	raw, err := o.Marshal()
	if err != nil {
		return []byte{}
	}
	return raw
}

func decode(o interface{ Unmarshal([]byte) error }, raw []byte) { _ = o.Unmarshal(raw) }
