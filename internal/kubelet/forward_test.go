package kubelet

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
)

func TestAttach(t *testing.T) {
	t.Parallel()
	n := serve(t, "{kind: Attach, metadata: {name: p}, spec: {attaches: [{logsFile: DIR/log}]}}")
	log := filepath.Join(n.dir, "log")
	write(t, log, "2026-01-01T00:00:00Z stdout F before\n")
	read, out := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- n.stream(ctx, t, true, "/attach/default/p/c", url.Values{}, remotecommand.StreamOptions{Stdout: out, Stderr: io.Discard})
	}()
	stop := make(chan struct{})
	go func() { // when the client listens cannot be seen from here
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				write(t, log, fmt.Sprintf("2026-01-01T00:00:00Z stderr F not this\n2026-01-01T00:00:01Z stdout F after %d\n", i))
			}
		}
	}()
	line := make([]byte, 6)
	if _, err := io.ReadFull(read, line); err != nil || string(line) != "after " {
		t.Errorf("%q, %v", line, err)
	}
	close(stop)
	go func() { _, _ = io.Copy(io.Discard, read) }()
	cancel()
	<-done
}

func TestPortForward(t *testing.T) {
	t.Parallel()
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "from the target: ")
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	port := echo.Addr().(*net.TCPAddr).Port
	n := serve(t, fmt.Sprintf(`
kind: ClusterPortForward
metadata: {name: f}
spec:
  forwards:
  - {ports: [80], target: {address: 127.0.0.1, port: %d}}
  - {ports: [81], command: [tr, a-z, A-Z]}
`, port))
	round, upgrader, err := spdy.RoundTripperFor(n.as(apiServer))
	if err != nil {
		t.Fatal(err)
	}
	dial := spdy.NewDialer(upgrader, &http.Client{Transport: round}, http.MethodPost, &url.URL{Scheme: "https", Host: n.addr, Path: "/portForward/default/p"})
	stop, ready := make(chan struct{}), make(chan struct{})
	f, err := portforward.NewOnAddresses(dial, []string{"127.0.0.1"}, []string{"0:80", "0:81"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	ports, err := f.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"from the target: hello", "HELLO"} {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[i].Local))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "hello")
		_ = conn.(*net.TCPConn).CloseWrite()
		got, _ := io.ReadAll(conn)
		if string(got) != want {
			t.Errorf("port %d: %q, want %q", ports[i].Remote, got, want)
		}
		_ = conn.Close()
	}
	close(stop)
	<-done
	err = (&forwarder{target{namespace: "default", pod: "p"}, n.rules}).PortForward(t.Context(), "", "", 82, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "port 82: no PortForward or ClusterPortForward is for pod default/p") {
		t.Errorf("a port without a rule: %v", err)
	}
}
