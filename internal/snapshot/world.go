package snapshot

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// kept is an object as it is at a moment of a replay.
type kept struct {
	kind        Kind
	space, name string
	text        []byte // JSON; nil: it was deleted
}

// world is what a replay has made so far, by the key in etcd below its prefix.
type world struct {
	kinds *Kinds
	start time.Time
	kept  map[string]*kept
}

func newWorld(kinds *Kinds, start time.Time) *world {
	return &world{kinds: kinds, start: start, kept: map[string]*kept{}}
}

var errNotThere = errors.New("there is no such object to change")

// apply plays an entry and returns its key and what becomes of the object there, nil when it is deleted. Entries that
// are not to be played have no key.
func (w *world) apply(e *entry) (key string, now object, err error) {
	if ofServer(e) {
		return "", nil, nil
	}
	key = w.kinds.key(e.kind, e.space, e.name)
	if e.change != nil && e.change.Method == methodDelete {
		w.kept[key] = &kept{e.kind, e.space, e.name, nil}
		return key, nil, nil
	}
	text := []byte(e.object)
	if e.change != nil && e.change.Method == methodPatch {
		old := w.kept[key]
		if old == nil || old.text == nil {
			return "", nil, errNotThere
		}
		if text, err = patched(e.kind, old.text, e.object); err != nil {
			return "", nil, err
		}
	}
	if now, err = decode(e.kind, text); err != nil {
		return "", nil, err
	}
	now.SetName(e.name)
	now.SetNamespace(e.space)
	now.SetResourceVersion("")
	now.SetSelfLink("")
	if now.GetUID() == "" {
		now.SetUID(uuid.NewUUID())
	}
	if made := now.GetCreationTimestamp(); made.IsZero() {
		now.SetCreationTimestamp(metav1.NewTime(w.start))
	}
	if text, err = json.Marshal(now); err != nil {
		return "", nil, err
	}
	w.kept[key] = &kept{e.kind, e.space, e.name, text}
	return key, now, nil
}

// ofServer tells whether an API server makes an object by itself and for itself: that of another server would only be
// in the way.
func ofServer(e *entry) bool {
	switch e.kind.Group {
	case "flowcontrol.apiserver.k8s.io", "apiregistration.k8s.io":
		return true
	case "rbac.authorization.k8s.io":
		return strings.HasPrefix(e.name, "system:") || strings.HasPrefix(e.name, "kubeadm:")
	}
	switch e.kind.String() {
	case "services", "endpoints":
		return e.space == metav1.NamespaceDefault && e.name == "kubernetes"
	case "endpointslices.discovery.k8s.io":
		return e.space == metav1.NamespaceDefault && (e.name == "kubernetes" || strings.HasPrefix(e.name, "kubernetes-"))
	case "configmaps":
		return e.name == "kube-root-ca.crt" || e.space == metav1.NamespaceSystem && e.name == "extension-apiserver-authentication"
	case "ipaddresses.networking.k8s.io", "servicecidrs.networking.k8s.io":
		return true
	}
	return false
}
