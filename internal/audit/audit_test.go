package audit

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kwokctl/kustomize"
)

func TestCheckPolicy(t *testing.T) {
	const head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
	for text, want := range map[string]string{
		string(kustomize.AuditPolicy()):          "",
		head + "rules: [{level: Metadata}]":      "",
		"":                                       "empty",
		" \n":                                    "empty",
		"{":                                      "line 1",
		"kind: [":                                "line 1",
		head:                                     "0 rules",
		head + "rules: [{level: Loud}]":          `"Loud"`,
		head + "rules: [{levels: None}]":         "levels",
		head + "rules: [{level: None}]\nrule: 1": "rule",
		head + "rules: [{level: None, level: Metadata}]": "already",
		head + "rules: 1": "rules",
		head + "omitStages: [Sleeping]\nrules: [{level: None}]":                  "Sleeping",
		head + "rules: [{level: None, nonResourceURLs: [\"/a*b\"]}]":             "/a*b",
		"apiVersion: audit.k8s.io/v1beta1\nkind: Policy\nrules: [{level: None}]": "v1beta1",
		"apiVersion: v1\nkind: ConfigMap":                                        "ConfigMap",
		"a: &a [x,x]\nb: &b [*a,*a]\n" + strings.Repeat("c: [*b,*b,*b,*b]\n", 2): "already",
		"\x7fELF\x01": "control characters",
	} {
		err := CheckPolicy([]byte(text))
		switch {
		case want == "" && err != nil:
			t.Errorf("%.60q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%.60q: got %v, want %q", text, err, want)
		case err != nil && strings.Contains(err.Error(), "\n"):
			t.Errorf("%.60q: more than one line: %v", text, err)
		}
	}
}

func TestReadPolicy(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(path, kustomize.AuditPolicy(), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := ReadPolicy(path); err != nil || !bytes.Equal(text, kustomize.AuditPolicy()) {
		t.Errorf("%v, %q", err, text)
	}
	if _, err := ReadPolicy(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
	if err := os.Truncate(path, maxPolicy+1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPolicy(path); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("a large file: %v", err)
	}
}

// line is an event as the API server writes it.
func line(id, stage, user, verb, resource string, code int, received time.Time, took time.Duration) string {
	const form = "2006-01-02T15:04:05.000000Z07:00"
	return fmt.Sprintf(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":%q,"stage":%q,"requestURI":"/api/v1/x?y=z",`+
		`"verb":%q,"user":{"username":%q},"objectRef":{"resource":%q,"namespace":"default","name":"n"},"responseStatus":{"metadata":{},"code":%d},`+
		`"requestReceivedTimestamp":%q,"stageTimestamp":%q}`+"\n", id, stage, verb, user, resource, code, received.UTC().Format(form), received.Add(took).UTC().Format(form))
}

func TestSummary(t *testing.T) {
	t0 := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var log strings.Builder
	for i := range 20 {
		log.WriteString(line(fmt.Sprint("a", i), "ResponseComplete", "ann", "get", "pods", 200, t0.Add(time.Duration(i)*time.Second), time.Duration(i)*time.Millisecond))
	}
	log.WriteString(line("b", "ResponseComplete", "bob", "create", "nodes", 409, t0, time.Second))
	log.WriteString("not JSON\n{}\n")
	log.WriteString(line("w", "ResponseStarted", "bob", "watch", "pods", 200, t0, time.Millisecond))
	log.WriteString(line("w", "ResponseComplete", "bob", "watch", "pods", 200, t0, time.Hour))
	log.WriteString(line("v", "ResponseComplete", "bob", "watch", "pods", 200, t0, 2*time.Second)) // its start is not in the log
	log.WriteString(line("r", "RequestReceived", "bob", "get", "pods", 0, t0, 0))
	cut := line("c", "ResponseComplete", "bob", "get", "pods", 200, t0, 0)
	log.WriteString(cut[:50] + line("d", "Panic", "bob", "get", "pods", 500, t0, 0)) // a killed server, then the next one
	log.WriteString(cut[:70])

	var c Counter
	bad, err := Events(strings.NewReader(log.String()), time.Time{}, c.Add)
	if err != nil || bad != 4 {
		t.Errorf("%d bad lines, %v", bad, err)
	}
	s := c.Summary(bad)
	if s.Requests != 24 || s.Failed != 2 || !s.From.Equal(t0) || !s.To.Equal(t0.Add(19*time.Second)) || s.Unreadable != 4 {
		t.Errorf("%+v", s)
	}
	for what, tt := range map[string]struct{ got, want any }{
		"users":     {s.Users, []Count{{"ann", 20}, {"bob", 4}}},
		"verbs":     {s.Verbs, []Count{{"get", 21}, {"watch", 2}, {"create", 1}}},
		"resources": {s.Resources, []Count{{"pods", 23}, {"nodes", 1}}},
		"codes":     {s.Codes, []Count{{"200", 22}, {"409", 1}, {"500", 1}}},
		"busiest":   {s.Busiest, []Pair{{"ann", "get", "pods", 20}, {"bob", "watch", "pods", 2}, {"bob", "create", "nodes", 1}, {"bob", "get", "pods", 1}}},
	} {
		if fmt.Sprint(tt.got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: got %v, want %v", what, tt.got, tt.want)
		}
	}
	if len(s.Slowest) != 10 || s.Slowest[0].User != "bob" || s.Slowest[0].Took != 2*time.Second || s.Slowest[1].Took != time.Second || s.Slowest[9].Took != 12*time.Millisecond {
		t.Errorf("slowest: %+v", s.Slowest)
	}
}

func TestResource(t *testing.T) {
	for _, tt := range []struct {
		e    Event
		want string
	}{
		{Event{Object: Object{Resource: "pods"}}, "pods"},
		{Event{Object: Object{Resource: "pods", Subresource: "status"}}, "pods/status"},
		{Event{Object: Object{Resource: "deployments", Group: "apps", Subresource: "scale"}}, "deployments.apps/scale"},
		{Event{URI: "/version?timeout=32s"}, "/version"},
		{Event{URI: "/openapi/v3/apis/apps/v1"}, "/openapi/v3"},
		{Event{URI: "/"}, "/"},
		{Event{}, "/"},
	} {
		if got := tt.e.Resource(); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.e, got, tt.want)
		}
	}
}

