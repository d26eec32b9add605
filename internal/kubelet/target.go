package kubelet

import (
	"strings"

	"kwokctl/internal/api"
)

// Targets are the rules of one kind, such as Exec with ClusterExec. R is a rule, K names what it is for: a container
// or a port. It never changes, so that many may ask at the same time.
type Targets[R any, K comparable] struct {
	one  map[podName][]R // of the kind that is for the pod of its own namespace and name
	many []selected[R]   // of its Cluster twin, in order
	keys func(*R) []K
}

type podName struct{ namespace, name string }

type selected[R any] struct {
	by    *api.PodSelector
	rules []R
}

// NewTargets sorts objects, the order of which counts. spec and keys say where the parts of an object and the names
// in a rule are.
func NewTargets[T api.Object, R any, K comparable](objs []T, spec func(T) (*api.PodSelector, []R), keys func(*R) []K) *Targets[R, K] {
	t := &Targets[R, K]{one: map[podName][]R{}, keys: keys}
	for _, o := range objs {
		by, rules := spec(o)
		if strings.HasPrefix(o.Type().Kind, "Cluster") {
			t.many = append(t.many, selected[R]{by, rules})
			continue
		}
		at := podName{o.Meta().Namespace, o.Meta().Name}
		if at.namespace == "" {
			at.namespace = "default"
		}
		if _, taken := t.one[at]; !taken { // the first wins, as among those of the twin
			t.one[at] = rules
		}
	}
	return t
}

// Find returns the rule for a container or port of a pod, nil if there is none. An object that is for this very pod
// is asked alone; else the first object that takes the pod and has a rule wins.
func (t *Targets[R, K]) Find(namespace, pod string, key K) *R {
	if rules, ok := t.one[podName{namespace, pod}]; ok {
		return t.choose(rules, key)
	}
	for _, s := range t.many {
		if !s.by.Matches(namespace, pod) {
			continue
		}
		if r := t.choose(s.rules, key); r != nil {
			return r
		}
	}
	return nil
}

// choose prefers the rule that names the key, wherever it stands, to the first that names none.
func (t *Targets[R, K]) choose(rules []R, key K) (fallback *R) {
	for i := range rules {
		keys := t.keys(&rules[i])
		for _, k := range keys {
			if k == key {
				return &rules[i]
			}
		}
		if len(keys) == 0 && fallback == nil {
			fallback = &rules[i]
		}
	}
	return fallback
}
