package kubelet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const execRules = `
kind: ClusterExec
metadata: {name: e}
spec:
  execs:
  - local: {workDir: DIR, envs: [{name: PATH, value: /bin:/usr/bin}, {name: MARK, value: here}]}
  - {containers: [none]}
`

// stream runs a command, or attaches, by SPDY or by websocket as kubectl does.
func (n *nodes) stream(ctx context.Context, t *testing.T, websocket bool, path string, query url.Values, o remotecommand.StreamOptions) error {
	t.Helper()
	for name, on := range map[string]bool{"input": o.Stdin != nil, "output": o.Stdout != nil, "error": o.Stderr != nil, "tty": o.Tty} {
		if on {
			query.Set(name, "1")
		}
	}
	u := &url.URL{Scheme: "https", Host: n.addr, Path: path, RawQuery: query.Encode()}
	var run remotecommand.Executor
	var err error
	if websocket {
		run, err = remotecommand.NewWebSocketExecutorForProtocols(n.as(apiServer), http.MethodGet, u.String(), "v4.channel.k8s.io")
	} else {
		run, err = remotecommand.NewSPDYExecutor(n.as(apiServer), http.MethodPost, u)
	}
	if err != nil {
		t.Fatal(err)
	}
	return run.StreamWithContext(ctx, o)
}

func TestExec(t *testing.T) {
	t.Setenv("SECRET", "of ours")
	n := serve(t, execRules)
	for _, websocket := range []bool{false, true} {
		for _, c := range []struct {
			command   string
			in        string
			tty       bool
			code      int
			out, errs string
		}{
			{command: "env | sort", out: "MARK=here\nPATH=/bin:/usr/bin\nPWD=" + n.dir + "\n"},
			{command: "echo to stderr >&2; exit 7", code: 7, errs: "to stderr\n"},
			{command: "cat; echo end", in: "input\n", out: "input\nend\n"},
			{command: "kill -9 $$", code: 137},
			{command: "test -t 0 && echo terminal", tty: true, out: "terminal\r\n"},
		} {
			if websocket && c.in != "" {
				continue // version 4 of that protocol cannot say that the input has ended
			}
			var out, errs bytes.Buffer
			o := remotecommand.StreamOptions{Stdout: &out, Tty: c.tty}
			if !c.tty {
				o.Stderr = &errs
			}
			if c.in != "" {
				o.Stdin = strings.NewReader(c.in)
			}
			err := n.stream(t.Context(), t, websocket, "/exec/default/p/c", url.Values{"command": {"sh", "-c", c.command}}, o)
			code := 0
			var ended utilexec.ExitError
			if errors.As(err, &ended) {
				code, err = ended.ExitStatus(), nil
			}
			if got := strings.ReplaceAll(out.String(), "_=/usr/bin/env\n", ""); err != nil || code != c.code || got != c.out || errs.String() != c.errs {
				t.Errorf("%q (websocket %v): %v, code %d, %q, %q", c.command, websocket, err, code, got, errs.String())
			}
		}
	}
	err := n.stream(t.Context(), t, false, "/exec/default/p/c", url.Values{"command": {"no-such-program"}}, remotecommand.StreamOptions{Stdout: io.Discard})
	if err == nil || !strings.Contains(err.Error(), `"no-such-program": executable file not found`) {
		t.Errorf("no such program: %v", err)
	}
	err = n.stream(t.Context(), t, false, "/exec/default/p/none", url.Values{"command": {"env"}}, remotecommand.StreamOptions{Stdout: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "no Exec or ClusterExec is for container none of pod default/p") {
		t.Errorf("no rule: %v", err)
	}
}

// TestExecResize changes the size of a terminal.
func TestExecResize(t *testing.T) {
	t.Parallel()
	n := serve(t, execRules)
	size := make(sizes, 1)
	size <- remotecommand.TerminalSize{Width: 123, Height: 45}
	defer close(size)
	var out bytes.Buffer
	err := n.stream(t.Context(), t, false, "/exec/default/p/c", url.Values{"command": {"sh", "-c", `until stty size | grep 123; do sleep 0.01; done`}},
		remotecommand.StreamOptions{Stdin: strings.NewReader(""), Stdout: &out, Tty: true, TerminalSizeQueue: size})
	if err != nil || !strings.Contains(out.String(), "45 123") {
		t.Errorf("%v: %q", err, out.String())
	}
}

type sizes chan remotecommand.TerminalSize

func (s sizes) Next() *remotecommand.TerminalSize {
	size, ok := <-s
	if !ok {
		return nil
	}
	return &size
}

// TestExecKilled ends the client: the command goes, and what it has started in the background too. Both hold a FIFO
// open, which ends when neither is there any more.
func TestExecKilled(t *testing.T) {
	t.Parallel()
	n := serve(t, execRules)
	for _, tty := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		fifo := filepath.Join(t.TempDir(), "fifo")
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			done <- n.stream(ctx, t, false, "/exec/default/p/c", url.Values{"command": {"sh", "-c", "exec 9>" + fifo + "; sleep 100 & echo up >&9; wait"}},
				remotecommand.StreamOptions{Stdout: io.Discard, Tty: tty})
		}()
		alive, err := os.Open(fifo)
		if err != nil {
			t.Fatal(err)
		}
		defer alive.Close()
		if _, err := io.ReadFull(alive, make([]byte, len("up\n"))); err != nil {
			t.Fatal(err)
		}
		cancel()
		<-done
		if err := alive.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, alive); err != nil {
			t.Errorf("tty %v: a process is alive: %v", tty, err)
		}
	}
}
