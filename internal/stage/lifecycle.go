package stage

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"time"

	"kwokctl/internal/api"
	"kwokctl/internal/expr"
)

// Lifecycle is all stages of one kind, compiled. It is used by one goroutine.
type Lifecycle struct {
	stages []*compiled
	now    string // what the templates' Now returns in this rendering
	like   any    // what CEL expressions see, see likeOf
	env    *expr.CELEnv
	hash   maphash.Hash
	found  []candidate
}

// keySeed makes keys of different lifecycles comparable: a stage that did not change keeps its objects waiting.
var keySeed = maphash.MakeSeed()

type compiled struct {
	name             string
	id               uint64 // of its name and its whole text
	aside            bool   // taken out after it was compiled
	spec             *api.StageSpec
	match            *matcher
	weight           *source
	duration, jitter *source
	steps            []step
	immediate        bool
}

type candidate struct {
	stage  int
	weight int64
	set    bool
}

// Move is a stage chosen for an object.
type Move struct {
	Stage     string
	Index     int           // of the stage in the lifecycle
	After     time.Duration // until it plays, ≤ 0 for now
	Immediate bool          // look at the result of the write at once
	Key       uint64        // equal for equal choices: same candidates, weights and delays. Never 0.
	life      *Lifecycle
}

// StageError is a failure of one stage, on one object or at all.
type StageError struct {
	Stage string
	File  string // when known
	Err   error
}

func (e *StageError) Error() string {
	if e.File != "" {
		return fmt.Sprintf("%s: stage %s: %v", e.File, e.Stage, e.Err)
	}
	return fmt.Sprintf("stage %s: %v", e.Stage, e.Err)
}

// Unwrap returns the cause.
func (e *StageError) Unwrap() error { return e.Err }

// Compile compiles the stages of one kind. A stage that does not compile is left out and reported; the others go
// on. f are the functions of templates; Now is added unless f has it.
func Compile(stages []*api.Stage, f expr.Funcs) (*Lifecycle, []error) {
	l := &Lifecycle{}
	if len(stages) > 0 {
		l.like = likeOf(stages[0].Spec.ResourceRef)
	}
	l.hash.SetSeed(keySeed)
	if _, ok := f["Now"]; !ok {
		f = f.With(expr.Funcs{"Now": func() string { return l.now }})
	}
	var bad []error
	for _, s := range stages {
		if s.Spec.Selector == nil {
			continue // matches nothing
		}
		c, err := l.compile(s, f)
		if err != nil {
			bad = append(bad, &StageError{Stage: s.Metadata.Name, File: s.File, Err: err})
			continue
		}
		l.stages = append(l.stages, c)
	}
	return l, bad
}

// Empty reports whether the lifecycle has no stages.
func (l *Lifecycle) Empty() bool { return l == nil || len(l.stages) == 0 }

// cel returns the environment of the kind's CEL expressions, made at the first need: it is large.
func (l *Lifecycle) cel() (*expr.CELEnv, error) {
	if l.env == nil {
		env, err := expr.NewCELEnv(l.like)
		if err != nil {
			return nil, err
		}
		l.env = env
	}
	return l.env, nil
}

func (l *Lifecycle) compile(s *api.Stage, f expr.Funcs) (*compiled, error) {
	c := &compiled{name: s.Metadata.Name, spec: &s.Spec, immediate: s.Spec.ImmediateNextStage != nil && *s.Spec.ImmediateNextStage}
	text, err := json.Marshal(s.Spec)
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	c.id = maphash.Bytes(keySeed, append([]byte(c.name+"\n"), text...))
	if c.match, err = newMatcher(s.Spec.Selector, l.cel); err != nil {
		return nil, err
	}
	if bad := negative(&s.Spec); len(bad) > 0 {
		return nil, bad[0]
	}
	if c.weight, err = newSource(s.Spec.WeightFrom, l.cel); err != nil {
		return nil, fmt.Errorf("spec.weightFrom: %w", err)
	}
	if d := s.Spec.Delay; d != nil {
		if c.duration, err = newSource(d.DurationFrom, l.cel); err != nil {
			return nil, fmt.Errorf("spec.delay.durationFrom: %w", err)
		}
		if c.jitter, err = newSource(d.JitterDurationFrom, l.cel); err != nil {
			return nil, fmt.Errorf("spec.delay.jitterDurationFrom: %w", err)
		}
	}
	for i := range s.Spec.Steps {
		st, err := newStep(&s.Spec.Steps[i], f)
		if err != nil {
			return nil, fmt.Errorf("spec.steps[%d].%w", i, err)
		}
		c.steps = append(c.steps, st)
	}
	return c, nil
}

