package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"kwokctl/internal/api"
	"kwokctl/internal/kube"
	"kwokctl/internal/stage"
)

// kind is a row of loop.kinds.
type kind uint8

const (
	nodes kind = iota
	pods
	stageObjects      // Stages themselves, when they are read from the cluster
	memberLeases      // of the controllers that share the nodes with us
	classes           // StorageClasses, which templates may look at
	firstOther        // from here on, whatever else there are stages for
	maxKinds          = 250
	ruleObjects  kind = 255 // of the nodes' HTTP side, which the loop never sees
)

// player is what the loop knows of one kind.
type player struct {
	ref     api.ResourceRef
	where   kube.Resource
	stages  []*api.Stage // what life was made of
	life    *stage.Lifecycle
	synced  bool // its first epoch is complete
	missing bool // the API server does not have it (yet)
	refused error
	renew   chan struct{}
	stop    context.CancelFunc // ends its reader; nil: none is at work
}

func newPlayer(ref api.ResourceRef) *player {
	return &player{ref: ref, life: &stage.Lifecycle{}, renew: make(chan struct{}, 1)}
}

// ownPlayers are the kinds that every cluster has.
func ownPlayers() []*player {
	all := make([]*player, firstOther)
	for k, where := range map[kind]kube.Resource{
		nodes:        {APIVersion: "v1", Plural: "nodes"},
		pods:         {APIVersion: "v1", Plural: "pods", Namespaced: true},
		stageObjects: {APIVersion: api.Version, Plural: "stages"},
		classes:      {APIVersion: "storage.k8s.io/v1", Plural: "storageclasses"},
		memberLeases: {APIVersion: "coordination.k8s.io/v1", Plural: "leases", Namespaced: true},
	} {
		all[k] = newPlayer(api.ResourceRef{APIGroup: where.APIVersion, Kind: [...]string{"Node", "Pod", "Stage", "Lease", "StorageClass"}[k]})
		all[k].where = where
	}
	return all
}

// path returns where an object lives, or the collection if name is empty.
func (p *player) path(namespace, name string) string {
	root := "/apis/" + p.where.APIVersion
	if p.where.APIVersion == "v1" {
		root = "/api/v1"
	}
	if p.where.Namespaced && namespace != "" {
		root += "/namespaces/" + namespace
	}
	root += "/" + p.where.Plural
	if name != "" {
		root += "/" + name
	}
	return root
}

// ask starts a new epoch of a kind.
func (p *player) ask() {
	select {
	case p.renew <- struct{}{}:
	default: // asked already
	}
}

// played reports whether stages are for the kind, other than those that we read for ourselves.
func (k kind) played() bool { return k < stageObjects || k >= firstOther }

// wire is the encoding in which objects of a kind travel: protobuf for the two that we know the types of.
func (k kind) json() bool { return k >= stageObjects }

// lane is where moves of a kind queue.
func (k kind) lane() lane {
	switch {
	case k.json():
		return custom
	case k == nodes:
		return vital
	}
	return normal
}

// decode reads an object without its managedFields.
func decode(k kind, raw []byte) (obj stage.Object, err error) {
	switch k {
	case pods:
		p := &corev1.Pod{}
		if err := p.Unmarshal(raw); err != nil {
			return nil, fmt.Errorf("decode pod: %w", err)
		}
		p.ManagedFields = nil
		obj = stage.NewPod(p)
	case nodes:
		n := &corev1.Node{}
		if err := n.Unmarshal(raw); err != nil {
			return nil, fmt.Errorf("decode node: %w", err)
		}
		n.ManagedFields = nil
		obj = stage.NewNode(n)
	default:
		t, err := stage.Decode(raw)
		if err != nil {
			return nil, fmt.Errorf("decode object: %w", err)
		}
		if meta, ok := t.Tree()["metadata"].(map[string]any); ok {
			delete(meta, "managedFields")
		}
		obj = t
	}
	return obj, nil
}
