package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"kwokctl/runtimes"
)

// Spec returns a component of the cluster.
func (c *Cluster) Spec(component string) (runtimes.Spec, error) {
	var names []string
	for _, s := range c.specs {
		if s.Name == component {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return runtimes.Spec{}, fmt.Errorf("no component %q in cluster %q; it has %s", component, c.Name, strings.Join(names, ", "))
}

// StartComponent starts one component and what it needs, and returns when they are ready.
func (h Home) StartComponent(ctx context.Context, name, component string, observe Observe) error {
	return h.change(ctx, name, component, func(c *Cluster, s runtimes.Spec) error {
		if c.loading() || c.cut() {
			return fmt.Errorf("start %s: a restore of cluster %q was cut; kwokctl start cluster --name %[2]s finishes it", s.Name, c.Name)
		}
		specs := c.closure(s)
		list, err := c.rt.Status(ctx, specs)
		if err != nil {
			return err
		}
		for i, s := range specs {
			for _, p := range s.Published() {
				if list[i].State != runtimes.Stopped {
					continue
				}
				if err := checkPort(p.Number, s.Name, nil, tryPort(c.Config)); err != nil {
					return fmt.Errorf("start %s: %w", s.Name, err)
				}
			}
		}
		return cause(ctx, c.rt.Start(ctx, specs, observe))
	})
}

// StopComponent ends one component, with grace, and leaves it so until it or the cluster is started. Those that need it
// go on without. It tells whether the component had to be killed.
func (h Home) StopComponent(ctx context.Context, name, component string) (killed bool, err error) {
	err = h.change(ctx, name, component, func(c *Cluster, s runtimes.Spec) error {
		names, err := c.rt.Stop(ctx, []runtimes.Spec{s}, false)
		killed = len(names) > 0
		return err
	})
	return killed, err
}

// change runs a change of one component under the lock of its cluster.
func (h Home) change(ctx context.Context, name, component string, do func(*Cluster, runtimes.Spec) error) error {
	c, release, err := h.locked(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	s, err := c.Spec(component)
	if err != nil {
		return err
	}
	return do(c, s)
}

// closure is a component with all that it needs, in the order of need.
func (c *Cluster) closure(s runtimes.Spec) []runtimes.Spec {
	in := map[string]bool{s.Name: true}
	for _, s := range slices.Backward(c.specs) { // who needs comes behind what it needs
		for _, need := range s.Needs {
			in[need] = in[need] || in[s.Name]
		}
	}
	return slices.DeleteFunc(slices.Clone(c.specs), func(s runtimes.Spec) bool { return !in[s.Name] })
}
