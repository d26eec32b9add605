package snapshot

import (
	"testing"
)

func TestPatch(t *testing.T) {
	kinds := someKinds()
	if err := kinds.define(mustJSON(t, definitionOfWidgets)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		kind, old, now string
		ok             bool
	}{
		"field":        {"pods", `{"spec":{"nodeName":"a"}}`, `{"spec":{"nodeName":"b"}}`, true},
		"removed":      {"pods", `{"metadata":{"labels":{"a":"1","b":"2"}}}`, `{"metadata":{"labels":{"b":"2"}}}`, true},
		"list by name": {"pods", `{"spec":{"containers":[{"name":"a"},{"name":"b","image":"x"}]}}`, `{"spec":{"containers":[{"name":"b","image":"y"},{"name":"c"}]}}`, true},
		"order":        {"pods", `{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}`, `{"spec":{"containers":[{"name":"b"},{"name":"a"}]}}`, true},
		"finalizers":   {"pods", `{"metadata":{"finalizers":["a","b"]}}`, `{"metadata":{"finalizers":["b"]}}`, true},
		"numbers":      {"pods", `{"spec":{"priority":1}}`, `{"spec":{"priority":9007199254740993}}`, true},
		"same key":     {"services", `{"spec":{"ports":[{"port":53,"protocol":"TCP"}]}}`, `{"spec":{"ports":[{"port":53,"protocol":"TCP"},{"port":53,"protocol":"UDP"}]}}`, false},
		"custom":       {"widgets.acme.io", `{"spec":{"size":1,"list":[1,2],"gone":{}}}`, `{"spec":{"size":2,"list":[2],"new":{"a":[]}}}`, true},
		"custom null":  {"widgets.acme.io", `{"spec":{"size":1}}`, `{"spec":{"size":null}}`, false}, // a merge patch has no null
	} {
		patch, ok, err := difference(kindNamed(kinds, tt.kind), []byte(tt.old), []byte(tt.now))
		if err != nil || ok != tt.ok {
			t.Errorf("%s: %s, %v, %v", name, patch, ok, err)
		}
	}
}

func TestCompare(t *testing.T) {
	for _, tt := range []struct{ want, is, says string }{
		{`{"a":1}`, `{"a":1,"b":2}`, ""},
		{`{"a":{"b":[1,{"c":"x"}]}}`, `{"a":{"b":[1,{"c":"x","d":1}]}}`, ""},
		{`{"a":{"b":[1,2]}}`, `{"a":{"b":[1]}}`, "a.b: has 1 items, not 2"},
		{`{"a":[{"b":"x"}]}`, `{"a":[{"b":"y"}]}`, `a[0].b: is "y", not "x"`},
		{`{"a":"2026-01-02T03:04:05.5Z"}`, `{"a":"2026-01-02T03:04:05Z"}`, ""},
		{`{"a":"2026-01-02T03:04:05Z"}`, `{"a":"2026-01-02T03:05:05Z"}`, `a: is "2026-01-02T03:05:05Z", not "2026-01-02T03:04:05Z"`},
		{`{"a":{},"b":null,"c":"","d":false}`, `{}`, ""},
		{`{"a":{"b":1}}`, `{}`, "a: is missing"},
	} {
		if got := compare("", parseObject(t, tt.want), parseObject(t, tt.is)); got != tt.says {
			t.Errorf("%s, %s: got %q, want %q", tt.want, tt.is, got, tt.says)
		}
	}
}
