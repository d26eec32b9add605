package kubelet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"kwokctl/internal/files"
)

// logOptions say what of a log is wanted.
type logOptions struct {
	tail       int64 // the last so many lines; -1: all
	limit      int64 // at most so many bytes; -1: any number
	since      time.Time
	follow     bool
	previous   bool
	timestamps bool
}

// parseLogOptions reads the query of the API server.
func parseLogOptions(q url.Values, now time.Time) (o logOptions, err error) {
	o = logOptions{tail: -1, limit: -1}
	if q.Has("tail") && !q.Has("tailLines") {
		q.Set("tailLines", q.Get("tail"))
	}
	if q.Get("tailLines") == "all" {
		q.Del("tailLines")
	}
	var seconds int64
	for name, field := range map[string]struct {
		to    *int64
		least int64
	}{"tailLines": {&o.tail, 0}, "limitBytes": {&o.limit, 1}, "sinceSeconds": {&seconds, 1}} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < field.least {
			return o, fmt.Errorf("%s %q: want a number, %d or more", name, text, field.least)
		}
		*field.to = n
	}
	for name, to := range map[string]*bool{"follow": &o.follow, "previous": &o.previous, "timestamps": &o.timestamps} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		if *to, err = strconv.ParseBool(text); err != nil {
			return o, fmt.Errorf("%s %q: want true or false", name, text)
		}
	}
	if text := q.Get("sinceTime"); text != "" {
		if o.since, err = time.Parse(time.RFC3339, text); err != nil {
			return o, fmt.Errorf("sinceTime %q: want a time such as 2006-01-02T15:04:05Z", text)
		}
	}
	if seconds > 0 {
		o.since = now.Add(-time.Duration(seconds) * time.Second)
	}
	return o, nil
}

// containerLogs answers kubectl logs.
func (s *Server) containerLogs(w http.ResponseWriter, r *http.Request) {
	at := place(r)
	o, err := parseLogOptions(r.URL.Query(), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rule := s.Rules.current().logs.Find(at.namespace, at.pod, at.container)
	if rule == nil {
		http.Error(w, at.nothing("Logs"), http.StatusBadRequest) // of what is not found kubectl does not show the reason
		return
	}
	name, field := rule.LogsFile, "logsFile"
	if o.previous {
		name, field = rule.PreviousLogsFile, "previousLogsFile"
	}
	if name == "" {
		http.Error(w, fmt.Sprintf("logs of %s: its rule has no %s", at, field), http.StatusBadRequest)
		return
	}
	if err := checkLog(name); err != nil {
		http.Error(w, fmt.Sprintf("logs of %s: %v", at, err), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	control := http.NewResponseController(w)
	flush := func() { _ = control.Flush() } // a client that is gone ends the request's context
	flush()
	if err := copyLog(r.Context(), name, o, w, flush); err != nil {
		s.Log.Warn("log was cut", "object", at.String(), "err", err)
	}
}

// checkLog tells why a file cannot be shown as a log.
func checkLog(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", name)
	}
	head := make([]byte, 32<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read %s: %w", name, err)
	}
	line, _, ended := bytes.Cut(head[:n], []byte("\n"))
	if !ended {
		return nil // empty, or its first line is still being written
	}
	if _, err := parseLine(line); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// copyLog copies a log to w, as far as it is wanted.
func copyLog(ctx context.Context, name string, o logOptions, w io.Writer, flush func()) error {
	left, begun := o.limit, false
	l := &lines{emit: func(e entry) error {
		if e.at.Before(o.since) {
			return nil
		}
		text := e.text
		if o.timestamps && !begun {
			text = append([]byte(e.at.Format(stampFormat)+" "), text...)
		}
		begun = e.partial
		if left >= 0 && int64(len(text)) >= left {
			_, err := w.Write(text[:left])
			return errors.Join(err, errEnough)
		}
		if left >= 0 {
			left -= int64(len(text))
		}
		_, err := w.Write(text)
		return err
	}}
	if o.follow {
		l.flush = flush
	}
	err := files.Follow(ctx, name, func(f *os.File) error { return seekTail(f, o.tail) }, l, o.follow)
	if err == nil && !o.follow {
		err = l.end()
	}
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		return nil
	}
	return err
}

// stampFormat is RFC 3339 with all nanoseconds, so that lines align.
const stampFormat = "2006-01-02T15:04:05.000000000Z07:00"

// seekTail goes to where the last n lines begin; all for a negative n.
func seekTail(f *os.File, n int64) error {
	if n < 0 {
		return nil
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return err
	}
	block := make([]byte, 64<<10)
	for at := end; at > 0; {
		size := min(at, int64(len(block)))
		at -= size
		if _, err := f.ReadAt(block[:size], at); err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		for i := size - 1; i >= 0; i-- {
			if block[i] != '\n' || at+i == end-1 {
				continue
			}
			if n--; n == 0 {
				_, err := f.Seek(at+i+1, io.SeekStart)
				return err
			}
		}
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}