// Next returns the move o is due to make, or nil if it is at rest. Equal chances are drawn from r, so a seeded r
// repeats a run. The error joins what failed in single stages; the move is chosen among the others.
func (l *Lifecycle) Next(o Object, now time.Time, r *rand.Rand) (*Move, error) {
	err := l.candidates(o)
	if len(l.found) == 0 {
		return nil, err
	}
	l.hash.Reset()
	for _, c := range l.found {
		var b [17]byte
		binary.LittleEndian.PutUint64(b[:], l.stages[c.stage].id)
		binary.LittleEndian.PutUint64(b[8:], uint64(c.weight))
		if c.set {
			b[16] = 1
		}
		_, _ = l.hash.Write(b[:]) // a Hash never fails
	}
	i := l.found[pick(l.found, r)].stage
	s := l.stages[i]
	var d, latest time.Duration
	for _, c := range l.found { // all of them, so that the key does not depend on the draw
		from, to, derr := l.stages[c.stage].delay(o, now, &l.hash)
		if derr != nil { // play at once, rather than never
			err = errors.Join(err, &StageError{Stage: l.stages[c.stage].name, Err: derr})
		}
		if c.stage == i {
			d, latest = from, to
		}
	}
	if latest > d {
		d += time.Duration(r.Int64N(int64(latest - d)))
	}
	return &Move{Stage: s.name, Index: i, After: d, Immediate: s.immediate, Key: l.hash.Sum64() | 1, life: l}, err
}

// Move returns the move for a stage that Next chose before for the same object.
func (l *Lifecycle) Move(index int) *Move {
	s := l.stages[index]
	return &Move{Stage: s.name, Index: index, Immediate: s.immediate, life: l}
}

// Find returns the index of the stage that is, word for word, the one at an index of another lifecycle.
func (l *Lifecycle) Find(old *Lifecycle, index int) (int, bool) {
	if old == nil || index >= len(old.stages) {
		return 0, false
	}
	for i, s := range l.stages {
		if s.id == old.stages[index].id {
			return i, true
		}
	}
	return 0, false
}

// SetAside takes a stage out for good, and reports whether it was in.
func (l *Lifecycle) SetAside(name string) bool {
	found := false
	for _, s := range l.stages {
		if s.name == name && !s.aside {
			s.aside, found = true, true
		}
	}
	return found
}

// candidates collects the stages that match o in l.found.
func (l *Lifecycle) candidates(o Object) error {
	l.found = l.found[:0]
	var errs error
	for i, s := range l.stages {
		if s.aside {
			continue
		}
		switch c, ok, err := s.candidate(o); {
		case err != nil:
			errs = errors.Join(errs, &StageError{Stage: s.name, Err: err})
		case ok:
			c.stage = i
			l.found = append(l.found, c)
		}
	}
	return errs
}

// candidate weighs the stage if it takes o.
func (s *compiled) candidate(o Object) (c candidate, ok bool, err error) {
	defer caught(&err)
	if ok, err = s.match.matches(o); !ok || err != nil {
		return c, false, err
	}
	c.weight, c.set, err = s.weigh(o)
	return c, true, err
}

// caught, deferred, makes an error of a panic: what a stage stumbles over must stop neither the others nor the program.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic: %v", p)
	}
}

// pick chooses by weight and returns an index of c.
func pick(c []candidate, r *rand.Rand) int {
	possible := possible(c)
	if len(possible) == 1 {
		return possible[0]
	}
	total := int64(0)
	for _, i := range possible {
		total += max(0, c[i].weight)
	}
	if total <= 0 {
		return possible[r.IntN(len(possible))]
	}
	at := r.Int64N(total)
	for _, i := range possible {
		if at -= max(0, c[i].weight); at < 0 {
			return i
		}
	}
	return possible[0]
}

// possible returns the indices that may be drawn: those of positive weight, if there are any, else those with a
// weight, else all.
func possible(c []candidate) []int {
	var positive, set, all []int
	sum := int64(0)
	for i := range c {
		all = append(all, i)
		if c[i].set {
			set = append(set, i)
			sum += c[i].weight
		}
		if c[i].set && c[i].weight > 0 {
			positive = append(positive, i)
		}
	}
	switch {
	case len(c) == 1 || len(set) == 0:
		return all
	case sum > 0:
		return positive
	}
	return set
}
