package docker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"kwokctl/runtimes"
)

// unavailable says in one line why an engine cannot be used, and what to do.
func unavailable(s state, err error) error {
	why, hint := insecure(s, err)
	if why == "" {
		why, hint = astray(s, err)
	}
	if why == "" {
		why, hint = unreachable(s, err)
	}
	return fmt.Errorf("%w: %s at %s: %s%s", runtimes.ErrUnavailable, s.Engine, s.At.Host, strings.Join(strings.Fields(why), " "), hint)
}

// unreachable says why nobody was met who could be asked.
func unreachable(s state, err error) (why, hint string) {
	text := strings.ToLower(err.Error())
	var name *net.DNSError
	var request *url.Error
	switch {
	case errors.Is(err, syscall.EACCES) || strings.Contains(text, "permission denied"):
		return "permission denied", "; ask for the right to use its socket, or run it rootless"
	case errors.Is(err, syscall.ENOENT) || strings.Contains(text, "no such file"):
		return "there is no such socket", startHint(s.Engine)
	case errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(text, "connection refused") || strings.Contains(text, "cannot connect to the docker daemon"):
		return "nobody listens there", startHint(s.Engine)
	case errors.As(err, &name) && name.IsNotFound:
		return "there is no host " + name.Name, hostHint(s.Engine)
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		return "that host cannot be reached", hostHint(s.Engine)
	case errors.As(err, &request): // which repeats the address
		return request.Err.Error(), ""
	}
	return err.Error(), ""
}

// insecure says why no secure connection, or no plain one, could be made to whoever listens; "" when that is not why.
func insecure(s state, err error) (why, hint string) {
	var unknown x509.UnknownAuthorityError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	text := err.Error()
	switch {
	case errors.As(err, &unknown):
		if s.At.CA == "" {
			return "its certificate is signed by no authority that this system knows", "; give its ca.pem, in DOCKER_CERT_PATH or the context"
		}
		return "its certificate is signed by no authority in " + s.At.CA, "; give its own ca.pem, in DOCKER_CERT_PATH or the context"
	case errors.As(err, &verify):
		return "its certificate does not serve: " + strings.TrimPrefix(verify.Err.Error(), "x509: "), ""
	case errors.As(err, &record) || strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "it speaks no TLS", "; unset DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, or use a context without TLS"
	case strings.Contains(text, "HTTP request to an HTTPS server"):
		if s.Engine == Podman {
			return "it speaks TLS alone", "; podman's service speaks none: use runtime docker if that is a docker engine"
		}
		return "it speaks TLS alone", "; set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the directory of ca.pem, cert.pem and key.pem"
	case strings.Contains(text, "remote error: tls: "), s.At.CA != "" && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)):
		return s.At.refused()
	}
	return "", ""
}

// refused says what is wrong with what was shown to an engine that then ended the connection.
func (e endpoint) refused() (why, hint string) {
	if !e.certified() {
		return "it asks for a certificate", "; give cert.pem and key.pem, in DOCKER_CERT_PATH or the context"
	}
	why, hint = "it does not take the certificate "+e.Cert, "; give one that its authority signed for clients"
	pair, err := tls.LoadX509KeyPair(e.Cert, e.Key)
	if err == nil && pair.Leaf != nil && time.Now().After(pair.Leaf.NotAfter) {
		return why + ", which expired on " + pair.Leaf.NotAfter.UTC().Format("2006-01-02 at 15:04 UTC"), hint
	}
	return why, hint
}

func startHint(engine string) string {
	if engine == Podman {
		return "; start it with podman system service, or say where it is in CONTAINER_HOST"
	}
	return "; start it, or say where it is in DOCKER_HOST"
}

func hostHint(engine string) string {
	if engine == Podman {
		return "; say where it is in CONTAINER_HOST"
	}
	return "; say where it is in DOCKER_HOST, or choose another context"
}

const certHint = "; ca.pem, cert.pem and key.pem are to be in $DOCKER_CERT_PATH, or in the context"
