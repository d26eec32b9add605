package applet

import (
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
)

// mostOwners bounds what sharing remembers; then it begins anew.
const mostOwners = 10_000

// sharePods lets the pods of one owner that this process lists and watches have in common what they say alike. The
// scheduler and the controller-manager compare labels, owners and namespaces of all pods of a Deployment for each pod
// of it, and with a copy in each pod most of their time is waiting for memory. What a list or a watch has read is
// read-only by the rule of informers, so nobody sees a difference; the answer to any other request is its caller's own.
func sharePods() {
	infos := scheme.Codecs.SupportedMediaTypes() // not a copy: the list that all typed clients are made from
	for i := range infos {
		if infos[i].MediaType == runtime.ContentTypeProtobuf {
			infos[i].Serializer = &sharing{Serializer: infos[i].Serializer, pods: map[types.UID]alike{}}
		}
	}
}

// sharing is a serializer that decodes pods of one owner to share.
type sharing struct {
	runtime.Serializer
	lock sync.Mutex
	pods map[types.UID]alike // the last one by its controller's UID
}

type alike struct {
	namespace string
	labels    map[string]string
	owners    []metav1.OwnerReference
}

func (s *sharing) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	obj, kind, err := s.Serializer.Decode(data, defaults, into)
	if err != nil {
		return obj, kind, err
	}
	switch obj := obj.(type) {
	case *corev1.Pod:
		if into == nil { // an event of a watch
			s.share(obj)
		}
	case *corev1.PodList:
		for i := range obj.Items {
			s.share(&obj.Items[i])
		}
	}
	return obj, kind, nil
}

func (s *sharing) share(pod *corev1.Pod) {
	var controller types.UID
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		controller = owner.UID
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	last := s.pods[controller]
	if pod.Namespace == last.namespace {
		pod.Namespace = last.namespace // the same bytes: equal without a look at them
	}
	if maps.Equal(pod.Labels, last.labels) {
		pod.Labels = last.labels
	}
	if slices.EqualFunc(pod.OwnerReferences, last.owners, sameOwner) {
		pod.OwnerReferences = last.owners
	}
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady {
			c.Type = corev1.PodReady
			if c.Status == corev1.ConditionTrue {
				c.Status = corev1.ConditionTrue
			}
		}
	}
	if len(s.pods) >= mostOwners {
		clear(s.pods)
	}
	s.pods[controller] = alike{namespace: pod.Namespace, labels: pod.Labels, owners: slices.Clip(pod.OwnerReferences)}
}

func sameOwner(a, b metav1.OwnerReference) bool {
	same := func(a, b *bool) bool { return a == b || a != nil && b != nil && *a == *b }
	return a.UID == b.UID && a.Name == b.Name && a.Kind == b.Kind && a.APIVersion == b.APIVersion &&
		same(a.Controller, b.Controller) && same(a.BlockOwnerDeletion, b.BlockOwnerDeletion)
}
