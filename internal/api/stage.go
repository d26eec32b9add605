package api

// Stage is one step of a kind's state machine.
type Stage struct {
	TypeMeta `json:",inline"`
	Metadata ObjectMeta `json:"metadata,omitzero"`
	Spec     StageSpec  `json:"spec"`
	Status   Status     `json:"status,omitzero"`
	File     string     `json:"-"` // where it was read, for messages

	doc document // as it was read
}

// Meta returns the metadata.
func (s *Stage) Meta() *ObjectMeta { return &s.Metadata }

// StageSpec says which objects a stage is for, when it comes and what it does.
type StageSpec struct {
	ResourceRef        ResourceRef `json:"resourceRef"`
	Selector           *Selector   `json:"selector,omitempty"` // nil matches nothing, {} everything
	Weight             int         `json:"weight,omitempty"`
	WeightFrom         *Source     `json:"weightFrom,omitempty"`
	Delay              *Delay      `json:"delay,omitempty"`
	Steps              []Step      `json:"steps,omitempty"`
	ImmediateNextStage *bool       `json:"immediateNextStage,omitempty"`
	Next               *Next       `json:"next,omitempty"` // deprecated; normalise turns it into Steps
}

// ResourceRef names a kind; APIGroup is a group/version.
type ResourceRef struct {
	APIGroup string `json:"apiGroup,omitempty"`
	Kind     string `json:"kind"`
}

// Selector is the AND of all its parts.
type Selector struct {
	MatchLabels      map[string]string `json:"matchLabels,omitempty"`
	MatchAnnotations map[string]string `json:"matchAnnotations,omitempty"`
	MatchExpressions []Requirement     `json:"matchExpressions,omitempty"`
}

// Requirement is a jq or a CEL condition. The flat form is deprecated; normalise turns it into JQ.
type Requirement struct {
	JQ       *JQRequirement `json:"jq,omitempty"`
	CEL      *Expression    `json:"cel,omitempty"`
	Key      string         `json:"key,omitempty"`
	Operator string         `json:"operator,omitempty"`
	Values   []string       `json:"values,omitempty"`
}

// JQRequirement compares what a jq program yields.
type JQRequirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"` // In, NotIn, Exists or DoesNotExist
	Values   []string `json:"values,omitempty"`
}

// Expression is a program in jq or CEL.
type Expression struct {
	Expression string `json:"expression"`
}

// Source takes a value from the object. ExpressionFrom is a deprecated name of JQ.
type Source struct {
	JQ             *Expression `json:"jq,omitempty"`
	CEL            *Expression `json:"cel,omitempty"`
	ExpressionFrom string      `json:"expressionFrom,omitempty"`
}

// Delay is the time between choosing a stage and playing it.
type Delay struct {
	DurationMilliseconds       *int64  `json:"durationMilliseconds,omitempty"`
	DurationFrom               *Source `json:"durationFrom,omitempty"`
	JitterDurationMilliseconds *int64  `json:"jitterDurationMilliseconds,omitempty"`
	JitterDurationFrom         *Source `json:"jitterDurationFrom,omitempty"`
}

// Step is what a stage does; its parts run in the order event, finalizers, delete, patch, apply.
type Step struct {
	Event      *Event      `json:"event,omitempty"`
	Finalizers *Finalizers `json:"finalizers,omitempty"`
	Delete     bool        `json:"delete,omitempty"`
	Patch      *Patch      `json:"patch,omitempty"`
	Apply      *Apply      `json:"apply,omitempty"`
}

// Event is a core/v1 Event; its texts are literal.
type Event struct {
	Type    string `json:"type,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// Finalizers edits metadata.finalizers.
type Finalizers struct {
	Add    []Finalizer `json:"add,omitempty"`
	Remove []Finalizer `json:"remove,omitempty"`
	Empty  bool        `json:"empty,omitempty"`
}

// Finalizer is one entry of metadata.finalizers.
type Finalizer struct {
	Value string `json:"value"`
}

// Patch changes the object itself.
type Patch struct {
	Subresource   string         `json:"subresource,omitempty"`
	Root          string         `json:"root,omitempty"`
	Template      string         `json:"template,omitempty"`
	Type          string         `json:"type,omitempty"` // json, merge or strategic
	Impersonation *Impersonation `json:"impersonation,omitempty"`
}

// Apply creates or changes another object.
type Apply struct {
	Template      string         `json:"template,omitempty"`
	Subresource   string         `json:"subresource,omitempty"`
	Type          string         `json:"type,omitempty"` // apply (default), merge or strategic
	Impersonation *Impersonation `json:"impersonation,omitempty"`
}

// Impersonation says as whom a write is done.
type Impersonation struct {
	Username string `json:"username"`
}

// Next is the deprecated form of Steps.
type Next struct {
	Event             *Event         `json:"event,omitempty"`
	Finalizers        *Finalizers    `json:"finalizers,omitempty"`
	Delete            bool           `json:"delete,omitempty"`
	Patches           []Patch        `json:"patches,omitempty"`
	StatusTemplate    string         `json:"statusTemplate,omitempty"`
	StatusSubresource *string        `json:"statusSubresource,omitempty"`
	StatusPatchAs     *Impersonation `json:"statusPatchAs,omitempty"`
}

// Status is what was observed about an object of ours in a cluster.
type Status struct {
	Conditions []Condition `json:"conditions,omitempty"`
}

// Condition is one observation about an object.
type Condition struct {
	Type               string `json:"type"`
	Status             string `json:"status"`
	LastTransitionTime string `json:"lastTransitionTime,omitempty"`
	Reason             string `json:"reason"`
	Message            string `json:"message"`
}

// normalise replaces the deprecated forms by what they mean.
func (s *Stage) normalise() {
	spec := &s.Spec
	if spec.ResourceRef.APIGroup == "" {
		spec.ResourceRef.APIGroup = "v1"
	}
	if spec.Selector != nil {
		for i := range spec.Selector.MatchExpressions {
			r := &spec.Selector.MatchExpressions[i]
			if r.JQ == nil && r.Key != "" {
				r.JQ = &JQRequirement{Key: r.Key, Operator: r.Operator, Values: r.Values}
			}
			r.Key, r.Operator, r.Values = "", "", nil
		}
	}
	spec.WeightFrom.normalise()
	if d := spec.Delay; d != nil {
		d.DurationFrom.normalise()
		d.JitterDurationFrom.normalise()
	}
	if len(spec.Steps) == 0 && spec.Next != nil {
		spec.Steps = spec.Next.steps()
	}
	spec.Next = nil
}

func (s *Source) normalise() {
	if s == nil {
		return
	}
	if s.JQ == nil && s.ExpressionFrom != "" {
		s.JQ = &Expression{Expression: s.ExpressionFrom}
	}
	s.ExpressionFrom = ""
}

func (n *Next) steps() (steps []Step) {
	if n.Event != nil {
		steps = append(steps, Step{Event: n.Event})
	}
	if n.Finalizers != nil {
		steps = append(steps, Step{Finalizers: n.Finalizers})
	}
	for i := range n.Patches {
		steps = append(steps, Step{Patch: &n.Patches[i]})
	}
	if len(n.Patches) == 0 && n.StatusTemplate != "" {
		p := &Patch{Subresource: "status", Root: "status", Template: n.StatusTemplate, Impersonation: n.StatusPatchAs}
		if n.StatusSubresource != nil {
			p.Subresource = *n.StatusSubresource
		}
		steps = append(steps, Step{Patch: p})
	}
	if n.Delete {
		steps = append(steps, Step{Delete: true})
	}
	return steps
}
