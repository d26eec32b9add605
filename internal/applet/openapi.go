package applet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/emicklei/go-restful/v3"
	"k8s.io/apimachinery/pkg/util/uuid"
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

// lateOpenAPI serves the OpenAPI documents of the core server. The stock server builds them before it listens and
// writes them out at the first look at their index, which it takes itself: half a second and 60 MB that many clusters
// never need. This builds each by the same code when the first client asks for it.
//
// The index names each v3 document with a hash, so that clients know when to fetch it again. The stock hash is of the
// document; this is of the run of the server, in which no document of the core server changes.
type lateOpenAPI struct {
	v2   http.Handler
	v3   map[string]http.Handler // by name, such as apis/apps/v1
	hash string
}

// install adds the paths to the core server, which is target. The server's aggregator, through which clients reach
// it, asks each server behind it for its index once a second; it is told an empty one, which front completes.
func (l *lateOpenAPI) install(target genericapiserver.DelegationTarget, config *genericapiserver.Config) error {
	core, ok := target.(*genericapiserver.GenericAPIServer)
	if !ok {
		return fmt.Errorf("install OpenAPI: core server is a %T", target)
	}
	web, paths := core.Handler.GoRestfulContainer, core.Handler.NonGoRestfulMux
	l.v2 = lazy(func(m *mux.PathRecorderMux) { routes.OpenAPI{Config: config.OpenAPIConfig}.InstallV2(web, m) })
	l.v3, l.hash = map[string]http.Handler{}, string(uuid.NewUUID())
	for _, service := range web.RegisteredWebServices() {
		l.v3[strings.TrimPrefix(service.RootPath(), "/")] = lazy(func(m *mux.PathRecorderMux) {
			routes.OpenAPI{V3Config: config.OpenAPIV3Config}.InstallV3(restful.NewContainer().Add(service), m)
		})
	}
	paths.Handle(openAPIv2, l.v2)
	paths.HandleFunc(openAPIv3, func(w http.ResponseWriter, _ *http.Request) { writeIndex(w, newIndex()) })
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

// front wraps the handler that clients reach.
func (l *lateOpenAPI) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, isDocument := strings.CutPrefix(r.URL.Path, openAPIv3+"/")
		switch document := l.v3[name]; {
		case isDocument && document != nil:
			l.serve(w, r, name, document)
		case r.URL.Path == openAPIv3:
			l.index(w, r, next)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// serve answers with a document, as the stock server does to its own hashes.
func (l *lateOpenAPI) serve(w http.ResponseWriter, r *http.Request, name string, document http.Handler) {
	if hash := r.URL.Query().Get("hash"); hash != "" {
		if hash != l.hash {
			http.Redirect(w, r, l.address(name), http.StatusMovedPermanently)
			return
		}
		w.Header().Set("Cache-Control", "public, immutable")
		w.Header().Set("Expires", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
		r = r.Clone(r.Context())
		r.URL.RawQuery = ""
	}
	document.ServeHTTP(w, r)
}

// address is where the index says that a document is.
func (l *lateOpenAPI) address(name string) string {
	return (&url.URL{Path: openAPIv3 + "/" + name, RawQuery: url.Values{"hash": {l.hash}}.Encode()}).String()
}

// index answers with the index of the core server and of all others.
func (l *lateOpenAPI) index(w http.ResponseWriter, r *http.Request, others http.Handler) {
	answer := responsewriter.NewInMemoryResponseWriter()
	whole := r.Clone(r.Context()) // whatever part of the answer, or news of it, was asked for
	whole.Method, whole.Header = http.MethodGet, http.Header{}
	others.ServeHTTP(answer, whole)
	index := newIndex()
	if answer.RespCode() != http.StatusOK {
		http.Error(w, fmt.Sprintf("%s: status %d", openAPIv3, answer.RespCode()), http.StatusInternalServerError)
		return
	}
	if err := json.Unmarshal(answer.Data(), &index); err != nil {
		http.Error(w, fmt.Sprintf("%s: %v", openAPIv3, err), http.StatusInternalServerError)
		return
	}
	for name := range l.v3 {
		index.Paths[name] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: l.address(name)}
	}
	writeIndex(w, index)
}

func newIndex() handler3.OpenAPIV3Discovery {
	return handler3.OpenAPIV3Discovery{Paths: map[string]handler3.OpenAPIV3DiscoveryGroupVersion{}}
}

func writeIndex(w http.ResponseWriter, index handler3.OpenAPIV3Discovery) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(index) // the client may have gone
}
