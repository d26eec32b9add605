package controller

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kwokctl/internal/kube"
)

// script is a server that says one text after the other.
type script struct {
	fake
	streams []string
	opened  []url.Values
	cancel  context.CancelFunc
}

func (s *script) Open(_ context.Context, path, _ string) (io.ReadCloser, reply) {
	u, err := url.Parse(path)
	if err != nil {
		return nil, reply{err: err}
	}
	s.opened = append(s.opened, u.Query())
	if len(s.streams) == 0 {
		s.cancel()
		return nil, reply{code: http.StatusServiceUnavailable}
	}
	text := s.streams[0]
	s.streams = s.streams[1:]
	if text == "" {
		return nil, reply{code: http.StatusGone}
	}
	return io.NopCloser(strings.NewReader(text)), reply{code: http.StatusOK}
}

func page(version, next string, items ...string) string {
	return fmt.Sprintf(`{"apiVersion":"example.com/v1","items":[%s],"kind":"WidgetList","metadata":{"resourceVersion":%q,"continue":%q}}`,
		strings.Join(items, ","), version, next)
}

func line(typ, object string) string { return fmt.Sprintf(`{"type":%q,"object":%s}`+"\n", typ, object) }

// A watch that ends is resumed; one whose version is too old begins anew, with all there is.
func TestReaderResumes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &script{cancel: cancel, streams: []string{
		page("10", "more", widget(1, 3, "")),
		page("10", "", widget(2, 4, "")),
		line("MODIFIED", widget(1, 12, "")),
		line("BOOKMARK", `{"metadata":{"resourceVersion":"20"}}`) + line("ERROR", `{"kind":"Status","code":410,"reason":"Expired","message":"too old"}`),
		page("30", "", widget(1, 12, "")),
		"", // expired while nobody watched
		page("40", "more", widget(1, 12, "")),
		"", // expired between two pages
		page("50", "more", widget(1, 12, "")),
		page("50", ""), // what was to come is gone: the epoch ends none the less
		line("DELETED", widget(1, 51, "")),
	}}
	out := make(chan batch, 100)
	(&reader{kind: firstOther, name: "Widget", where: &kube.Resource{}, path: "/apis/example.com/v1/widgets", do: s, out: out,
		log: slog.New(slog.DiscardHandler)}).run(ctx)
	close(out)
	var got []string
	for b := range out {
		if b.begin {
			got = append(got, "begin")
		}
		for _, e := range b.events {
			got = append(got, fmt.Sprint(e.obj.Meta().Name, "@", e.obj.Meta().Version, map[bool]string{true: " gone"}[e.gone]))
		}
		if b.end {
			got = append(got, "end")
		}
	}
	want := []string{"begin", "w1@3", "w2@4", "end", "w1@12", "begin", "w1@12", "end", "begin", "w1@12", "begin", "w1@12", "end", "w1@51 gone"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	var asked []string
	for _, q := range s.opened {
		asked = append(asked, q.Get("watch")+q.Get("resourceVersion")+q.Get("limit")+q.Get("continue"))
	}
	if want := []string{"1000", "1000more", "true10", "true12", "1000", "true30", "1000", "1000more", "1000", "1000more", "true50", "true51"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}

// A new epoch that does not show an object is its deletion: what waits for it is forgotten.
// silent is a server whose watches tell of one object, and then nothing until they end after some time.
type silent struct {
	fake
	lasts time.Duration
}

func (s *silent) Open(ctx context.Context, path, _ string) (io.ReadCloser, reply) {
	if !strings.Contains(path, "watch=true") {
		return io.NopCloser(strings.NewReader(page("10", "", widget(1, 3, "")))), reply{code: http.StatusOK}
	}
	in, out := io.Pipe()
	go func() {
		wait(ctx, s.lasts)
		_ = out.Close()
	}()
	return in, reply{code: http.StatusOK}
}

// Now and then everything is looked at again, however often watches end in between.
func TestResync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Minute)
		defer cancel()
		out := make(chan batch, 100)
		began := time.Now()
		go func() {
			(&reader{kind: firstOther, name: "Widget", where: &kube.Resource{}, path: "/widgets", do: &silent{lasts: 7 * time.Minute}, out: out,
				log: slog.New(slog.DiscardHandler)}).run(ctx)
			close(out)
		}()
		var epochs []time.Duration
		for b := range out {
			if b.begin {
				epochs = append(epochs, time.Since(began).Round(time.Minute))
			}
		}
		if want := []time.Duration{0, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute}; !slices.Equal(epochs, want) {
			t.Errorf("epochs at %v, want %v", epochs, want)
		}
	})
}

func TestEpochOfAnyKind(t *testing.T) {
	b := newBenchWith(t, 0, nil, fmt.Sprintf(widgetStage, "a", 60_000))
	b.launchAll()
	where := &b.mustFind("Widget").where
	b.take(batch{kind: firstOther, begin: true, where: where})
	b.feed(firstOther, widget(1, 5, ""), widget(2, 6, ""))
	b.take(batch{kind: firstOther, end: true})
	b.pass(30 * time.Second)
	b.take(batch{kind: firstOther, begin: true, where: where})
	b.feed(firstOther, widget(2, 6, ""))
	b.take(batch{kind: firstOther, end: true})
	b.pass(31 * time.Second)
	if b.f.count("PATCH /apis/example.com/v1/namespaces/d/widgets/w1/") != 0 || b.f.count("PATCH /apis/example.com/v1/namespaces/d/widgets/w2/") != 1 {
		t.Fatalf("got %v", b.f.requests)
	}
}

// TestPageProtobuf reads a page of pods, and refuses one that was cut anywhere.
func TestPageProtobuf(t *testing.T) {
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "7", Continue: "more"}}
	for i := range 3 {
		list.Items = append(list.Items, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p", i), ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "x"}}}})
	}
	page, err := seal("v1", "PodList", list)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{kind: pods}
	events, next, err := r.page(page)
	if err != nil || next != "more" || r.version != "" || len(events) != 3 || events[2].obj.Meta().Name != "p2" {
		t.Fatalf("got %d pods, next %q, version %q, %v", len(events), next, r.version, err)
	}
	for n := range len(page) - 4 { // which are two empty fields behind the list
		if events, _, err := (&reader{kind: pods}).page(page[:n]); err == nil {
			t.Errorf("cut after %d of %d bytes: no error, %d pods", n, len(page), len(events))
		}
	}
	list.Continue = ""
	if page, err = seal("v1", "PodList", list); err != nil {
		t.Fatal(err)
	}
	if _, next, err = r.page(page); err != nil || next != "" || r.version != "7" {
		t.Errorf("the last page: next %q, version %q, %v", next, r.version, err)
	}
}
