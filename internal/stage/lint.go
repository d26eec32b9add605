package stage

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"kwokctl/internal/api"
	"kwokctl/internal/expr"
)

// Mistake is one thing wrong with a stage.
type Mistake struct {
	Field  string // such as spec.steps[0].patch.template
	Reason string
}

func (m Mistake) Error() string { return m.Field + ": " + m.Reason }

// linter collects the mistakes of one stage.
type linter struct {
	kind  api.ResourceRef
	like  any
	env   *expr.CELEnv
	funcs expr.Funcs
	found []Mistake
}

// subresources are those of the kinds we know that can be patched.
var subresources = map[api.ResourceRef][]string{
	{APIGroup: "v1", Kind: "Pod"}:  {"status", "ephemeralcontainers", "resize"},
	{APIGroup: "v1", Kind: "Node"}: {"status"},
}

// Check returns the first mistake that keeps one of the stages, of any kinds, from being played.
func Check(stages []*api.Stage) error {
	twice := Twice(stages)
	for _, s := range stages {
		if m, ok := twice[s]; ok {
			return &StageError{Stage: s.Metadata.Name, File: s.File, Err: m}
		}
		if s.Spec.ResourceRef.Kind == "" {
			return &StageError{Stage: s.Metadata.Name, File: s.File, Err: Mistake{"spec.resourceRef.kind", "missing"}}
		}
		if s.Spec.Selector == nil { // it matches nothing, but what it says is to be right
			all := *s
			all.Spec.Selector = &api.Selector{}
			s = &all
		}
		if _, errs := Compile([]*api.Stage{s}, virtualFuncs("v0", &virtual{})); len(errs) > 0 {
			return errs[0]
		}
	}
	return nil
}

// Lint returns all mistakes of a stage: those that keep it from being compiled, and those that make it do nothing,
// never, or other than it says.
func Lint(s *api.Stage) []Mistake {
	l := &linter{kind: s.Spec.ResourceRef, like: likeOf(s.Spec.ResourceRef), funcs: virtualFuncs("v0", &virtual{})}
	if s.Metadata.Name == "" {
		l.add("metadata.name", "missing")
	}
	l.ref(s.Spec.ResourceRef)
	if s.Spec.Selector == nil {
		l.add("spec.selector", "missing: the stage matches nothing; {} matches everything")
	} else {
		l.expressions(s.Spec.Selector.MatchExpressions)
	}
	l.found = append(l.found, negative(&s.Spec)...)
	l.source("spec.weightFrom", s.Spec.WeightFrom, weights...)
	l.delay(s.Spec.Delay)
	if len(s.Spec.Steps) == 0 {
		l.add("spec.steps", "missing: the stage does nothing")
	}
	for i := range s.Spec.Steps {
		l.step(fmt.Sprintf("spec.steps[%d]", i), &s.Spec.Steps[i])
		if s.Spec.Steps[i].Delete && i+1 < len(s.Spec.Steps) {
			l.afterDelete(s.Spec.Steps, i+1)
			break
		}
	}
	return l.found
}

func (l *linter) add(field, reason string) { l.found = append(l.found, Mistake{field, reason}) }

// fail adds the error of a compiler, which may begin with the rest of the field's name.
func (l *linter) fail(field string, err error) {
	if err == nil {
		return
	}
	if m := subField.FindStringSubmatch(err.Error()); m != nil {
		l.add(field+"."+m[1], m[2])
		return
	}
	l.add(field, err.Error())
}

