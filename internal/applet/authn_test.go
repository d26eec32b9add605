package applet

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authentication/user"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

func TestRememberCertificates(t *testing.T) {
	t.Parallel()
	good, bad := &x509.Certificate{}, &x509.Certificate{}
	asked := 0
	info := &genericapiserver.AuthenticationInfo{
		RequestHeaderConfig: &authenticatorfactory.RequestHeaderConfig{
			UsernameHeaders: headerrequest.StaticStringSlice{"X-Custom-User"},
		},
		Authenticator: authenticator.RequestFunc(func(r *http.Request) (*authenticator.Response, bool, error) {
			asked++
			if r.TLS != nil && r.TLS.PeerCertificates[0] == bad {
				return nil, false, errors.New("signed by a stranger")
			}
			name := r.Header.Get("Authorization") + r.Header.Get("X-Custom-User")
			return &authenticator.Response{User: &user.DefaultInfo{Name: name}}, true, nil
		}),
	}
	rememberCertificates(info)
	for _, step := range []struct {
		what          string
		cert          *x509.Certificate
		header, value string
		user          string
		refused       bool
		asked         int
	}{
		{"first", good, "", "", "", false, 1},
		{"again", good, "", "", "", false, 1},
		{"a token beside the certificate", good, "Authorization", "Bearer a", "Bearer a", false, 2},
		{"another token", good, "Authorization", "Bearer b", "Bearer b", false, 3},
		{"a user of a front proxy", good, "x-custom-user", "alice", "alice", false, 4},
		{"another user of it", good, "x-custom-user", "bob", "bob", false, 5},
		{"the certificate again", good, "", "", "", false, 5},
		{"no certificate", nil, "", "", "", false, 6},
		{"a bad one", bad, "", "", "", true, 7},
		{"is not remembered", bad, "", "", "", true, 8},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if step.cert != nil {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{step.cert}}
		}
		if step.header != "" {
			r.Header.Set(step.header, step.value)
		}
		resp, ok, err := info.Authenticator.AuthenticateRequest(r)
		switch {
		case asked != step.asked:
			t.Fatalf("%s: asked %d times, want %d", step.what, asked, step.asked)
		case ok == step.refused || (err != nil) != step.refused:
			t.Fatalf("%s: ok %v, error %v", step.what, ok, err)
		case ok && resp.User.GetName() != step.user:
			t.Fatalf("%s: user %q, want %q", step.what, resp.User.GetName(), step.user)
		}
	}
}
