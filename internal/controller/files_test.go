package controller

import (
	"bufio"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const fileStage = `{apiVersion: kwok.x-k8s.io/v1alpha1, kind: Stage, metadata: {name: NAME}, spec: {resourceRef: {kind: Pod}, selector: {}, steps: [{delete: true}]}}
---
`

func TestFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	write := func(names ...string) {
		text := ""
		for _, n := range names {
			text += strings.ReplaceAll(fileStage, "NAME", n)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	t.Setenv("KWOK_WORKDIR", t.TempDir())
	f, err := parse([]string{"--manage-all-nodes", "-c", dir}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	cfg, err := f.load(log)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, 0)
	complaints, said := io.Pipe()
	b.log = slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelError}))
	b.cat.fixed = cfg.stages
	b.restage()
	go b.readFiles(t.Context(), cfg)
	next := func() string {
		select {
		case got := <-b.batches:
			b.take(got)
			b.pass(time.Second)
		case <-time.After(10 * time.Second):
			t.Fatal("the change is not seen")
		}
		var names []string
		for _, s := range b.kinds[pods].stages {
			names = append(names, s.Metadata.Name)
		}
		return strings.Join(names, " ")
	}
	one := b.kinds[pods].stages[0]
	lines := bufio.NewReader(complaints)
	write("one", "two", "one") // the first of a name counts
	line, err := lines.ReadString('\n')
	if err != nil || !strings.Contains(line, "a.yaml:1 already") {
		t.Errorf("the log says %q, %v", line, err)
	}
	if got := next(); got != "one two" || b.kinds[pods].stages[0] != one {
		t.Errorf("played after the change: %s", got)
	}
	write("one: {") // cannot be read: nothing changes, and the next that can is taken
	line, err = lines.ReadString('\n')
	if err != nil || !strings.Contains(line, "a.yaml:1") {
		t.Errorf("the log says %q, %v", line, err)
	}
	write("three")
	if got := next(); got != "three" {
		t.Errorf("played after the repair: %s", got)
	}
	write()
	if got := next(); !strings.Contains(got, "pod-ready") {
		t.Errorf("played without Stages in files: %s", got)
	}
}
