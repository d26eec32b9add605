package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kwokctl/internal/api"
	"kwokctl/internal/expr"
)

// Rehearsal plays stages on one object without a cluster, on a clock of its own. Equal rehearsals have equal ends.
type Rehearsal struct {
	Stages  []*api.Stage // those of the object's kind are played
	Seed    uint64       // of all random choices; the controller's, given the same, makes the same
	Until   time.Duration
	Version string // of the program, for templates
}

// ErrNoStages says that there are no stages for the kind of an object.
var ErrNoStages = errors.New("no stages for this kind")

// maxTransitions ends a rehearsal of stages that never come to rest.
const maxTransitions = 100

// Transition is one move of a rehearsal.
type Transition struct {
	At      Elapsed          `json:"at"` // since the beginning
	Stage   string           `json:"stage"`
	Actions []map[string]any `json:"actions"`
	Changes []Change         `json:"changes,omitempty"` // to the object itself
	Notes   []string         `json:"notes,omitempty"`   // what the author may not expect
}

// Elapsed is a duration that prints as such in JSON.
type Elapsed time.Duration

func (e Elapsed) String() string { return time.Duration(e).Round(time.Millisecond).String() }

// MarshalText prints the duration.
func (e Elapsed) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// How a rehearsal ends.
const (
	AtRest  = "at rest" // no stage matches, or what matched changes nothing
	Deleted = "deleted"
	Waiting = "waiting" // the next stage is due after the end
	Endless = "endless" // as many transitions as a rehearsal may have
	Failed  = "failed"  // a stage cannot be played
)

// Record is what happened in a rehearsal.
type Record struct {
	Kind        string         `json:"kind"`
	Name        string         `json:"name"`
	Start       time.Time      `json:"start"`
	Transitions []Transition   `json:"transitions"`
	End         string         `json:"end"`
	Next        string         `json:"next,omitempty"`  // stage that is waiting, or failed
	Due         Elapsed        `json:"due,omitempty"`   // when it is waiting
	Error       string         `json:"error,omitempty"` // why it failed
	Object      map[string]any `json:"object,omitempty"`
}

// virtual is the world that templates see in a rehearsal.
type virtual struct {
	now time.Time
	obj Object
}

// Addresses of the node and the pod in a rehearsal, from the ranges for documentation and from the default CIDR.
const (
	virtualNodeIP = "192.0.2.1"
	virtualPodIP  = "10.0.0.1"
)

func virtualFuncs(version string, v *virtual) expr.Funcs {
	podIPs := func(_, host any, _ ...any) []any {
		if h, ok := host.(bool); ok && h {
			return []any{virtualNodeIP}
		}
		return []any{virtualPodIP}
	}
	return expr.Base(version, v.now).With(expr.Funcs{
		"Now":          func() string { return clock(v.now) },
		"now":          func() time.Time { return v.now },
		"NodeIP":       func() string { return virtualNodeIP },
		"NodeName":     func() string { return "localhost" },
		"NodePort":     func() int { return 10247 },
		"NodeIPsWith":  func(any) []any { return []any{virtualNodeIP} },
		"NodeIPWith":   func(any) string { return virtualNodeIP },
		"PodIPsWith":   podIPs,
		"PodIPWith":    func(node, host any, more ...any) any { return podIPs(node, host, more...)[0] },
		"PodIP":        func() string { return virtualPodIP },
		"StorageClass": func(any) any { return map[string]any{} }, // there is none
	})
}

// Run plays the stages on an object, given as JSON, until it is at rest, gone, or too late.
func (r Rehearsal) Run(object []byte) (*Record, error) {
	tree, err := decodeTree(object)
	if err != nil {
		return nil, err
	}
	if v, _ := tree["apiVersion"].(string); v == "" {
		return nil, errors.New("apiVersion: missing")
	}
	admit(tree)
	o, err := objectOf(tree)
	if err != nil {
		return nil, err
	}
	m := o.Meta()
	rec := &Record{Kind: m.Kind, Name: m.Name, Start: startOf(tree), Transitions: []Transition{}}
	v := &virtual{now: rec.Start}
	stages := r.of(m)
	if len(stages) == 0 {
		return nil, ErrNoStages
	}
	life, errs := Compile(stages, virtualFuncs(r.Version, v))
	if len(errs) > 0 {
		return nil, errs[0]
	}
	dice := NewDice(r.Seed)
	for o != nil && rec.End == "" {
		v.obj = o
		o = r.turn(rec, life, v, dice)
	}
	if o != nil {
		rec.Object = o.Tree()
	}
	return rec, nil
}

