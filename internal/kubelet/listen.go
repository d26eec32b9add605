package kubelet

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits on those who connect. Whoever is not quick to say what he wants is dropped, so that others get their turn.
const (
	maxConnections = 1024
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
)

// Serve answers on one port until ctx ends: TLS with secure, all else with plain. Without a certificate TLS is
// refused.
func Serve(ctx context.Context, ln net.Listener, plain http.Handler, cert *tls.Certificate, secure http.Handler, log *slog.Logger) error {
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}} // HTTP/2 has no upgrades
	if cert != nil {
		config.Certificates = []tls.Certificate{*cert}
		config.ClientAuth = tls.RequestClientCert // Guard verifies it: who has a bad one may have a good token
	}
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.TLS != nil {
				secure.ServeHTTP(w, r)
				return
			}
			plain.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what strangers do wrong is not our error
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(newSniffer(ln, config)); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	}
	return nil
}

// sniffer is a listener that tells TLS from plain HTTP by the first byte of a connection.
type sniffer struct {
	net.Listener
	config *tls.Config
	ready  chan net.Conn
	slots  chan struct{} // as many as there are connections
	done   chan struct{}
	once   sync.Once
	failed chan error // of Accept
}

func newSniffer(ln net.Listener, config *tls.Config) *sniffer {
	s := &sniffer{Listener: ln, config: config, ready: make(chan net.Conn), slots: make(chan struct{}, maxConnections),
		done: make(chan struct{}), failed: make(chan error)}
	go s.accept()
	return s
}

// Accept returns the next connection that has said something.
func (s *sniffer) Accept() (net.Conn, error) {
	select {
	case c := <-s.ready:
		return c, nil
	case err := <-s.failed:
		return nil, err
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Close ends the listener.
func (s *sniffer) Close() error {
	s.once.Do(func() { close(s.done) })
	return s.Listener.Close()
}

func (s *sniffer) accept() {
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			select {
			case s.failed <- err: // the server knows which errors pass
				continue
			case <-s.done:
				return
			}
		}
		select {
		case s.slots <- struct{}{}:
			go s.sniff(&counted{Conn: conn, slots: s.slots})
		default:
			_ = conn.Close() // it was never used
		}
	}
}

// recordHandshake begins every TLS connection.
const recordHandshake = 0x16

func (s *sniffer) sniff(conn *counted) {
	in := bufio.NewReaderSize(conn, 16)
	_ = conn.SetReadDeadline(time.Now().Add(headerTimeout)) // fails as the read that follows does
	first, err := in.Peek(1)
	if err != nil {
		_ = conn.Close()
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	head, _ := in.Peek(in.Buffered())
	var c net.Conn = &replayed{counted: conn, head: head}
	if first[0] == recordHandshake {
		c = tls.Server(c, s.config)
	}
	select {
	case s.ready <- c:
	case <-s.done:
		_ = conn.Close()
	}
}

// counted is a connection that gives its slot back.
type counted struct {
	net.Conn
	slots <-chan struct{}
	once  sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.Conn.Close()
}

// replayed is a connection whose first bytes were read already.
type replayed struct {
	*counted
	head []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	return r.counted.Read(p)
}
