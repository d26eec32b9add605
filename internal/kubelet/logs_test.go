package kubelet

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

const criLog = `2026-01-01T00:00:00.5Z stdout F one
2026-01-01T00:00:01Z stderr P tw
2026-01-01T00:00:01Z stderr F o
2026-01-01T00:00:02+00:00 stdout F
2026-01-01T00:00:03Z stdout F four
`

const dockerLog = `{"log":"one\n","stream":"stdout","time":"2026-01-01T00:00:00.5Z"}
{"log":"two\n","stream":"stderr","time":"2026-01-01T00:00:01Z"}
`

func TestLogs(t *testing.T) {
	t.Parallel()
	n := serve(t, `
kind: ClusterLogs
metadata: {name: l}
spec:
  logs:
  - {containers: [cri], logsFile: DIR/cri, previousLogsFile: DIR/docker}
  - {containers: [docker], logsFile: DIR/docker}
  - {containers: [text], logsFile: DIR/text}
  - {containers: [empty], logsFile: DIR/empty}
  - {containers: [absent], logsFile: DIR/absent}
  - {containers: [dir], logsFile: DIR}
  - {containers: [link], logsFile: DIR/link}
`)
	for name, text := range map[string]string{"cri": criLog, "docker": dockerLog, "text": "hello\nworld\n", "empty": ""} {
		write(t, filepath.Join(n.dir, name), text)
	}
	if err := os.Symlink("cri", filepath.Join(n.dir, "link")); err != nil {
		t.Fatal(err)
	}
	const ok, bad = http.StatusOK, http.StatusBadRequest
	for _, c := range []struct {
		query string
		code  int
		want  string
	}{
		{"cri", ok, "one\ntwo\n\nfour\n"},
		{"link", ok, "one\ntwo\n\nfour\n"},
		{"docker", ok, "one\ntwo\n"},
		{"empty", ok, ""},
		{"cri?previous=true", ok, "one\ntwo\n"},
		{"docker?previous=true", bad, "logs of container docker of pod default/p: its rule has no previousLogsFile\n"},
		{"cri?tailLines=2", ok, "\nfour\n"},
		{"cri?tailLines=0", ok, ""},
		{"cri?tailLines=99", ok, "one\ntwo\n\nfour\n"},
		{"cri?tail=all", ok, "one\ntwo\n\nfour\n"},
		{"cri?tail=1", ok, "four\n"},
		{"cri?limitBytes=5", ok, "one\nt"},
		{"cri?sinceTime=2026-01-01T00:00:02Z", ok, "\nfour\n"},
		{"cri?sinceSeconds=1", ok, ""},
		{"docker?timestamps=true", ok, "2026-01-01T00:00:00.500000000Z one\n2026-01-01T00:00:01.000000000Z two\n"},
		{"cri?timestamps=true&tailLines=4&limitBytes=36", ok, "2026-01-01T00:00:01.000000000Z two\n2"},
		{"cri?tailLines=-1", bad, "tailLines \"-1\": want a number, 0 or more\n"},
		{"cri?limitBytes=0", bad, "limitBytes \"0\": want a number, 1 or more\n"},
		{"cri?sinceSeconds=x", bad, "sinceSeconds \"x\": want a number, 1 or more\n"},
		{"cri?sinceTime=now", bad, "sinceTime \"now\": want a time such as 2006-01-02T15:04:05Z\n"},
		{"cri?follow=maybe", bad, "follow \"maybe\": want true or false\n"},
		{"text", bad, "logs of container text of pod default/p: " + n.dir + "/text: want lines of the CRI (<time> stdout|stderr F|P <text>) or of Docker (JSON with log, stream and time), not \"hello\"\n"},
		{"absent", bad, "logs of container absent of pod default/p: open " + n.dir + "/absent: no such file or directory\n"},
		{"dir", bad, "logs of container dir of pod default/p: " + n.dir + " is no regular file\n"},
		{"unknown", bad, "no Logs or ClusterLogs is for container unknown of pod default/p, which is simulated; see docs/controller.md\n"},
	} {
		if code, got := n.get(t, n.as(apiServer), "/containerLogs/default/p/"+c.query); code != c.code || got != c.want {
			t.Errorf("%s: %d %q, want %d %q", c.query, code, got, c.code, c.want)
		}
	}
}

// TestLogsFollow goes on through what is appended, through the file being emptied, and through its rotation.
func TestLogsFollow(t *testing.T) {
	t.Parallel()
	n := serve(t, "{kind: Logs, metadata: {name: p}, spec: {logs: [{logsFile: DIR/log}]}}")
	log := filepath.Join(n.dir, "log")
	line := func(s string) string { return "2026-01-01T00:00:00Z stdout F " + s + "\n" }
	write(t, log, line("old")+line("last"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	client, err := rest.HTTPClientFor(n.as(apiServer))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+n.addr+"/containerLogs/default/p/c?follow=true&tailLines=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	next := func(want string) {
		t.Helper()
		if !in.Scan() || in.Text() != want {
			t.Fatalf("%q, %v; want %q", in.Text(), in.Err(), want)
		}
	}
	next("last")
	write(t, log, line("appended"))
	next("appended")
	write(t, log, strings.TrimSuffix(line("in two parts"), "parts\n"))
	write(t, log, "parts\n")
	next("in two parts")
	if err := os.Truncate(log, 0); err != nil {
		t.Fatal(err)
	}
	write(t, log, line("emptied"))
	next("emptied")
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, log+".1", line("into the old one"))
	next("into the old one")
	write(t, log, line("rotated"))
	next("rotated")
}