var (
	subField   = regexp.MustCompile(`^((?:patch|apply)\.(?:type|template)|key|operator|values): (.*)`)
	groupForm  = regexp.MustCompile(`^(v[0-9]|[a-z0-9.-]+/v[0-9])`)
	reasonForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_,:]*$`)
)

func (l *linter) ref(ref api.ResourceRef) {
	if ref.Kind == "" {
		l.add("spec.resourceRef.kind", "missing")
	} else if unicode.IsLower(rune(ref.Kind[0])) {
		l.add("spec.resourceRef.kind", fmt.Sprintf("want a kind as objects have it, such as Pod, not %q", ref.Kind))
	}
	if !groupForm.MatchString(ref.APIGroup) {
		l.add("spec.resourceRef.apiGroup", fmt.Sprintf("want a group and version such as v1 or apps/v1, not %q", ref.APIGroup))
	}
}

func (l *linter) cel() (*expr.CELEnv, error) {
	var err error
	if l.env == nil {
		l.env, err = expr.NewCELEnv(l.like)
	}
	return l.env, err
}

func (l *linter) expressions(list []api.Requirement) {
	for i, e := range list {
		at := fmt.Sprintf("spec.selector.matchExpressions[%d]", i)
		switch {
		case e.JQ != nil && e.CEL != nil:
			l.add(at, "want jq or cel, not both")
		case e.JQ != nil && e.JQ.Key == "":
			l.add(at+".jq.key", "missing")
		case e.JQ != nil:
			_, err := newRequirement(e.JQ)
			l.fail(at+".jq", err)
		case e.CEL != nil:
			c, err := compileCEL(e.CEL.Expression, l.cel)
			l.fail(at+".cel.expression", err)
			l.yields(at+".cel.expression", c, "bool")
		default:
			l.add(at, "want jq or cel")
		}
	}
}

// yields adds the mistake of an expression whose result is of none of the types, as far as that can be known.
func (l *linter) yields(at string, c *expr.CEL, types ...string) {
	if c != nil && c.Result() != "dyn" && !slices.Contains(types, c.Result()) {
		l.add(at, fmt.Sprintf("yields %s; want %s", c.Result(), strings.Join(types, ", ")))
	}
}

// source checks where a value comes from; types are those in CEL that it may have.
func (l *linter) source(at string, s *api.Source, types ...string) {
	if s == nil {
		return
	}
	switch {
	case s.JQ == nil && s.CEL == nil:
		l.add(at, "want jq or cel")
		return
	case s.JQ != nil && s.CEL != nil:
		l.add(at, "want jq or cel, not both")
		return
	case s.CEL != nil:
		at += ".cel.expression"
	default:
		at += ".jq.expression"
	}
	compiled, err := newSource(s, l.cel)
	l.fail(at, err)
	if err == nil {
		l.yields(at, compiled.cel, types...)
	}
}

// Types in CEL that mean a number, and a time from now.
var (
	weights = []string{"int", "uint", "double", "bool", "duration"}
	spans   = []string{"duration", "timestamp", "string", "int", "uint", "double"}
)

func (l *linter) delay(d *api.Delay) {
	if d == nil {
		return
	}
	l.source("spec.delay.durationFrom", d.DurationFrom, spans...)
	l.source("spec.delay.jitterDurationFrom", d.JitterDurationFrom, spans...)
	switch {
	case d.DurationMilliseconds == nil && d.DurationFrom == nil && (d.JitterDurationMilliseconds != nil || d.JitterDurationFrom != nil):
		l.add(durationField, "missing: without a duration there is no delay, whatever the jitter")
	case d.DurationMilliseconds != nil && d.JitterDurationMilliseconds != nil && *d.JitterDurationMilliseconds < *d.DurationMilliseconds:
		l.add(jitterField, fmt.Sprintf("%d is less than the duration, %d: it is the latest moment, not an addition, so the delay is always %d",
			*d.JitterDurationMilliseconds, *d.DurationMilliseconds, *d.JitterDurationMilliseconds))
	}
}

const (
	durationField = "spec.delay.durationMilliseconds"
	jitterField   = "spec.delay.jitterDurationMilliseconds"
)

// negative returns the numbers that are less than they can mean.
func negative(s *api.StageSpec) (found []Mistake) {
	check := func(field string, n int64) {
		if n < 0 {
			found = append(found, Mistake{field, fmt.Sprintf("%d is negative", n)})
		}
	}
	check("spec.weight", int64(s.Weight))
	if d := s.Delay; d != nil && d.DurationMilliseconds != nil {
		check(durationField, *d.DurationMilliseconds)
	}
	if d := s.Delay; d != nil && d.JitterDurationMilliseconds != nil {
		check(jitterField, *d.JitterDurationMilliseconds)
	}
	return found
}

// Twice returns the stages that have the kind and the name of one before them.
func Twice(stages []*api.Stage) map[*api.Stage]Mistake {
	type key struct {
		ref  api.ResourceRef
		name string
	}
	first, twice := map[key]*api.Stage{}, map[*api.Stage]Mistake{}
	for _, s := range stages {
		k := key{s.Spec.ResourceRef, s.Metadata.Name}
		before := first[k]
		if before == nil || k.name == "" {
			first[k] = s
			continue
		}
		_, line := before.Where("metadata.name")
		twice[s] = Mistake{"metadata.name", fmt.Sprintf("%q is a stage at %s:%d already", k.name, before.File, line)}
	}
	return twice
}

func (l *linter) step(at string, s *api.Step) {
	if s.Event == nil && s.Finalizers == nil && !s.Delete && s.Patch == nil && s.Apply == nil {
		l.add(at, "does nothing: want event, finalizers, delete, patch or apply")
	}
	if e := s.Event; e != nil {
		if e.Type != "Normal" && e.Type != "Warning" {
			l.add(at+".event.type", fmt.Sprintf("%q is none of Normal, Warning", e.Type))
		}
		if !reasonForm.MatchString(e.Reason) {
			l.add(at+".event.reason", fmt.Sprintf("want a word such as Created, not %q", e.Reason))
		}
	}
	if f := s.Finalizers; f != nil {
		for _, list := range []struct {
			name string
			all  []api.Finalizer
		}{{"add", f.Add}, {"remove", f.Remove}} {
			for i, x := range list.all {
				if !strings.Contains(x.Value, "/") {
					l.add(fmt.Sprintf("%s.finalizers.%s[%d].value", at, list.name, i), fmt.Sprintf("want domain/name, not %q", x.Value))
				}
			}
		}
	}
	if s.Delete && (s.Patch != nil || s.Apply != nil) {
		l.add(at+".delete", "the patch or apply of the same step is not done: the object is gone")
	}
	// Each part by itself, so that a mistake in one does not hide those in the others.
	if p := s.Patch; p != nil {
		if known := subresources[l.kind]; known != nil && p.Subresource != "" && !slices.Contains(known, p.Subresource) {
			l.add(at+".patch.subresource", fmt.Sprintf("%q is none of %s", p.Subresource, strings.Join(known, ", ")))
		}
		l.compile(at, &api.Step{Patch: &api.Patch{Type: p.Type}})
		l.compile(at, &api.Step{Patch: &api.Patch{Template: p.Template}})
		l.empty(at+".patch.template", p.Template)
	}
	if a := s.Apply; a != nil {
		l.compile(at, &api.Step{Apply: &api.Apply{Type: a.Type}})
		l.compile(at, &api.Step{Apply: &api.Apply{Template: a.Template}})
		l.empty(at+".apply.template", a.Template)
	}
}

func (l *linter) compile(at string, s *api.Step) {
	_, err := newStep(s, l.funcs)
	l.fail(at, err)
}

func (l *linter) empty(at, template string) {
	if strings.TrimSpace(template) == "" {
		l.add(at, "missing")
	}
}

func (l *linter) afterDelete(steps []api.Step, from int) {
	for i := from; i < len(steps); i++ {
		if s := steps[i]; s.Finalizers != nil || s.Delete || s.Patch != nil || s.Apply != nil {
			l.add(fmt.Sprintf("spec.steps[%d]", i), "is not done, events excepted: a step before it deletes the object")
		}
	}
}
