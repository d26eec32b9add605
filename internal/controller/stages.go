package controller

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"kwokctl/internal/api"
	"kwokctl/internal/expr"
	"kwokctl/internal/stage"
)

// catalog is the Stages there are, from files and from the cluster, and what became of them.
type catalog struct {
	fixed       []*api.Stage
	builtIn     []*api.Stage // of kinds that have no other
	fromCluster bool
	live        map[string]*liveStage
	aside       map[*api.Stage]api.Condition // why a stage is not played
	breaches    map[string]int               // limits broken, by stage
	changed     time.Time                    // when the first change came that has no effect yet; zero: there is none
	last        time.Time                    // when the last one came
}

// liveStage is a Stage in the cluster.
type liveStage struct {
	*api.Stage // a version that could not be read has no selector
	uid        string
	told       api.Condition   // what its status says
	others     []api.Condition // that others wrote there
	bad        error           // why it could not be read
	confirmed  bool            // seen in this epoch
}

// A change of Stages takes effect when no other came for settleTime, at the latest after settleLimit.
const (
	settleTime  = 200 * time.Millisecond
	settleLimit = time.Second
	// maxBreaches is how often a stage may break a limit.
	maxBreaches = 3
)

func newCatalog(cfg config) catalog {
	return catalog{fixed: cfg.stages, builtIn: cfg.builtIn, fromCluster: slices.Contains(cfg.opts.EnableCRDs, "Stage"),
		live: map[string]*liveStage{}, aside: map[*api.Stage]api.Condition{}, breaches: map[string]int{}}
}

func (c *catalog) touch(now time.Time) {
	c.last = now
	if c.changed.IsZero() {
		c.changed = now
	}
}

func (c *catalog) due() time.Time {
	if latest := c.changed.Add(settleLimit); latest.Before(c.last.Add(settleTime)) {
		return latest
	}
	return c.last.Add(settleTime)
}

// byKind sorts the stages by what they are for. A kind without any that can be read has the built-in ones.
func (c *catalog) byKind() map[api.ResourceRef][]*api.Stage {
	sets, own := map[api.ResourceRef][]*api.Stage{}, map[api.ResourceRef]bool{}
	add := func(s *api.Stage) {
		ref := s.Spec.ResourceRef
		sets[ref] = append(sets[ref], s)
		own[ref] = own[ref] || c.aside[s].Reason != reasonInvalid
	}
	for _, s := range c.fixed {
		add(s)
	}
	for _, name := range slices.Sorted(maps.Keys(c.live)) {
		if s := c.live[name]; s.bad == nil {
			add(s.Stage)
		}
	}
	for _, s := range c.builtIn {
		if ref := s.Spec.ResourceRef; !own[ref] {
			sets[ref] = append(sets[ref], s)
		}
	}
	return sets
}

// restage makes the players play the Stages there are now.
func (l *loop) restage() {
	l.cat.changed = time.Time{}
	l.deal(l.cat.byKind())
	l.deal(l.cat.byKind()) // where all turned out to be invalid
	l.judge()
	select {
	case <-l.staged:
	default:
		close(l.staged)
	}
}

// deal gives each kind its stages.
func (l *loop) deal(sets map[api.ResourceRef][]*api.Stage) {
	for k, p := range l.kinds {
		if !kind(k).played() {
			continue
		}
		if list := sets[p.ref]; !slices.Equal(list, p.stages) {
			l.replace(kind(k), list)
		}
		delete(sets, p.ref)
	}
	byName := func(a, b api.ResourceRef) int { return strings.Compare(a.APIGroup+a.Kind, b.APIGroup+b.Kind) }
	for _, ref := range slices.SortedFunc(maps.Keys(sets), byName) {
		if len(l.kinds) == maxKinds {
			for _, s := range sets[ref] {
				l.reject(s, "TooManyKinds", fmt.Errorf("spec.resourceRef: there are stages for %d kinds already", maxKinds))
			}
			continue
		}
		l.kinds = append(l.kinds, newPlayer(ref))
		l.holdOthers()
		l.replace(kind(len(l.kinds)-1), sets[ref])
	}
}

// replace gives a kind other stages, and looks at all its objects anew.
func (l *loop) replace(k kind, list []*api.Stage) {
	p := l.kinds[k]
	life, errs := stage.Compile(list, l.funcs)
	for _, s := range p.stages {
		if !slices.Contains(list, s) {
			delete(l.cat.aside, s)
			delete(l.cat.breaches, s.Metadata.Name)
		}
	}
	p.stages = list
	for _, err := range errs {
		var e *stage.StageError
		if errors.As(err, &e) {
			l.reject(p.stage(e.Stage), reasonInvalid, e)
		}
	}
	for _, s := range list {
		if s.Spec.Selector == nil {
			l.reject(s, "NoSelector", &stage.StageError{Stage: s.Metadata.Name, File: s.File,
				Err: errors.New("spec.selector: missing, so that it matches nothing")})
		}
		if _, ok := l.cat.aside[s]; ok {
			life.SetAside(s.Metadata.Name)
		}
	}
	l.swap(k, life)
	switch {
	case k < firstOther || len(list) > 0 && p.stop != nil:
		p.ask()
	case len(list) > 0 && l.playing:
		l.launch(k)
	case len(list) == 0 && p.stop != nil:
		p.stop()
		p.stop = nil
		l.noKind(k, false)
	}
}

// stage returns the stage of a name.
func (p *player) stage(name string) *api.Stage {
	i := slices.IndexFunc(p.stages, func(s *api.Stage) bool { return s.Metadata.Name == name })
	if i < 0 {
		return nil
	}
	return p.stages[i]
}

