package scale

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"kwokctl/internal/api"
)

// zoneLabel is where the scheduler looks for the zone of a node.
const zoneLabel = "topology.kubernetes.io/zone"

// ParsePool reads a pool as the --pool flag has it: name=gpu,replicas=3,zone=a/b/c,label=disk=ssd,
// taint=dedicated=gpu:NoSchedule,capacity=nvidia.com/gpu:8. What can be given more than once may be repeated.
func ParsePool(text string) (*api.NodePool, error) {
	p := &api.NodePool{Replicas: 1, Labels: map[string]string{}, Capacity: map[string]any{}}
	p.APIVersion, p.Kind = api.ConfigVersion, "NodePool"
	for _, part := range strings.Split(text, ",") {
		key, value, ok := strings.Cut(part, "=")
		err := errors.New("it is not key=value")
		if ok {
			err = setPool(p, key, value)
		}
		if err != nil {
			return nil, fmt.Errorf("pool %q: %q: %w", text, part, err)
		}
	}
	if p.Metadata.Name == "" {
		return nil, fmt.Errorf("pool %q: it has no name=", text)
	}
	return p, nil
}

func setPool(p *api.NodePool, key, value string) (err error) {
	switch key {
	case "name":
		p.Metadata.Name = value
	case "replicas":
		if p.Replicas, err = strconv.Atoi(value); err != nil {
			return errors.New("not a number")
		}
	case "zone":
		p.Zones = append(p.Zones, strings.Split(value, "/")...)
	case "label":
		name, value, ok := strings.Cut(value, "=")
		if !ok {
			return errors.New("a label is label=NAME=VALUE")
		}
		p.Labels[name] = value
	case "taint":
		p.Taints = append(p.Taints, value)
	case "capacity":
		name, amount, ok := strings.Cut(value, ":")
		if !ok {
			return errors.New("a capacity is capacity=RESOURCE:QUANTITY")
		}
		p.Capacity[name] = amount
	default:
		return errors.New("there are name, replicas, zone, label, taint and capacity")
	}
	return nil
}

// pool is a NodePool that was found to be good.
type pool struct {
	labels   map[string]string
	zones    []string
	taints   []any
	capacity map[string]any
}

// compilePool finds what no API server would accept, before any is asked. No pool is none.
func compilePool(p *api.NodePool) (*pool, error) {
	if p == nil {
		return nil, nil
	}
	c := &pool{labels: p.Labels, zones: p.Zones, capacity: map[string]any{}}
	bad := func(what, value, why string) (*pool, error) {
		return nil, fmt.Errorf("pool %s: %s %q: %s", p.Metadata.Name, what, value, why)
	}
	for _, zone := range p.Zones {
		if why := validation.IsValidLabelValue(zone); len(why) > 0 || zone == "" {
			return bad("zone", zone, strings.Join(append(why, "it must be the value of a label, and not empty"), "; "))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Labels)) {
		if why := append(validation.IsQualifiedName(name), validation.IsValidLabelValue(p.Labels[name])...); len(why) > 0 {
			return bad("label", name+"="+p.Labels[name], why[0])
		}
	}
	for _, text := range p.Taints {
		taint, why := parseTaint(text)
		if why != "" {
			return bad("taint", text, why)
		}
		c.taints = append(c.taints, taint)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Capacity)) {
		amount := fmt.Sprint(verbatim(p.Capacity[name]))
		if why := validation.IsQualifiedName(name); len(why) > 0 {
			return bad("capacity", name, why[0])
		}
		if q, err := resource.ParseQuantity(amount); err != nil || q.Sign() < 0 {
			return bad("capacity", name+":"+amount, "it must be a quantity, such as 8, 500m or 16Gi")
		}
		c.capacity[name] = amount
	}
	return c, nil
}

// parseTaint reads key=value:Effect or key:Effect.
func parseTaint(text string) (taint map[string]any, why string) {
	const form = "it must be key=value:NoSchedule, key=value:PreferNoSchedule or key=value:NoExecute"
	rest, effect, ok := strings.Cut(text, ":")
	if !ok || !slices.Contains([]string{"NoSchedule", "PreferNoSchedule", "NoExecute"}, effect) {
		return nil, form
	}
	key, value, _ := strings.Cut(rest, "=")
	if bad := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(bad) > 0 {
		return nil, bad[0]
	}
	taint = map[string]any{"key": key, "effect": effect}
	if value != "" {
		taint["value"] = value
	}
	return taint, ""
}

// apply gives the node with this serial number what its pool has.
func (p *pool) apply(node map[string]any, serial int) {
	if p == nil {
		return
	}
	labels := within(within(node, "metadata"), "labels")
	if len(p.zones) > 0 {
		labels[zoneLabel] = p.zones[serial%len(p.zones)]
	}
	for name, value := range p.labels {
		labels[name] = value
	}
	if len(p.taints) > 0 {
		spec := within(node, "spec")
		taints, _ := spec["taints"].([]any)
		spec["taints"] = append(slices.Clone(taints), p.taints...)
	}
	if len(p.capacity) > 0 {
		status := within(node, "status")
		maps.Copy(within(status, "capacity"), p.capacity)
		maps.Copy(within(status, "allocatable"), p.capacity)
	}
}
