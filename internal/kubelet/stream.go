package kubelet

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

const (
	streamIdle     = time.Hour        // a connection without a byte for so long is given up
	streamCreation = 30 * time.Second // for a client to open what it has announced
)

// exec answers kubectl exec.
func (s *Server) exec(w http.ResponseWriter, r *http.Request) {
	at := place(r)
	rule := s.Rules.current().execs.Find(at.namespace, at.pod, at.container)
	if rule == nil || rule.Local == nil {
		http.Error(w, at.nothing("Exec"), http.StatusNotFound)
		return
	}
	o, err := remotecommand.NewOptions(r)
	command := r.Form["command"]
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	case len(command) == 0:
		http.Error(w, "command: missing", http.StatusBadRequest)
		return
	}
	w, r, end := untilGone(w, r)
	defer end()
	s.Log.Info("run", "object", at.String(), "command", command)
	remotecommand.ServeExec(w, r, &local{*rule.Local, s.Log}, at.pod, r.PathValue("uid"), at.container, command, o,
		streamIdle, streamCreation, remotecommand.SupportedStreamingProtocols)
}

// attach answers kubectl attach.
func (s *Server) attach(w http.ResponseWriter, r *http.Request) {
	at := place(r)
	rule := s.Rules.current().attaches.Find(at.namespace, at.pod, at.container)
	if rule == nil || rule.LogsFile == "" {
		http.Error(w, at.nothing("Attach"), http.StatusNotFound)
		return
	}
	if err := checkLog(rule.LogsFile); err != nil {
		http.Error(w, "attach to "+at.String()+": "+err.Error(), http.StatusBadRequest)
		return
	}
	o, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w, r, end := untilGone(w, r)
	defer end()
	remotecommand.ServeAttach(w, r, listener(rule.LogsFile), at.pod, r.PathValue("uid"), at.container, o,
		streamIdle, streamCreation, remotecommand.SupportedStreamingProtocols)
}

// portForward answers kubectl port-forward.
func (s *Server) portForward(w http.ResponseWriter, r *http.Request) {
	o, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w, r, end := untilGone(w, r)
	defer end()
	at := place(r)
	portforward.ServePortForward(w, r, &forwarder{at, s.Rules}, at.pod, r.PathValue("uid"), o,
		streamIdle, streamCreation, portforward.SupportedProtocols)
}

// untilGone makes the context of a request end when its client goes, also after the connection was taken over for
// streams, of which net/http knows nothing any more.
func untilGone(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	return &watchedWriter{w, cancel}, r.WithContext(ctx), cancel
}

type watchedWriter struct {
	http.ResponseWriter
	gone context.CancelFunc
}

// Hijack takes the connection over. Whoever does so reads from it all the time, or closes it when he reads that all
// is over.
func (w *watchedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	bare, buffers, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	head, _ := buffers.Peek(buffers.Reader.Buffered())
	conn := &watchedConn{bare, w.gone}
	in := bufio.NewReader(io.MultiReader(bytes.NewReader(bytes.Clone(head)), conn))
	return conn, bufio.NewReadWriter(in, bufio.NewWriter(conn)), nil
}

// watchedConn tells when its other side has gone.
type watchedConn struct {
	net.Conn
	gone context.CancelFunc
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.gone()
	}
	return n, err
}

// Close is for good.
func (c *watchedConn) Close() error {
	c.gone()
	return c.Conn.Close()
}
