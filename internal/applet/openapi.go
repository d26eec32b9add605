package applet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/apiserver/pkg/util/responsewriter"
	"k8s.io/kube-openapi/pkg/handler3"
)

// Paths of the OpenAPI documents.
const (
	openAPIv2 = "/openapi/v2"
	openAPIv3 = "/openapi/v3"
)

// lateOpenAPI serves the OpenAPI documents of the core server. The stock server builds them before it listens, which
// takes half a second and 30 MB that many clusters never need. This builds them by the same code when the first
// client asks.
//
// The v3 documents reach clients through the server's aggregator, which asks each server behind it for its index
// once a second. It is told an empty one until somebody wants more; from then until it has learnt of the full one,
// clients are answered here.
type lateOpenAPI struct {
	v2, v3  http.Handler // of the core server, built at the first request
	wanted  atomic.Bool  // a client has asked for v3
	indexed atomic.Bool  // the aggregator has been given the full index
}

// install adds the paths to the core server, which is target.
func (l *lateOpenAPI) install(target genericapiserver.DelegationTarget, config *genericapiserver.Config) error {
	core, ok := target.(*genericapiserver.GenericAPIServer)
	if !ok {
		return fmt.Errorf("install OpenAPI: core server is a %T", target)
	}
	web, paths := core.Handler.GoRestfulContainer, core.Handler.NonGoRestfulMux
	l.v2 = lazy(func(m *mux.PathRecorderMux) { routes.OpenAPI{Config: config.OpenAPIConfig}.InstallV2(web, m) })
	l.v3 = lazy(func(m *mux.PathRecorderMux) { routes.OpenAPI{V3Config: config.OpenAPIV3Config}.InstallV3(web, m) })
	paths.Handle(openAPIv2, l.v2)
	paths.Handle(openAPIv3, http.HandlerFunc(l.index))
	paths.HandlePrefix(openAPIv3+"/", l.v3)
	return nil
}

// lazy returns a handler that lets build fill a mux at the first request.
func lazy(build func(*mux.PathRecorderMux)) http.Handler {
	built := sync.OnceValue(func() http.Handler {
		m := mux.NewPathRecorderMux("openapi")
		build(m)
		return m
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { built().ServeHTTP(w, r) })
}

// index is what the aggregator asks for.
func (l *lateOpenAPI) index(w http.ResponseWriter, r *http.Request) {
	if !l.wanted.Load() {
		_ = json.NewEncoder(w).Encode(handler3.OpenAPIV3Discovery{Paths: map[string]handler3.OpenAPIV3DiscoveryGroupVersion{}})
		return
	}
	l.v3.ServeHTTP(w, r)
	l.indexed.Store(true) // the aggregator holds its lock until it has stored the answer
}

// front wraps the handler that clients reach.
func (l *lateOpenAPI) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isV3 := strings.CutPrefix(r.URL.Path, openAPIv3)
		if !isV3 || l.indexed.Load() {
			next.ServeHTTP(w, r)
			return
		}
		l.wanted.Store(true)
		core, err := fetchIndex(l.v3, r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if name == "" {
			l.merged(w, r, next, core)
			return
		}
		if _, ok := core.Paths[strings.TrimPrefix(name, "/")]; ok {
			l.v3.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// merged answers with the index of the core server and of all others.
func (l *lateOpenAPI) merged(w http.ResponseWriter, r *http.Request, next http.Handler, core handler3.OpenAPIV3Discovery) {
	others, err := fetchIndex(next, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for path, document := range others.Paths {
		core.Paths[path] = document
	}
	text, err := json.Marshal(core)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // the client may have gone
}

// fetchIndex asks a handler for its index of v3 documents, with the identity of r.
func fetchIndex(from http.Handler, r *http.Request) (index handler3.OpenAPIV3Discovery, err error) {
	req := r.Clone(r.Context())
	req.URL.Path, req.Header = openAPIv3, http.Header{}
	answer := responsewriter.NewInMemoryResponseWriter()
	from.ServeHTTP(answer, req)
	if answer.RespCode() != http.StatusOK {
		return index, fmt.Errorf("%s: status %d", openAPIv3, answer.RespCode())
	}
	if err := json.Unmarshal(answer.Data(), &index); err != nil {
		return index, fmt.Errorf("%s: %w", openAPIv3, err)
	}
	return index, nil
}
