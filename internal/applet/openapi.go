package applet

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
)

// lateOpenAPI serves the OpenAPI documents of the core server. The stock server builds them before it listens,
// which takes half a second that nobody waits for in a new cluster. This builds them by the same code, but at the
// first request after the server is ready.
//
// The v3 documents reach clients through the server's aggregator, which asks the core server for its index once
// when it is put together (and is turned away) and again a second after the start. Clients that ask before that
// are held back, so that nobody ever sees an incomplete index.
type lateOpenAPI struct {
	ready   chan struct{}   // closed when the server is ready
	indexed chan struct{}   // closed when the aggregator has been given the v3 index
	stop    <-chan struct{} // closed when the server is to end, which waits for its requests
}

func newLateOpenAPI(ctx context.Context) *lateOpenAPI {
	return &lateOpenAPI{stop: ctx.Done(), ready: make(chan struct{}), indexed: make(chan struct{})}
}

// install adds the paths to the core server, which is target.
func (l *lateOpenAPI) install(target genericapiserver.DelegationTarget, config *genericapiserver.Config) error {
	core, ok := target.(*genericapiserver.GenericAPIServer)
	if !ok {
		return fmt.Errorf("install OpenAPI: core server is a %T", target)
	}
	web, paths := core.Handler.GoRestfulContainer, core.Handler.NonGoRestfulMux
	v2 := l.lazy(func(m *mux.PathRecorderMux) { routes.OpenAPI{Config: config.OpenAPIConfig}.InstallV2(web, m) })
	v3 := l.lazy(func(m *mux.PathRecorderMux) { routes.OpenAPI{V3Config: config.OpenAPIV3Config}.InstallV3(web, m) })
	var once sync.Once
	index := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v3.ServeHTTP(w, r)
		if l.isReady() {
			once.Do(func() { close(l.indexed) }) // the aggregator holds its lock until it has stored the answer
		}
	})
	paths.Handle("/openapi/v2", v2)
	paths.Handle("/openapi/v3", index)
	paths.HandlePrefix("/openapi/v3/", v3)
	return nil
}

// lazy returns a handler that lets build fill a mux at the first request once the server is ready.
func (l *lateOpenAPI) lazy(build func(*mux.PathRecorderMux)) http.Handler {
	built := sync.OnceValue(func() http.Handler {
		m := mux.NewPathRecorderMux("openapi")
		build(m)
		return m
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !l.isReady() {
			http.Error(w, "starting", http.StatusServiceUnavailable)
			return
		}
		built().ServeHTTP(w, r)
	})
}

func (l *lateOpenAPI) isReady() bool {
	select {
	case <-l.ready:
		return true
	default:
		return false
	}
}

// hold wraps the handler that clients reach.
func (l *lateOpenAPI) hold(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/openapi/v3") {
			select {
			case <-l.indexed:
			case <-l.stop:
				http.Error(w, "stopping", http.StatusServiceUnavailable)
				return
			case <-r.Context().Done():
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
