package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// status is a line that says how far work is, redrawn in place on a terminal, and lines that stay.
type status struct {
	out   io.Writer
	live  bool
	text  func() string // of the line; "" for none
	mu    sync.Mutex    // of out
	stop  chan struct{}
	once  sync.Once
	ended sync.WaitGroup
}

// newStatus shows what text returns, ten times a second, until end.
func (e *Env) newStatus(text func() string) *status {
	s := &status{out: e.say(), text: text, stop: make(chan struct{})}
	s.live, _ = liveTerminal(e)
	if s.live {
		s.ended.Go(s.animate)
	}
	return s
}

func (s *status) animate() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			s.mu.Lock()
			fmt.Fprintf(s.out, "\r\x1b[2K%s", s.text())
			s.mu.Unlock()
		}
	}
}

// say prints a line that stays.
func (s *status) say(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live { // the terminal may be in a mode in which a new line does not begin at its left end
		line = "\r\x1b[2K" + line + "\r"
	}
	fmt.Fprintln(s.out, line)
}

// end removes the line. It may be called again.
func (s *status) end() {
	s.once.Do(func() {
		close(s.stop)
		s.ended.Wait()
		if s.live {
			fmt.Fprint(s.out, "\r\x1b[2K")
		}
	})
}