// of returns the stages for a kind.
func (r Rehearsal) of(m *Meta) (of []*api.Stage) {
	for _, s := range r.Stages {
		if s.Spec.ResourceRef == (api.ResourceRef{APIGroup: m.APIVersion, Kind: m.Kind}) {
			of = append(of, s)
		}
	}
	return of
}

// turn makes the next move, or ends the record. It returns the object as it is then, nil when it is gone.
func (r Rehearsal) turn(rec *Record, life *Lifecycle, v *virtual, dice *Dice) Object {
	o := v.obj
	mv, err := life.Next(o, v.now, dice.Roll(o.Meta(), uint16(len(rec.Transitions))))
	if err != nil { // other stages go on, as in a cluster; the author must know
		rec.Error = err.Error()
	}
	if mv == nil {
		rec.End = AtRest
		if err != nil {
			rec.End = Failed
		}
		return o
	}
	at := v.now.Add(max(0, mv.After)).Sub(rec.Start)
	if at > r.Until {
		rec.End, rec.Next, rec.Due = Waiting, mv.Stage, Elapsed(at)
		return o
	}
	if len(rec.Transitions) == maxTransitions {
		rec.End, rec.Next = Endless, mv.Stage
		return o
	}
	v.now = rec.Start.Add(at)
	t := Transition{At: Elapsed(at), Stage: mv.Stage, Actions: []map[string]any{}}
	after, err := t.play(mv, o, v.now)
	if err != nil {
		rec.End, rec.Next, rec.Error = Failed, mv.Stage, err.Error()
		return o
	}
	if after == nil {
		rec.Transitions = append(rec.Transitions, t)
		rec.End = Deleted
		return nil
	}
	t.Changes = diff(o.Tree(), after.Tree())
	if len(t.Actions) > 0 || len(t.Notes) > 0 {
		rec.Transitions = append(rec.Transitions, t)
	}
	if len(t.Changes) == 0 { // nothing that the controller would see: it does not look again
		rec.End = AtRest
	}
	return after
}

// play does what a move does to o and returns the result, nil when o is deleted.
func (t *Transition) play(mv *Move, o Object, now time.Time) (Object, error) {
	acts, err := mv.Actions(o, now)
	if err != nil {
		return nil, err
	}
	t.Notes = mv.dropped(o)
	for i := range acts {
		a := &acts[i]
		t.Actions = append(t.Actions, a.describe())
		switch a.Kind {
		case Patch:
			next, notes, err := a.patched(o)
			if err != nil {
				return nil, &StageError{Stage: mv.Stage, Err: err}
			}
			t.Notes = append(t.Notes, notes...)
			o = next
		case Delete:
			if len(o.Meta().Finalizers) == 0 {
				return nil, nil
			}
			t.Notes = append(t.Notes, "finalizers hold the object")
			if o, err = deleting(o, now); err != nil {
				return nil, err
			}
		}
	}
	return o, nil
}

// deleting returns the object as the API server leaves it while finalizers hold it.
func deleting(o Object, now time.Time) (Object, error) {
	tree := clone(o.Tree()).(map[string]any)
	meta := object(tree, "metadata")
	if _, ok := meta["deletionTimestamp"]; !ok {
		meta["deletionTimestamp"] = now.UTC().Format(time.RFC3339)
	}
	meta["deletionGracePeriodSeconds"] = json.Number("0")
	return objectOf(tree)
}

// objectOf wraps a tree as the kind needs it.
func objectOf(tree map[string]any) (Object, error) {
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	if tree["apiVersion"] == "v1" {
		switch tree["kind"] {
		case "Pod":
			p := &corev1.Pod{}
			if err := json.Unmarshal(text, p); err != nil {
				return nil, fmt.Errorf("read the Pod: %w", err)
			}
			return NewPod(p), nil
		case "Node":
			n := &corev1.Node{}
			if err := json.Unmarshal(text, n); err != nil {
				return nil, fmt.Errorf("read the Node: %w", err)
			}
			return NewNode(n), nil
		}
	}
	return Decode(text)
}
