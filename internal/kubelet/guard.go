package kubelet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kwokctl/internal/api"
	"kwokctl/internal/kube"
)

// Guard lets those in whom the API server knows and grants what they ask for, as kubelets do: a client certificate or
// a bearer token says who it is, a SubjectAccessReview whether he may. Nothing is remembered, so that what is revoked
// is refused at once.
type Guard struct {
	API interface {
		Do(ctx context.Context, r kube.Request) ([]byte, error)
	}
	CAs *x509.CertPool // sign client certificates; nil: none is accepted
	Log *slog.Logger
}

// reviewTime bounds how long the API server may take to answer.
const reviewTime = 10 * time.Second

// Protect returns h for those who may ask for it.
func (g *Guard) Protect(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), reviewTime)
		defer cancel()
		who, err := g.identify(ctx, r)
		if err != nil {
			g.refuse(w, r, err)
			return
		}
		if err := g.authorize(ctx, r, who); err != nil {
			g.refuse(w, r, err)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// refusal is an answer to someone who is not let in.
type refusal struct {
	code int
	text string
}

func (e *refusal) Error() string { return e.text }

func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, err error) {
	code := http.StatusServiceUnavailable
	if known := (*refusal)(nil); errors.As(err, &known) {
		code = known.code
	} else {
		g.Log.Warn("who asks cannot be checked", "object", r.URL.Path, "err", err)
	}
	http.Error(w, err.Error(), code)
}

// identify tells who asks.
func (g *Guard) identify(ctx context.Context, r *http.Request) (*authentication.UserInfo, error) {
	why := "want a client certificate or a bearer token"
	if certs := r.TLS.PeerCertificates; g.CAs != nil && len(certs) > 0 {
		between := x509.NewCertPool()
		for _, c := range certs[1:] {
			between.AddCert(c)
		}
		_, err := certs[0].Verify(x509.VerifyOptions{Roots: g.CAs, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		if err == nil {
			who := certs[0].Subject
			return &authentication.UserInfo{Username: who.CommonName, Groups: append(slices.Clone(who.Organization), "system:authenticated")}, nil
		}
		why = "client certificate: " + err.Error()
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, &refusal{http.StatusUnauthorized, "unauthorized: " + why}
	}
	review := authentication.TokenReview{Spec: authentication.TokenReviewSpec{Token: strings.TrimSpace(token)}}
	review.TypeMeta = metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"}
	if err := g.ask(ctx, "/apis/authentication.k8s.io/v1/tokenreviews", &review); err != nil {
		return nil, fmt.Errorf("review token: %w", err)
	}
	if !review.Status.Authenticated {
		return nil, &refusal{http.StatusUnauthorized, "unauthorized: the API server does not know the token"}
	}
	return &review.Status.User, nil
}

// authorize asks the API server whether a user may do what he asks for.
func (g *Guard) authorize(ctx context.Context, r *http.Request, who *authentication.UserInfo) error {
	extra := map[string]authorization.ExtraValue{}
	for k, v := range who.Extra {
		extra[k] = authorization.ExtraValue(v)
	}
	verb, part := wanted(r)
	review := authorization.SubjectAccessReview{Spec: authorization.SubjectAccessReviewSpec{
		User: who.Username, UID: who.UID, Groups: who.Groups, Extra: extra,
		ResourceAttributes: &authorization.ResourceAttributes{Verb: verb, Version: "v1", Resource: "nodes", Subresource: part},
	}}
	review.TypeMeta = metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview"}
	if err := g.ask(ctx, "/apis/authorization.k8s.io/v1/subjectaccessreviews", &review); err != nil {
		return fmt.Errorf("review access: %w", err)
	}
	if !review.Status.Allowed {
		return &refusal{http.StatusForbidden, fmt.Sprintf("forbidden: user %q may not %s nodes/%s", who.Username, verb, part)}
	}
	return nil
}

// wanted says what right a request takes. It is the one that a kubelet asks for.
func wanted(r *http.Request) (verb, subresource string) {
	verb = map[string]string{http.MethodPost: "create", http.MethodGet: "get", http.MethodHead: "get",
		http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete"}[r.Method]
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch first {
	case "stats", "metrics", "checkpoint":
		return verb, first
	case "logs":
		return verb, "log"
	}
	return verb, "proxy"
}

// ask posts a review and reads the answer into it.
func (g *Guard) ask(ctx context.Context, path string, review any) error {
	body, err := json.Marshal(review)
	if err != nil {
		return err
	}
	answer, err := g.API.Do(ctx, kube.Request{Method: http.MethodPost, Path: path, Body: body})
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, review)
}

// Credentials reads the serving certificate, and who signs client certificates; nil for those that no option names.
func Credentials(o *api.KwokOptions) (cert *tls.Certificate, cas *x509.CertPool, err error) {
	if o.TLSCertFile+o.TLSPrivateKeyFile != "" {
		if cert, err = certificate(o.TLSCertFile, o.TLSPrivateKeyFile); err != nil {
			return nil, nil, err
		}
	}
	if o.ClientCAFile != "" {
		cas, err = authorities(o.ClientCAFile)
	}
	return cert, cas, err
}

func certificate(certFile, keyFile string) (*tls.Certificate, error) {
	if certFile == "" || keyFile == "" {
		return nil, fmt.Errorf("tlsCertFile %q, tlsPrivateKeyFile %q: want both or none", certFile, keyFile)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("tlsCertFile %q, tlsPrivateKeyFile %q: %w", certFile, keyFile, err)
	}
	return &cert, nil
}

func authorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("clientCAFile: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("clientCAFile %q: has no PEM certificate", file)
	}
	return pool, nil
}
