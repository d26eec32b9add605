package applet

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// TestSharePods reads pods as informers do, with a stock client: those of a list and of a watch share what is alike,
// and no other answer shares anything, since whoever asked may change it.
func TestSharePods(t *testing.T) {
	yes := true
	pod := func(name, label string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, Namespace: "space", Labels: map[string]string{"a": label},
				OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "r", UID: "1", Controller: &yes}},
			},
			Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		}
	}
	codecs := serializer.NewCodecFactory(scheme.Scheme) // the server's own
	info, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	encoder := codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
		switch {
		case r.URL.Query().Get("watch") != "":
			w.Header().Set("Content-Type", runtime.ContentTypeProtobuf+";stream=watch")
			events := streaming.NewEncoder(info.StreamSerializer.Framer.NewFrameWriter(w),
				codecs.EncoderForVersion(info.StreamSerializer.Serializer, corev1.SchemeGroupVersion))
			for _, p := range []*corev1.Pod{pod("c", "x"), pod("d", "y")} {
				raw, err := runtime.Encode(encoder, p)
				if err == nil {
					err = events.Encode(&metav1.WatchEvent{Type: string(watch.Added), Object: runtime.RawExtension{Raw: raw}})
				}
				if err != nil {
					t.Error(err)
				}
			}
		case r.URL.Path == "/api/v1/pods":
			if err := encoder.Encode(&corev1.PodList{Items: []corev1.Pod{*pod("a", "x"), *pod("b", "x")}}, w); err != nil {
				t.Error(err)
			}
		default:
			if err := encoder.Encode(pod("a", "x"), w); err != nil {
				t.Error(err)
			}
		}
	}))
	defer server.Close()

	sharePods()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeProtobuf}})
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	events, err := client.CoreV1().Pods("").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	same := func(a, b *corev1.Pod) [4]bool {
		text := func(a, b string) bool { return unsafe.StringData(a) == unsafe.StringData(b) }
		return [...]bool{
			text(a.Namespace, b.Namespace),
			reflect.ValueOf(a.Labels).Pointer() == reflect.ValueOf(b.Labels).Pointer(),
			&a.OwnerReferences[0] == &b.OwnerReferences[0],
			text(string(a.Status.Conditions[0].Type), string(corev1.PodReady)) && text(string(a.Status.Conditions[0].Status), string(corev1.ConditionTrue)),
		}
	}
	a, b := &list.Items[0], &list.Items[1]
	c, d := (<-events.ResultChan()).Object.(*corev1.Pod), (<-events.ResultChan()).Object.(*corev1.Pod)
	got, err := client.CoreV1().Pods("space").Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range []struct {
		what string
		a, b *corev1.Pod
		want [4]bool
	}{
		{"two of a list", b, a, [4]bool{true, true, true, true}},
		{"of a list and of a watch", c, a, [4]bool{true, true, true, true}},
		{"with other labels", d, a, [4]bool{true, false, true, true}},
		{"asked for by name", got, a, [4]bool{}},
	} {
		if got := same(pair.a, pair.b); got != pair.want {
			t.Errorf("%s: namespace, labels, owners, conditions shared: %v, want %v", pair.what, got, pair.want)
		}
	}
	for _, p := range []*corev1.Pod{a, b, c, got} {
		if p.Name == "" || p.Namespace != "space" || !maps.Equal(p.Labels, map[string]string{"a": "x"}) || p.OwnerReferences[0].UID != "1" || p.Status.Conditions[0].Status != "True" {
			t.Errorf("%+v", p)
		}
	}
	if d.Labels["a"] != "y" {
		t.Errorf("%v", d.Labels)
	}
}