// swap replaces the lifecycle of a kind. What waits for a stage that stays keeps waiting for it.
func (l *loop) swap(k kind, life *stage.Lifecycle) {
	old := l.kinds[k].life
	l.kinds[k].life = life
	for i := range l.t.e {
		e := &l.t.e[i]
		if e.state == free || e.kind != k {
			continue
		}
		at, same := life.Find(old, int(e.stage))
		if e.stage = uint16(at); !same {
			e.key = 0
			l.dropRest(uint32(i))
		}
	}
}

// takeStages takes a batch of events of Stages.
func (l *loop) takeStages(b batch) {
	c := &l.cat
	if b.begin || b.missing {
		for _, s := range c.live {
			s.confirmed = false
		}
	}
	for _, e := range b.events {
		if m := e.obj.Meta(); e.gone {
			delete(c.live, m.Name)
		} else {
			c.live[m.Name] = c.live[m.Name].next(e.obj)
		}
	}
	if len(b.events) > 0 {
		c.touch(l.now)
	}
	if b.end || b.missing {
		maps.DeleteFunc(c.live, func(_ string, s *liveStage) bool { return !s.confirmed })
		l.restage()
	}
}

// next is the stage after a change: itself if what it says is the same.
func (s *liveStage) next(o stage.Object) *liveStage {
	m := o.Meta()
	n := &liveStage{Stage: &api.Stage{Metadata: api.ObjectMeta{Name: m.Name}}, uid: m.UID, confirmed: true}
	read, err := readObject(o, "stage")
	if n.bad = err; err != nil {
		if s != nil { // what its status says cannot be read either: that is known from before
			n.told, n.others = s.told, s.others
		}
		return n
	}
	if st, ok := read.(*api.Stage); ok {
		n.Stage = st
		n.File = ""
	}
	n.told, n.others = own(n.Status.Conditions)
	if s != nil && s.bad == nil && reflect.DeepEqual(s.Spec, n.Spec) {
		n.Stage = s.Stage
	}
	return n
}

// readObject reads an object of the cluster as one of ours.
func readObject(o stage.Object, what string) (api.Object, error) {
	text, err := json.Marshal(o.Tree())
	if err != nil {
		return nil, err
	}
	objs, err := api.Load(bytes.NewReader(text), what+" "+o.Meta().Name)
	if err != nil {
		return nil, err
	}
	return objs[0], nil
}

// reject sets a stage aside and says so, once.
func (l *loop) reject(s *api.Stage, reason string, err error) {
	if s == nil {
		return
	}
	if _, ok := l.cat.aside[s]; ok {
		return
	}
	l.cat.aside[s] = api.Condition{Type: conditionReady, Status: "False", Reason: reason, Message: err.Error()}
	l.complain(s.Metadata.Name, err)
}

// complain logs and announces that a stage is set aside.
func (l *loop) complain(name string, err error) {
	l.stats.rejected.Inc()
	l.log.Error("stage is set aside", "stage", name, "err", err)
	refer := corev1.ObjectReference{APIVersion: api.Version, Kind: "Stage", Name: name}
	if live := l.cat.live[name]; live != nil {
		refer.UID = types.UID(live.uid)
	}
	l.report.event(refer, "Warning", "StageSetAside", err.Error())
}

// setAside stops playing a stage.
func (l *loop) setAside(k kind, name, reason string, err error) {
	if p := l.kinds[k]; p.life.SetAside(name) {
		l.reject(p.stage(name), reason, err)
		l.judge()
	}
}

// breach counts the limits a stage breaks.
func (l *loop) breach(k kind, s *stage.StageError) {
	if !errors.Is(s, expr.ErrLimit) {
		return
	}
	if l.cat.breaches[s.Stage]++; l.cat.breaches[s.Stage] >= maxBreaches {
		l.setAside(k, s.Stage, "LimitExceeded", s)
	}
}

const (
	conditionReady = "Ready"   // says whether a Stage is played
	reasonInvalid  = "Invalid" // it does not compile
)

// judge brings the conditions of the Stages in the cluster up to date.
func (l *loop) judge() {
	of := map[api.ResourceRef]*player{}
	for k, p := range l.kinds {
		if kind(k).played() {
			of[p.ref] = p
		}
	}
	for name, s := range l.cat.live {
		c, bad := l.cat.aside[s.Stage]
		ref := s.Spec.ResourceRef
		switch {
		case s.bad != nil:
			c = api.Condition{Type: conditionReady, Status: "False", Reason: reasonInvalid, Message: s.bad.Error()}
		case bad:
		case of[ref] != nil && of[ref].refused != nil:
			c = api.Condition{Type: conditionReady, Status: "False", Reason: "Forbidden",
				Message: fmt.Sprintf("spec.resourceRef: %v", of[ref].refused)}
		case of[ref] != nil && of[ref].missing:
			c = api.Condition{Type: conditionReady, Status: "False", Reason: "KindNotFound",
				Message: fmt.Sprintf("spec.resourceRef: the API server does not have kind %s of %s", ref.Kind, ref.APIGroup)}
		default:
			c = api.Condition{Type: conditionReady, Status: "True", Reason: "Playing", Message: "played on every " + ref.Kind + " it matches"}
		}
		if c.LastTransitionTime = s.told.LastTransitionTime; c == s.told {
			continue
		}
		if c.Status != s.told.Status || c.LastTransitionTime == "" {
			c.LastTransitionTime = l.now.UTC().Format(time.RFC3339)
		}
		if s.bad != nil {
			l.complain(name, s.bad)
		}
		s.told = c
		l.report.condition(l.kinds[stageObjects].path("", name)+"/status", s.others, c)
	}
}
