package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"kwokctl/runtimes"
)

// TestTransfer holds what the bar says of work of which objects, bytes, or the whole are known, or nothing yet.
func TestTransfer(t *testing.T) {
	for _, tt := range []struct {
		objects, bytes, ofObjects, ofBytes int64
		want                               string
	}{
		{0, 0, 0, 0, " save "},
		{3, 0, 0, 0, " save 3 objects "},
		{3, 1 << 20, 0, 0, " save 3 objects 1.0 MiB "},
		{1, 1 << 20, 2, 2 << 20, " save ███████████████░░░░░░░░░░░░░░░ 1/2 objects 1.0 MiB of 2.0 MiB "},
		{0, 2 << 20, 0, 2 << 20, " save ██████████████████████████████ 2.0 MiB of 2.0 MiB "},
	} {
		var out bytes.Buffer
		b := &bar{what: "save", progress: progress{out: &out, live: true, began: time.Now().Add(-time.Hour)}}
		b.transfer(tt.objects, tt.bytes, tt.ofObjects, tt.ofBytes)
		if got := strings.TrimPrefix(out.String(), "\r\x1b[2K"); !strings.HasPrefix(got, tt.want) || !strings.HasSuffix(got, "00s") {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

// TestRemind holds that a start which takes long says whom it waits for, and nobody else.
func TestRemind(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&Env{Err: &out, Getenv: func(string) string { return "" }}, "Creating")
	defer p.end()
	p.observe(runtimes.Status{Name: "etcd", State: runtimes.Ready})
	p.observe(runtimes.Status{Name: "kube-scheduler", State: runtimes.Starting})
	p.mu.Lock()
	defer p.mu.Unlock()
	out.Reset()
	p.since["kube-scheduler"] = time.Now().Add(-30 * time.Second)
	p.remind()
	if got, want := out.String(), "  kube-scheduler starting, 30 s so far\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
