//go:build linux || darwin

package process

import (
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"kwokctl/runtimes"
)

// handler is the supervisor's HTTP interface; wire.go describes it.
func (s *supervisor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, statusReply{Supervisor: s.id, Components: s.board.statuses()})
	})
	mux.HandleFunc("POST /start", s.serveStart)
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, r *http.Request) {
		var req stopRequest
		if !request(w, r, &req) {
			return
		}
		killed, exiting := s.stop(req.Names, req.Kill)
		reply(w, http.StatusOK, stopReply{Killed: killed, Exiting: exiting})
	})
	return mux
}

func request(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<20)).Decode(into); err != nil {
		reply(w, http.StatusBadRequest, errorReply{Error: "read request: " + err.Error()})
		return false
	}
	return true
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone needs no answer
}

func (s *supervisor) serveStart(w http.ResponseWriter, r *http.Request) {
	var req startRequest
	if !request(w, r, &req) {
		return
	}
	f, err := s.start(r.Context(), req.Specs)
	if err != nil {
		reply(w, http.StatusConflict, errorReply{Error: err.Error(), Exiting: errors.Is(err, errExiting)})
		return
	}
	defer s.board.unsubscribe(f)
	var (
		out     = json.NewEncoder(w)
		flush   = http.NewResponseController(w)
		started = watcher{dir: s.dir, seen: map[string]bool{}, up: map[string]bool{}, died: map[string]bool{}}
		steady  <-chan time.Time // when all have been ready for long enough; nil: they are when they are ready
	)
	w.Header().Set("Content-Type", "application/jsonl")
	for {
		events, ready := s.board.take(f)
		for _, status := range events {
			if out.Encode(startEvent{Status: &status}) != nil {
				return
			}
			if last := started.judge(status); last != nil {
				_ = out.Encode(last)
				return
			}
			if started.died[status.Name] {
				steady = time.After(s.periods.Steady)
			}
		}
		if ready && steady == nil {
			_ = out.Encode(startEvent{Done: true})
			return
		}
		if flush.Flush() != nil {
			return
		}
		select {
		case <-f.wake:
		case <-steady:
			steady = nil
		case <-r.Context().Done():
			return
		}
	}
}

// watcher decides whether one start request has failed.
type watcher struct {
	dir  string
	seen map[string]bool // the first status of a component is how the request found it, and is no failure
	up   map[string]bool // those that were ready once; when they exit, they are restarted and waited for, once
	died map[string]bool // those that did
}

func (s *watcher) judge(now runtimes.Status) *startEvent {
	name := now.Name
	first := !s.seen[name]
	s.seen[name] = true
	switch now.State {
	case runtimes.Ready, runtimes.NotReady:
		s.up[name] = true
	case runtimes.Stopped:
		return &startEvent{Error: "start " + name + ": it was stopped meanwhile"}
	case runtimes.Exited, runtimes.CrashLoop:
		if first || s.up[name] && !s.died[name] {
			s.died[name] = !first
			return nil
		}
		log := logPath(s.dir, name)
		if abs, err := filepath.Abs(log); err == nil {
			log = abs
		}
		return &startEvent{Exit: &runtimes.ExitError{Component: name, Reason: now.Reason, Tail: now.Tail, Log: log}}
	}
	return nil
}