// TestFiles reads a log that was rotated, in its order.
func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[b]") // a pattern for some
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := Log{Path: filepath.Join(dir, "audit.log")}
	t0 := time.Now().Add(-time.Hour).Truncate(time.Second)
	for i, name := range []string{"audit-2026-01-02T10-00-00.000.log", "audit-2026-01-02T11-00-00.000.log", "audit.log", "auditor.log", "audit-x.txt"} {
		at := t0.Add(time.Duration(i) * time.Minute)
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(line(fmt.Sprint(i), "ResponseComplete", "u", "get", "pods", 200, at, 0)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	for since, want := range map[time.Time]string{{}: "012", t0.Add(30 * time.Second): "12", t0.Add(time.Minute): "12", time.Now(): ""} {
		got := ""
		if _, err := l.Events(context.Background(), since, false, func(e *Event) { got += e.ID }); err != nil || got != want {
			t.Errorf("since %s: got %s, %v; want %s", since, got, err, want)
		}
	}
	var all bytes.Buffer
	if err := l.Copy(context.Background(), &all, time.Time{}, false); err != nil || strings.Count(all.String(), "\n") != 3 {
		t.Errorf("%v: %s", err, all.String())
	}
}

// TestFollow writes and rotates while somebody reads; nothing is lost or doubled.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	l := Log{Path: filepath.Join(dir, "audit.log")}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	const files, lines = 6, 50
	seen := make(chan string, files*lines)
	done := make(chan error, 1)
	go func() {
		_, err := l.Events(ctx, time.Time{}, true, func(e *Event) { seen <- e.ID })
		done <- err
	}()
	for i := range files {
		if i > 0 {
			if err := os.Rename(l.Path, filepath.Join(dir, fmt.Sprintf("audit-2026-01-02T10-00-0%d.000.log", i))); err != nil {
				t.Fatal(err)
			}
		}
		f, err := os.Create(l.Path)
		if err != nil {
			t.Fatal(err)
		}
		for j := range lines {
			if _, err := f.WriteString(line(fmt.Sprint(i*lines+j), "ResponseComplete", "u", "get", "pods", 200, time.Now(), 0)); err != nil {
				t.Fatal(err)
			}
		}
		f.Close()
	}
	for i := range files * lines {
		select {
		case id := <-seen:
			if id != fmt.Sprint(i) {
				t.Fatalf("got event %s, want %d", id, i)
			}
		case <-ctx.Done():
			t.Fatalf("event %d does not come", i)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestEvents reads what may be given for a log.
func TestEvents(t *testing.T) {
	event := line("a", "ResponseComplete", "u", "get", "pods", 200, time.Now(), 0)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(event)) // a buffer takes all
	_ = z.Close()
	for _, tt := range []struct {
		name, text  string
		events, bad int
		err         string
	}{
		{"plain", event, 1, 0, ""},
		{"compressed", zipped.String(), 1, 0, ""},
		{"cut", zipped.String()[:zipped.Len()/2], 0, 1, "unexpected EOF"},
		{"empty", "", 0, 0, ""},
		{"a line that is none", "x\n" + event, 1, 1, ""},
		{"something else", "apiVersion: v1\nkind: Pod\n", 0, 2, "none of its 2 lines is an event"},
	} {
		events := 0
		bad, err := Events(strings.NewReader(tt.text), time.Time{}, func(*Event) { events++ })
		if events != tt.events || bad != tt.bad || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %d events, %d bad, %v", tt.name, events, bad, err)
		}
	}
	late := time.Now().Add(time.Hour)
	if _, err := Events(strings.NewReader(event), late, nil); err != nil {
		t.Errorf("a log without events of late: %v", err)
	}
}

// FuzzEvents holds that no log can do harm.
func FuzzEvents(f *testing.F) {
	f.Add([]byte(line("a", "ResponseComplete", "u", "get", "pods", 200, time.Now(), 0)))
	f.Add([]byte("{\"kind\":\"Event\"{\"kind\":\"Event\"\n\n{}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var c Counter
		bad, err := Events(bytes.NewReader(text), time.Time{}, c.Add)
		if err != nil {
			return
		}
		if s := c.Summary(bad); s.Requests > bytes.Count(text, []byte("\n"))+1 {
			t.Errorf("%d requests", s.Requests)
		}
	})
}
