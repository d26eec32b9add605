package kube

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
)

// NewProxy returns a handler that passes requests on to an API server as the user of cfg. Whoever reaches it is that
// user, so it takes only what a program of this machine sends on purpose: a page in a browser names itself in Origin,
// and a name of somebody else's that leads to this machine is in Host.
func NewProxy(cfg *rest.Config, log *slog.Logger) (http.Handler, error) {
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	plain, err := rest.TransportFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	old := rest.CopyConfig(cfg)
	old.NextProtos = []string{"http/1.1"} // HTTP/2 has no upgrades, which exec and port-forward need
	upgrade, err := rest.TransportFor(old)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Host, err)
	}
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1, // watches
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Upgrade") != "" {
				return upgrade.RoundTrip(r)
			}
			return plain.RoundTrip(r)
		}),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(base)
			r.Out.Header.Del("Authorization") // it would go before the certificate
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if why := stranger(r); why != "" {
			log.Warn("refused", "reason", why, "path", r.URL.Path)
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "refused: "+why+"\n") // the client may have gone
			return
		}
		proxy.ServeHTTP(w, r)
	}), nil
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// stranger says why a request does not look like one of a program of this machine.
func stranger(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	switch {
	case !slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, strings.ToLower(host)):
		return fmt.Sprintf("Host %q is not localhost, 127.0.0.1 or [::1]", r.Host)
	case len(r.Header["Origin"]) > 0:
		return "it comes from a page in a browser"
	}
	return ""
}
