//go:build linux || darwin

package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"kwokctl/runtimes"
)

// errExiting means that the supervisor is about to end and takes no new work.
var errExiting = errors.New("the supervisor is ending")

// supervisor is the set of components of one cluster.
type supervisor struct {
	dir     string
	self    string // this binary
	id      identity
	log     *slog.Logger
	periods Periods
	fork    forker
	board   *board
	quit    chan struct{} // closed: nothing is left to do

	mu         sync.Mutex
	components map[string]*component
	exiting    bool
}

func newSupervisor(dir, self string, id identity, log *slog.Logger, periods Periods) *supervisor {
	return &supervisor{
		dir: dir, self: self, id: id, log: log, periods: periods, fork: newForker(), board: newBoard(),
		quit: make(chan struct{}), components: map[string]*component{},
	}
}

// start takes specs on and returns a feed of their changes. Components that are up stay as they are; one that is
// between two restarts is tried again at once.
func (s *supervisor) start(ctx context.Context, specs []runtimes.Spec) (*feed, error) {
	for ctx.Err() == nil { // else nobody waits for it any more
		leaving, f, err := s.tryStart(specs)
		if leaving == nil {
			return f, err
		}
		select {
		case <-leaving.done: // it ends for another request; then it may come back
			s.forget(leaving)
		case <-ctx.Done():
		}
	}
	return nil, ctx.Err()
}

func (s *supervisor) tryStart(specs []runtimes.Spec) (leaving *component, f *feed, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.exiting {
		return nil, nil, errExiting
	}
	if err := s.validate(specs); err != nil {
		return nil, nil, err
	}
	var names []string
	for _, spec := range specs {
		if c := s.components[spec.Name]; c != nil && c.leaving {
			return c, nil, nil
		}
		names = append(names, spec.Name)
	}
	var begin []*component
	for _, spec := range specs {
		spec.Dir = s.dir
		if c := s.components[spec.Name]; c != nil {
			if state := s.board.state(spec.Name); state == runtimes.Exited || state == runtimes.CrashLoop {
				poke(c.retry)
			}
			continue
		}
		c := newComponent(spec, s.self, s.fork, s.periods, s.board, s.log)
		s.components[spec.Name] = c
		s.board.set(spec.Name, func(e *entry) { e.status.State = runtimes.Waiting })
		begin = append(begin, c)
	}
	f = s.board.subscribe(names) // before the first of them can end
	for _, c := range begin {
		go c.run()
	}
	return nil, f, nil
}

// validate refuses specs that could leave the cluster directory or would wait for ever. s.mu is held.
func (s *supervisor) validate(specs []runtimes.Spec) error {
	needs := map[string][]string{}
	for name, c := range s.components {
		needs[name] = c.spec.Needs
	}
	for _, spec := range specs {
		if spec.Name == "" || spec.Name[0] == '.' || spec.Name != filepath.Base(spec.Name) {
			return fmt.Errorf("start %q: not the name of a component", spec.Name)
		}
		needs[spec.Name] = spec.Needs
	}
	for _, spec := range specs {
		if err := checkNeeds(spec.Name, needs, nil); err != nil {
			return err
		}
	}
	return nil
}

// checkNeeds follows the needs of name; path is how it came here.
func checkNeeds(name string, needs map[string][]string, path []string) error {
	if slices.Contains(path, name) {
		return fmt.Errorf("start %s: it needs itself: %s", name, strings.Join(append(path, name), " needs "))
	}
	for _, need := range needs[name] {
		if _, ok := needs[need]; !ok {
			return fmt.Errorf("start %s: it needs %q, which is no component of this cluster", name, need)
		}
		if err := checkNeeds(need, needs, append(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the named components, each when all that need it are gone, and returns those that had to be killed.
// When nothing is left it lets the supervisor end.
func (s *supervisor) stop(names []string, kill bool) (killed []string, exiting bool) {
	s.mu.Lock()
	going := map[string]*component{}
	for _, name := range names {
		if c := s.components[name]; c != nil {
			c.leaving = true // from now on, though it still waits for those that need it
			going[name] = c
		}
	}
	s.mu.Unlock()
	var all sync.WaitGroup
	for _, c := range going {
		all.Go(func() {
			if !kill {
				for _, other := range going {
					if slices.Contains(other.spec.Needs, c.spec.Name) {
						<-other.done
					}
				}
			}
			c.finish(kill)
			<-c.done
			s.log.Info("component stopped", "component", c.spec.Name)
		})
	}
	all.Wait()
	for name, c := range going {
		if c.forced {
			killed = append(killed, name)
		}
		s.forget(c)
	}
	slices.Sort(killed)
	return killed, s.exitIfIdle()
}

// stopAll ends everything, whatever is still to come.
func (s *supervisor) stopAll() []string {
	s.mu.Lock()
	s.exiting = true
	var names []string
	for name := range s.components {
		names = append(names, name)
	}
	s.mu.Unlock()
	killed, _ := s.stop(names, false)
	return killed
}

// forget removes a component that has ended.
func (s *supervisor) forget(c *component) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.components[c.spec.Name] == c {
		delete(s.components, c.spec.Name)
		s.board.remove(c.spec.Name)
	}
}

// exitIfIdle decides that the supervisor ends when it has nothing to do; from then on nothing can be started.
func (s *supervisor) exitIfIdle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.components) > 0 {
		return false
	}
	s.exiting = true
	select {
	case <-s.quit:
	default:
		close(s.quit)
	}
	return true
}
