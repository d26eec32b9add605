package applet

import (
	"net/http"
	"time"

	utilcache "k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

const (
	rememberCerts = 10 * time.Second // as long as the API server remembers a token it has found good
	certsAtOnce   = 4096
)

// rememberCertificates makes the server verify a client's certificate once, and then not for a while. The stock
// server does it anew for every request of a connection; that is a twentieth of all the processor time a busy cluster
// takes. Tokens and the headers of a front proxy belong to a request, so requests that carry any are asked about each
// time.
func rememberCertificates(info *genericapiserver.AuthenticationInfo) {
	ask := info.Authenticator
	perRequest := []string{"Authorization", "Sec-Websocket-Protocol"}
	if info.RequestHeaderConfig != nil {
		perRequest = append(perRequest, info.RequestHeaderConfig.UsernameHeaders.Value()...)
	}
	known := utilcache.NewLRUExpireCache(certsAtOnce)
	info.Authenticator = authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			return ask.AuthenticateRequest(r)
		}
		for _, name := range perRequest {
			if len(r.Header.Values(name)) > 0 {
				return ask.AuthenticateRequest(r)
			}
		}
		leaf := r.TLS.PeerCertificates[0] // a pointer, and the same one for the same certificate: crypto/tls sees to that
		if resp, ok := known.Get(leaf); ok {
			return resp.(*authenticator.Response), true, nil
		}
		resp, ok, err := ask.AuthenticateRequest(r)
		if ok && err == nil {
			known.Add(leaf, resp, rememberCerts)
		}
		return resp, ok, err
	})
}
