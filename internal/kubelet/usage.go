package kubelet

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"kwokctl/internal/api"
	"kwokctl/internal/expr"
)

// usageRule is what the containers it is for use, by resource.
type usageRule struct {
	containers []string
	by         map[string]amount
}

// amount is a number, or an expression that yields it.
type amount struct {
	number float64
	cel    *expr.CEL
}

// usageSet is a ResourceUsage, or a ClusterResourceUsage, ready to be asked.
type usageSet struct {
	*api.ResourceUsage
	rules []usageRule
}

func (c *compiler) usage(u *api.ResourceUsage) (*usageSet, error) {
	set := &usageSet{ResourceUsage: u}
	for i, r := range u.Spec.Usages {
		rule := usageRule{r.Containers, map[string]amount{}}
		for _, name := range slices.Sorted(maps.Keys(r.Usage)) {
			field := fmt.Sprintf("spec.usages[%d].usage.%s", i, name)
			switch from := r.Usage[name]; {
			case from.Value != nil:
				rule.by[name] = amount{number: from.Value.AsFloat64Slow()}
			case from.Expression != "":
				cel, err := c.number("container", from.Expression)
				if err != nil {
					return nil, &FieldError{u, field + ".expression", err}
				}
				rule.by[name] = amount{cel: cel}
			default:
				return nil, &FieldError{u, field, errors.New("neither value nor expression")}
			}
		}
		set.rules = append(set.rules, rule)
	}
	return set, nil
}

// usageKey names the usage of a resource by a container.
type usageKey struct {
	pod       *corev1.Pod
	container string
	resource  string
}

// Usage tells what a pod, or one of its containers, uses of a resource; without a pod, what all pods of the node use.
func (s *scrape) Usage(pod *corev1.Pod, resource, container string) (float64, error) {
	if pod == nil {
		sum := 0.0
		for _, p := range s.pods {
			n, err := s.Usage(p.Pod, resource, "")
			if err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, nil
	}
	if container == "" {
		sum := 0.0
		for i := range pod.Spec.Containers {
			n, err := s.ofContainer(pod, &pod.Spec.Containers[i], resource)
			if err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, nil
	}
	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == container })
	if i < 0 {
		return 0, fmt.Errorf("pod %s/%s has no container %q", pod.Namespace, pod.Name, container)
	}
	return s.ofContainer(pod, &pod.Spec.Containers[i], resource)
}

// errCircle is the fault of a usage that is what it asks for itself.
var errCircle = errors.New("usage is defined by itself")

// ofContainer finds the usage of a container once in a scrape. What nobody defined, or fails, counts nothing.
func (s *scrape) ofContainer(pod *corev1.Pod, c *corev1.Container, resource string) (float64, error) {
	key := usageKey{pod, c.Name, resource}
	if n, ok := s.usages[key]; ok {
		if n == nil {
			return 0, errCircle
		}
		return *n, nil
	}
	s.usages[key] = nil // it is being found
	n, err := s.find(pod, c, resource)
	if err != nil {
		s.m.complain(fmt.Sprintf("usage of %s by pod %s/%s, container %s", resource, pod.Namespace, pod.Name, c.Name), err)
	}
	s.usages[key] = &n
	return n, nil
}

func (s *scrape) find(pod *corev1.Pod, c *corev1.Container, resource string) (float64, error) {
	rule := s.set.usages.Find(pod.Namespace, pod.Name, c.Name)
	if rule == nil {
		return 0, errors.New("no ResourceUsage is for it")
	}
	a, ok := rule.by[resource]
	switch {
	case !ok:
		return 0, errors.New("its ResourceUsage does not name the resource")
	case a.cel == nil:
		return a.number, nil
	}
	return s.number(a.cel, pod, c)
}

// CumulativeUsage tells what was used until now, in unit-seconds, since somebody asked first.
func (s *scrape) CumulativeUsage(pod *corev1.Pod, resource, container string) (float64, error) {
	n, err := s.Usage(pod, resource, container)
	if err != nil {
		return 0, err
	}
	used := s.used
	if pod != nil {
		used = s.usedBy[pod]
	}
	return used.advance(container, resource, n, s.now), nil
}
