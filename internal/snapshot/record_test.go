package snapshot

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCutAnywhere cuts a recording of ours at a third of its bytes: what is left is played, and nothing that was not recorded.
func TestCutAnywhere(t *testing.T) {
	kinds := someKinds()
	whole := recorded(t, kinds)
	start := time.Now()
	var states []string // after each entry
	s, err := newScript(context.Background(), input(t, whole), kinds, start, func(line int, err error) error { return err })
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(kinds, start)
	states = append(states, w.print())
	if err := s.each(func(e *entry) error {
		_, _, err := w.apply(e)
		states = append(states, w.print())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if s.cut != nil || len(states) < 8 {
		t.Fatalf("cut %v, %d states", s.cut, len(states))
	}
	if _, _, err := played(t, input(t, whole), kinds, start, nil); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for n := 1; n < len(whole); n += 1 + n%5 {
		w, s, err := played(t, input(t, whole[:n]), kinds, start, nil)
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if s.cut == nil && n > strings.IndexByte(whole, '\n') && !strings.HasSuffix(strings.TrimSpace(whole[:n]), "objects: 8") {
			t.Errorf("cut at %d is not noticed: %q", n, whole[max(0, n-80):n])
		}
		i := slices.Index(states[lines:], w.print())
		if i < 0 {
			t.Fatalf("cut at %d: the state is none that was recorded, or an older one:\n%s", n, w.print())
		}
		lines += i
	}
}

func (w *world) print() string {
	var b strings.Builder
	keys := []string{}
	for key, k := range w.kept {
		if k.text != nil {
			keys = append(keys, key+" "+string(k.text))
		}
	}
	slices.Sort(keys)
	b.WriteString(strings.Join(keys, "\n"))
	return b.String()
}

// recorded is what a recorder writes of some changes.
func recorded(t testing.TB, kinds *Kinds) string {
	t.Helper()
	var b bytes.Buffer
	start := time.Now().Add(-time.Minute)
	r := &recorder{Record: Record{Warn: func(string) {}, Progress: func(int, int, int64) {}}, kinds: kinds, out: &Output{Writer: &b}, w: NewWriter(&b), start: start,
		last: map[string]map[string][]byte{}, watched: map[string]bool{}}
	r.w.Begin(start, "and recording of a test")
	pod := func(change string) map[string]any {
		return parseObject(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"lab","uid":"u","creationTimestamp":"2026-01-02T03:04:05Z"},`+change+`}`)
	}
	node := parseObject(t, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n","uid":"v","creationTimestamp":"2026-01-02T03:04:05Z"}}`)
	if err := r.remember(kindNamed(kinds, "nodes"), "/n", node); err != nil {
		t.Fatal(err)
	}
	node, err := relative(kindNamed(kinds, "nodes"), node, start)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.w.Write(node); err != nil {
		t.Fatal(err)
	}
	for i, e := range []event{
		{object: pod(`"spec":{"containers":[{"name":"c","image":"i"}]}`)},
		{object: pod(`"spec":{"containers":[{"name":"c","image":"i"}],"nodeName":"n"}`)},
		{object: pod(`"spec":{"containers":[{"name":"c","image":"i"}],"nodeName":"n"},"status":{"phase":"Running","startTime":"2026-01-02T03:04:06Z"}`)},
		{object: pod(`"spec":{"containers":[{"name":"c","image":"i"}],"nodeName":"n"},"status":{"phase":"Running","startTime":"2026-01-02T03:04:06Z"}`)}, // no news
		{object: pod(`"spec":{"containers":[{"name":"c","image":"j"}],"nodeName":"n"},"status":{"phase":"Running"}`)},
		{object: nil},
		{object: pod(`"spec":{"containers":[{"name":"c","image":"i"}]}`)},
		{all: map[string]bool{}},
		{object: nil}, // it is gone already
	} {
		e.kind, e.name, e.at = kindNamed(kinds, "pods"), "lab/p", start.Add(time.Duration(i)*time.Second)
		if err := r.write(e); err != nil {
			t.Fatal(err)
		}
		if i == 3 || i == 8 { // as there is no news
			continue
		}
		if err := r.flush(); err != nil {
			t.Fatal(err)
		}
	}
	r.w.End()
	if err := r.w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestRecorded holds the form of what is written against upstream's.
func TestRecorded(t *testing.T) {
	text := recorded(t, someKinds())
	for _, want := range []string{
		"---\napiVersion: v1\nkind: Node\nmetadata:\n  creationTimestamp: \"$(time-offset-nanosecond -",
		"---\napiVersion: action.kwok.x-k8s.io/v1alpha1\ndurationNanosecond: 1000000000\nkind: ResourcePatch\nmethod: patch\nresource:\n  resource: pods\n  version: v1\ntarget:\n  name: p\n  namespace: lab\ntemplate:\n  spec:\n    nodeName: \"n\"\n",
		"---\napiVersion: action.kwok.x-k8s.io/v1alpha1\ndurationNanosecond: 5000000000\nkind: ResourcePatch\nmethod: delete\nresource:\n  resource: pods\n  version: v1\ntarget:\n  name: p\n  namespace: lab\n# whole up to here\n---\n",
		"---\n# kwokctl snapshot ends, objects: 8\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "2026-01-02") {
		t.Errorf("it has absolute times:\n%s", text)
	}
}
