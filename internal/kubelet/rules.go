package kubelet

import (
	"slices"
	"sync"
	"sync/atomic"

	"kwokctl/internal/api"
)

// Rules are what the objects say that there are. They may be asked and replaced at the same time.
type Rules struct {
	mu    sync.Mutex
	files []api.Object
	kinds []string                // of the cluster, in the order in which they came
	live  map[string][]api.Object // by kind
	now   atomic.Pointer[targets]
}

// targets are the rules of all kinds.
type targets struct {
	logs     *Targets[api.LogsRule, string]
	execs    *Targets[api.ExecRule, string]
	attaches *Targets[api.AttachRule, string]
	forwards *Targets[api.ForwardRule, int32]
}

// Ours tells whether an object is one of those that Rules are made of.
func Ours(o api.Object) bool {
	switch o.(type) {
	case *api.Logs, *api.Exec, *api.Attach, *api.PortForward:
		return true
	}
	return false
}

// Kinds are the kinds of those objects. Each lets whoever may write it do as we can: run commands, read files, open
// connections.
func Kinds() []string {
	var all []string
	for _, k := range api.Kinds {
		if Ours(k.New()) {
			all = append(all, k.Name)
		}
	}
	return all
}

// SetFiles replaces the objects that come from files, which are asked first, in their order.
func (r *Rules) SetFiles(objs []api.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files = objs
	r.make()
}

// SetLive replaces the objects of one kind that come from the cluster. They are in the order of their names.
func (r *Rules) SetLive(kind string, objs []api.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live == nil {
		r.live = map[string][]api.Object{}
	}
	if !slices.Contains(r.kinds, kind) {
		r.kinds = append(r.kinds, kind)
	}
	r.live[kind] = objs
	r.make()
}

func (r *Rules) make() {
	all := slices.Clone(r.files)
	for _, k := range r.kinds {
		all = append(all, r.live[k]...)
	}
	r.now.Store(&targets{
		logs: NewTargets(api.Of[*api.Logs](all),
			func(o *api.Logs) (*api.PodSelector, []api.LogsRule) { return o.Spec.Selector, o.Spec.Logs },
			func(r *api.LogsRule) []string { return r.Containers }),
		execs: NewTargets(api.Of[*api.Exec](all),
			func(o *api.Exec) (*api.PodSelector, []api.ExecRule) { return o.Spec.Selector, o.Spec.Execs },
			func(r *api.ExecRule) []string { return r.Containers }),
		attaches: NewTargets(api.Of[*api.Attach](all),
			func(o *api.Attach) (*api.PodSelector, []api.AttachRule) { return o.Spec.Selector, o.Spec.Attaches },
			func(r *api.AttachRule) []string { return r.Containers }),
		forwards: NewTargets(api.Of[*api.PortForward](all),
			func(o *api.PortForward) (*api.PodSelector, []api.ForwardRule) {
				return o.Spec.Selector, o.Spec.Forwards
			},
			func(r *api.ForwardRule) []int32 { return r.Ports }),
	})
}

// current are the rules of now.
func (r *Rules) current() *targets {
	if t := r.now.Load(); t != nil {
		return t
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.make()
	return r.now.Load()
}
