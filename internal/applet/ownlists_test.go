package applet

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/pkg/apis/core"
)

// cacheOf is storage with a cache that is filled at the third look.
type cacheOf struct {
	storage.Interface
	pods  []core.Pod
	never bool
	looks atomic.Int32
	lost  atomic.Bool
}

func (c *cacheOf) ReadinessCheck() error {
	if c.looks.Add(1) < 3 || c.never {
		return storage.ErrStorageNotReady
	}
	return nil
}

func (c *cacheOf) GetList(_ context.Context, _ string, _ storage.ListOptions, into runtime.Object) error {
	if c.lost.Load() || c.looks.Load() < 3 {
		return storage.ErrStorageNotReady
	}
	list := into.(*core.PodList)
	list.Items, list.ResourceVersion = append(list.Items, c.pods...), "7"
	return nil
}

// TestOwnLists lists through a typed client, as an informer of the server does and as others do.
func TestOwnLists(t *testing.T) {
	store := &cacheOf{pods: []core.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a": "b"}}, Spec: core.PodSpec{NodeName: "n"}}}}
	l := newOwnLists(generic.RESTOptions{})
	l.stores[schema.GroupResource{Resource: "pods"}] = []*cachedStore{
		{&cacheOf{never: true}, "", nil}, // that of a version which is not served
		{store, "/pods", func() runtime.Object { return &core.PodList{} }},
	}
	stock := 0
	h := l.front(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		stock++
		w.Header().Set("Content-Type", runtime.ContentTypeJSON)
		_, _ = w.Write([]byte(`{"kind":"PodList","apiVersion":"v1"}`))
	}))
	infos := &request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, err := infos.NewRequestInfo(r)
		if err != nil {
			t.Error(err)
		}
		ctx := request.WithUser(request.WithRequestInfo(r.Context(), info), &user.DefaultInfo{Name: r.UserAgent()})
		h.ServeHTTP(w, r.WithContext(ctx))
	}))
	defer s.Close()
	list := func(who, contentType, namespace string, o metav1.ListOptions) *corev1.PodList {
		t.Helper()
		c, err := kubernetes.NewForConfig(&rest.Config{Host: s.URL, UserAgent: who, ContentConfig: rest.ContentConfig{ContentType: contentType}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.CoreV1().Pods(namespace).List(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := list(user.APIServerUser, runtime.ContentTypeProtobuf, "", metav1.ListOptions{ResourceVersion: "0", Limit: 500})
	if stock != 0 || len(got.Items) != 1 || got.ResourceVersion != "7" || got.Items[0].Name != "p" || got.Items[0].Spec.NodeName != "n" {
		t.Errorf("asked the stock server %d times: %+v", stock, got)
	}
	if reflect.ValueOf(got.Items[0].Labels).Pointer() != reflect.ValueOf(store.pods[0].Labels).Pointer() {
		t.Error("the cache's objects were copied")
	}
	if len(l.lists) != 0 {
		t.Errorf("%d lists are left", len(l.lists))
	}
	for name, ask := range map[string]func(){
		"another user": func() { list("eve", runtime.ContentTypeProtobuf, "", metav1.ListOptions{ResourceVersion: "0"}) },
		"JSON": func() {
			list(user.APIServerUser, runtime.ContentTypeJSON, "", metav1.ListOptions{ResourceVersion: "0"})
		},
		"a namespace": func() {
			list(user.APIServerUser, runtime.ContentTypeProtobuf, "x", metav1.ListOptions{ResourceVersion: "0"})
		},
		"the newest": func() { list(user.APIServerUser, runtime.ContentTypeProtobuf, "", metav1.ListOptions{}) },
		"a selector": func() {
			list(user.APIServerUser, runtime.ContentTypeProtobuf, "", metav1.ListOptions{ResourceVersion: "0", LabelSelector: "a=b"})
		},
		"a lost cache": func() {
			store.lost.Store(true)
			list(user.APIServerUser, runtime.ContentTypeProtobuf, "", metav1.ListOptions{ResourceVersion: "0"})
			store.lost.Store(false)
		},
	} {
		stock = 0
		if ask(); stock != 1 {
			t.Errorf("%s: asked the stock server %d times", name, stock)
		}
	}
}

// TestTakenTwice takes a list that is not there any more, and one as what it is not.
func TestTakenTwice(t *testing.T) {
	l := newOwnLists(generic.RESTOptions{})
	taker := &listTaker{from: l}
	body := append([]byte(listMark), l.hand(&corev1.PodList{})...)
	if _, _, err := taker.Decode(body, nil, &corev1.PodList{}); err != nil {
		t.Error(err)
	}
	if _, _, err := taker.Decode(body, nil, &corev1.PodList{}); err == nil {
		t.Error("taken twice")
	}
	if _, _, err := taker.Decode(append([]byte(listMark), l.hand(&corev1.PodList{})...), nil, &corev1.NodeList{}); err == nil {
		t.Error("pods were taken for nodes")
	}
	for range 3 * mostLists {
		l.hand(&corev1.PodList{})
	}
	if len(l.lists) > mostLists {
		t.Errorf("%d lists are kept", len(l.lists))
	}
}
