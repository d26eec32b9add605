//go:build unix

package snapshot

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Skip(err)
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(bytes.Repeat([]byte("metadata: {name: a}\n---\n"), 10))
	w.Close()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		dir:                               "it is a directory",
		fifo:                              "it is a pipe",
		"/dev/null":                       "it is a device",
		filepath.Join(dir, "none"):        "no such file",
		write("empty", ""):                "it is empty",
		write("head.gz", "\x1f\x8b\x00x"): "decompress",
	} {
		if _, err := Open(path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	in, err := Open(write("cut.gz", z.String()[:z.Len()/2]), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := readAll(NewReader(in, in.Name)); !errors.Is(err, ErrCut) {
		t.Errorf("a compressed file that is cut: %v", err)
	}
}
