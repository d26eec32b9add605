package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSaveWhileWritten saves objects of two kinds while somebody writes first one and then the other: of one moment,
// the first is never behind the second, and at most one ahead.
func TestSaveWhileWritten(t *testing.T) { inProcessesAndContainers(t, testSaveWhileWritten) }

func testSaveWhileWritten(t *testing.T, w *world) {
	w.create("busy")
	client, base := w.visitor("busy", "ca", "admin"), w.server("busy")+"/api/v1/namespaces/default/"
	put := func(method, path, kind string, n int) {
		body := fmt.Sprintf(`{"kind":%q,"apiVersion":"v1","metadata":{"name":"pair"},"type":"Opaque","data":{"n":"MDAw","count":"%04d"}}`, kind, n)
		if kind == "ConfigMap" {
			body = strings.Replace(body, `"type":"Opaque",`, "", 1)
		}
		if code, text, err := call(client, method, base+path, body); err != nil || code >= 300 {
			t.Errorf("%s %s: %d %v %.200s", method, path, code, err, text)
		}
	}
	put(http.MethodPost, "secrets", "Secret", 0) // secrets are listed before configmaps
	put(http.MethodPost, "configmaps", "ConfigMap", 0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
				put(http.MethodPut, "secrets/pair", "Secret", n)
				put(http.MethodPut, "configmaps/pair", "ConfigMap", n)
			}
		}
	}()
	count := regexp.MustCompile(`count: "?([0-9]{4})"?`)
	last := ""
	for i := range 5 {
		path := filepath.Join(w.home, fmt.Sprintf("s%d.yaml", i))
		w.ok("snapshot", "save", "--name", "busy", "--format", "k8s", "--path", path, "-n", "default")
		found := count.FindAllStringSubmatch(read(path), -1)
		if len(found) != 2 {
			t.Fatalf("counts in the file: %q", found)
		}
		var first, second int
		fmt.Sscan(strings.TrimLeft(found[0][1], "0")+" 0", &first)
		fmt.Sscan(strings.TrimLeft(found[1][1], "0")+" 0", &second)
		if first != second && first != second+1 {
			t.Errorf("not of one moment: %d and %d", first, second)
		}
		last += fmt.Sprint(" ", first, "/", second)
	}
	close(stop)
	<-stopped
	t.Logf("counts:%s", last)
}

// TestSaveKilled kills saves: the file is there whole or not at all, and readable by nobody else.
func TestSaveKilled(t *testing.T) { inProcessesAndContainers(t, testSaveKilled) }

func testSaveKilled(t *testing.T, w *world) {
	w.create("hasty")
	big := filepath.Join(w.home, "big.txt")
	var b strings.Builder
	for b.Len() < 900_000 {
		fmt.Fprintf(&b, "%d: some \"text\"\t# of a line\n", b.Len())
	}
	write(t, big, b.String())
	for i := range 20 {
		w.kubectl("hasty", "create", "configmap", fmt.Sprintf("big%d", i), "--from-file="+big)
	}
	whole := filepath.Join(w.home, "whole.yaml")
	took := map[string]time.Duration{}
	for _, format := range []string{"etcd", "k8s"} {
		r := w.run("snapshot", "save", "--name", "hasty", "--format", format, "--path", filepath.Join(w.home, format))
		if r.code != 0 {
			t.Fatal(r.stderr)
		}
		took[format] = r.took
	}
	for i := range 10 {
		format := []string{"etcd", "k8s"}[i%2]
		path := filepath.Join(w.home, fmt.Sprint("s", i))
		r := w.begin(w.command(t.Context(), "snapshot", "save", "--name", "hasty", "--format", format, "--path", path))
		time.Sleep(time.Duration(rand.Int64N(int64(took[format]))))
		_ = r.cmd.Process.Signal(syscall.SIGKILL)
		r.wait()
		if info, err := os.Stat(path); err == nil {
			if info.Mode() != 0o600 {
				t.Errorf("mode %s", info.Mode())
			}
			if format == "k8s" && !strings.Contains(read(path), "# kwokctl snapshot ends") {
				t.Errorf("a save that was killed has left a part of a file of %d bytes", info.Size())
			}
		}
	}
	// Large objects come back as they were.
	w.ok("snapshot", "save", "--name", "hasty", "--format", "k8s", "--path", whole, "--filter", "cm", "-n", "default")
	before := w.kubectl("hasty", "get", "configmap", "big7", "-o", "jsonpath={.data}")
	w.kubectl("hasty", "delete", "configmaps", "--all")
	w.ok("snapshot", "restore", "--name", "hasty", "--path", whole)
	if after := w.kubectl("hasty", "get", "configmap", "big7", "-o", "jsonpath={.data}"); after != before {
		t.Errorf("a large object differs: %d bytes, %d before", len(after), len(before))
	}
}
