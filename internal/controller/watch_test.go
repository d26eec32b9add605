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

	"kwokctl/internal/kube"
)

// script is a server whose watches say one text after the other.
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

func line(typ, object string) string { return fmt.Sprintf(`{"type":%q,"object":%s}`+"\n", typ, object) }

// A watch that ends is resumed; one whose version is too old begins anew, with all there is.
func TestReaderResumes(t *testing.T) {
	const end = `{"metadata":{"resourceVersion":"10","annotations":{"k8s.io/initial-events-end":"true"}}}`
	ctx, cancel := context.WithCancel(t.Context())
	s := &script{cancel: cancel, streams: []string{
		line("ADDED", widget(1, 3, "")) + line("ADDED", widget(2, 4, "")) + line("BOOKMARK", end) + line("MODIFIED", widget(1, 12, "")),
		line("BOOKMARK", `{"metadata":{"resourceVersion":"20"}}`) + line("ERROR", `{"kind":"Status","code":410,"reason":"Expired","message":"too old"}`),
		line("ADDED", widget(1, 12, "")) + line("BOOKMARK", strings.Replace(end, `"10"`, `"30"`, 1)),
		"", // expired while nobody watched
		line("ADDED", widget(1, 12, "")) + line("BOOKMARK", strings.Replace(end, `"10"`, `"40"`, 1)) + line("DELETED", widget(1, 41, "")),
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
	want := []string{"begin", "w1@3", "w2@4", "end", "w1@12", "begin", "w1@12", "end", "begin", "w1@12", "end", "w1@41 gone"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	var versions []string
	for _, q := range s.opened {
		versions = append(versions, q.Get("resourceVersion")+q.Get("sendInitialEvents"))
	}
	if want := []string{"true", "12", "true", "30", "true", "41"}; !slices.Equal(versions, want) {
		t.Errorf("asked for %q, want %q", versions, want)
	}
}

// A new epoch that does not show an object is its deletion: what waits for it is forgotten.
// silent is a server whose watches tell of one object, and then nothing until they end after some time.
type silent struct {
	fake
	lasts time.Duration
}

func (s *silent) Open(ctx context.Context, path, _ string) (io.ReadCloser, reply) {
	text := ""
	if strings.Contains(path, "sendInitialEvents") {
		text = line("ADDED", widget(1, 3, "")) + line("BOOKMARK", `{"metadata":{"resourceVersion":"10","annotations":{"k8s.io/initial-events-end":"true"}}}`)
	}
	in, out := io.Pipe()
	go func() {
		_, _ = io.WriteString(out, text)
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
