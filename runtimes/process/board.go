//go:build linux || darwin

package process

import (
	"sync"
	"time"

	"kwokctl/runtimes"
)

// board holds what is known of all components. Everybody who waits for a change of it is told; nobody polls.
type board struct {
	mu      sync.Mutex
	entries map[string]*entry
	changed chan struct{} // closed and replaced at each change
	feeds   map[*feed]bool
	dirty   chan struct{} // tells the saver that there is something new
}

// entry is one component on the board.
type entry struct {
	status  runtimes.Status
	process identity // none when it does not run
	at      time.Time
}

// feed is every change of some components, in order. It has no limit, so that a slow reader misses nothing.
type feed struct {
	names  map[string]bool
	events []runtimes.Status
	wake   chan struct{}
}

func newBoard() *board {
	return &board{
		entries: map[string]*entry{}, changed: make(chan struct{}), feeds: map[*feed]bool{}, dirty: make(chan struct{}, 1),
	}
}

// set changes one component and tells everybody.
func (b *board) set(name string, change func(*entry)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[name]
	if e == nil {
		e = &entry{status: runtimes.Status{Name: name, State: runtimes.Stopped}}
		b.entries[name] = e
	}
	before := e.status.State
	change(e)
	if e.status.State != before || e.at.IsZero() {
		e.at = time.Now()
	}
	for f := range b.feeds {
		if f.names[name] {
			f.events = append(f.events, e.status)
			poke(f.wake)
		}
	}
	close(b.changed)
	b.changed = make(chan struct{})
	poke(b.dirty)
}

// remark notes why a component is not ready yet, which is no change of its state.
func (b *board) remark(name, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[name]; e != nil {
		e.status.Reason = reason
	}
}

// remove forgets a component.
func (b *board) remove(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.entries, name)
	poke(b.dirty)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// ready tells whether all of names are ready, and gives the channel that is closed at the next change.
func (b *board) ready(names []string) (bool, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.allReady(names), b.changed
}

// running is like ready, but for components that have been let through their gates.
func (b *board) running(names []string) (bool, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		if e := b.entries[name]; e == nil || (e.status.State != runtimes.Starting && e.status.State != runtimes.Ready) {
			return false, b.changed
		}
	}
	return true, b.changed
}

func (b *board) allReady(names []string) bool {
	for _, name := range names {
		if e := b.entries[name]; e == nil || e.status.State != runtimes.Ready {
			return false
		}
	}
	return true
}

func (b *board) state(name string) runtimes.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.entries[name]; e != nil {
		return e.status.State
	}
	return runtimes.Stopped
}

// statuses lists all components in no order.
func (b *board) statuses() []runtimes.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]runtimes.Status, 0, len(b.entries))
	for _, e := range b.entries {
		list = append(list, e.status)
	}
	return list
}

// subscribe starts a feed of names with their present state.
func (b *board) subscribe(names []string) *feed {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := &feed{names: map[string]bool{}, wake: make(chan struct{}, 1)}
	for _, name := range names {
		f.names[name] = true
		if e := b.entries[name]; e != nil {
			f.events = append(f.events, e.status)
		}
	}
	b.feeds[f] = true
	poke(f.wake)
	return f
}

func (b *board) unsubscribe(f *feed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.feeds, f)
}

// take gives the events since the last call, and whether all of the feed's components are ready after them.
func (b *board) take(f *feed) (events []runtimes.Status, ready bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	events, f.events = f.events, nil
	ready = true
	for name := range f.names {
		ready = ready && b.allReady([]string{name})
	}
	return events, ready
}

// save gives what belongs into the state file.
func (b *board) save(supervisor identity) state {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := state{Supervisor: supervisor, Components: map[string]savedState{}}
	for name, e := range b.entries {
		s.Components[name] = savedState{
			Process: e.process, State: e.status.State, Restarts: e.status.Restarts,
			ExitCode: e.status.ExitCode, Reason: e.status.Reason, Changed: e.at,
		}
	}
	return s
}
