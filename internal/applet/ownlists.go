package applet

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
)

const (
	cacheLook = 5 * time.Millisecond // between looks at a cache that is being filled, which tells nobody when it has been
	mostLists = 256                  // handed over and not taken, as by a client that has gone; then it begins anew
)

// listMark begins the body of an answer that stands for a list in memory; the rest is its number. No object begins so.
var listMark = []byte("kwokctl list\x00")

// ownLists answers the lists of the server's own informers from its watch cache in memory. The stock server, which asks
// itself through its own port while that cache is being filled, reads every pod of a large cluster from etcd twice,
// decodes it three times and encodes it once, all before it is ready, and keeps it twice; here both share it. What
// informers have is read-only, as is what the cache has. The watches that follow are as stock.
type ownLists struct {
	generic.RESTOptionsGetter

	lock   sync.Mutex
	stores map[schema.GroupResource][]*cachedStore // more than one where versions of the API have their own
	lists  map[string]runtime.Object               // on their way, by number
	last   int
}

type cachedStore struct {
	storage.Interface
	prefix string
	list   func() runtime.Object
}

// newOwnLists wraps the storage of a server. It must be called before that is made, and before any client in this
// process sends a request.
func newOwnLists(getter generic.RESTOptionsGetter) *ownLists {
	l := &ownLists{RESTOptionsGetter: getter, stores: map[schema.GroupResource][]*cachedStore{}, lists: map[string]runtime.Object{}}
	infos := scheme.Codecs.SupportedMediaTypes() // not a copy: the list that all typed clients are made from
	for i := range infos {
		if infos[i].MediaType == runtime.ContentTypeProtobuf {
			infos[i].Serializer = &listTaker{infos[i].Serializer, l}
		}
	}
	return l
}

// GetRESTOptions implements generic.RESTOptionsGetter as the stock one does, and remembers the storage made with it.
func (l *ownLists) GetRESTOptions(resource schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	options, err := l.RESTOptionsGetter.GetRESTOptions(resource, example)
	if err != nil {
		return options, err
	}
	decorate := options.Decorator
	options.Decorator = func(config *storagebackend.ConfigForResource, prefix string, key func(runtime.Object) (string, error), item, list func() runtime.Object,
		attrs storage.AttrFunc, trigger storage.IndexerFuncs, indexers *cache.Indexers) (storage.Interface, factory.DestroyFunc, error) {
		store, destroy, err := decorate(config, prefix, key, item, list, attrs, trigger, indexers)
		if _, cached := store.(*cacher.CacheDelegator); !cached {
			return store, destroy, err
		}
		one := &cachedStore{store, prefix, list}
		l.lock.Lock()
		l.stores[resource] = append(l.stores[resource], one)
		l.lock.Unlock()
		return store, func() { // at the end, and when no version that is served needs it
			l.lock.Lock()
			l.stores[resource] = slices.DeleteFunc(l.stores[resource], func(s *cachedStore) bool { return s == one })
			l.lock.Unlock()
			destroy()
		}, err
	}
	return options, nil
}

// front wraps the handler that clients reach.
func (l *ownLists) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resource, version := l.asked(r)
		store := l.filled(r.Context(), resource)
		if store == nil {
			next.ServeHTTP(w, r)
			return
		}
		list, err := store.all(r.Context(), version)
		if err != nil { // such as a cache that has just been lost
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
		_, _ = w.Write(append(bytes.Clone(listMark), l.hand(list)...)) // the client may have gone
	})
}

// asked returns what r lists all of, and the version it asks for, if it comes from a typed client of the server itself.
func (l *ownLists) asked(r *http.Request) (resource schema.GroupResource, version schema.GroupVersion) {
	info, _ := request.RequestInfoFrom(r.Context())
	who, _ := request.UserFrom(r.Context())
	if info == nil || info.Verb != "list" || info.Namespace != "" || info.Subresource != "" || who == nil || who.GetName() != user.APIServerUser {
		return resource, version
	}
	if first, _, _ := strings.Cut(r.Header.Get("Accept"), ","); first != runtime.ContentTypeProtobuf { // with parameters it is not for whole objects
		return resource, version
	}
	query := r.URL.Query()
	query.Del("limit") // which the cache does not heed either
	if query.Get("resourceVersion") != "0" || len(query) > 1 {
		return resource, version
	}
	return schema.GroupResource{Group: info.APIGroup, Resource: info.Resource}, schema.GroupVersion{Group: info.APIGroup, Version: info.APIVersion}
}

// filled waits until a cache has all objects of a resource, and returns it; nil if there is none, or ctx ends.
func (l *ownLists) filled(ctx context.Context, resource schema.GroupResource) *cachedStore {
	var tick *time.Ticker
	for {
		l.lock.Lock()
		stores := slices.Clone(l.stores[resource])
		l.lock.Unlock()
		for _, s := range stores {
			if s.ReadinessCheck() == nil {
				return s
			}
		}
		if len(stores) == 0 {
			return nil
		}
		if tick == nil {
			tick = time.NewTicker(cacheLook)
			defer tick.Stop()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// all lists the cache, in a version of the API. Its objects share what they hold with those in the cache.
func (s *cachedStore) all(ctx context.Context, version schema.GroupVersion) (runtime.Object, error) {
	list := s.list()
	if err := s.GetList(ctx, s.prefix, storage.ListOptions{ResourceVersion: "0", Recursive: true, Predicate: storage.Everything}, list); err != nil {
		return nil, err
	}
	return legacyscheme.Scheme.UnsafeConvertToVersion(list, version)
}

// hand keeps a list until it is taken, and returns its number.
func (l *ownLists) hand(list runtime.Object) string {
	l.lock.Lock()
	defer l.lock.Unlock()
	if len(l.lists) >= mostLists {
		clear(l.lists)
	}
	l.last++
	number := strconv.Itoa(l.last)
	l.lists[number] = list
	return number
}

func (l *ownLists) take(number string) runtime.Object {
	l.lock.Lock()
	defer l.lock.Unlock()
	list := l.lists[number]
	delete(l.lists, number)
	return list
}

// listTaker is a serializer of clients that takes a list which was handed over.
type listTaker struct {
	runtime.Serializer
	from *ownLists
}

func (t *listTaker) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	number, marked := bytes.CutPrefix(data, listMark)
	if !marked {
		return t.Serializer.Decode(data, defaults, into)
	}
	list := t.from.take(string(number))
	if list == nil || reflect.TypeOf(list) != reflect.TypeOf(into) {
		return nil, nil, fmt.Errorf("decode list %s: it is a %T, not a %T", number, list, into)
	}
	reflect.ValueOf(into).Elem().Set(reflect.ValueOf(list).Elem())
	kind := into.GetObjectKind().GroupVersionKind()
	return into, &kind, nil
}
