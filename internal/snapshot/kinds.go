package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	sjson "sigs.k8s.io/json"

	"kwokctl/internal/kube"
)

// Kind is a kind of objects that an API server keeps.
type Kind struct {
	schema.GroupVersionKind
	Resource   string
	Namespaced bool
	names      []string // by which a filter may call it, without its group
}

func (k Kind) resource() kube.Resource {
	return kube.Resource{APIVersion: k.GroupVersion().String(), Plural: k.Resource, Namespaced: k.Namespaced}
}

// String is the kind as filters have it.
func (k Kind) String() string {
	return schema.GroupResource{Group: k.Group, Resource: k.Resource}.String()
}

// Kinds are the kinds of an API server.
type Kinds struct {
	client *kube.Client
	config *rest.Config
	all    []Kind // in each group the preferred version comes first
	byType map[schema.GroupVersionKind]Kind
	custom map[string]bool // "plural.group" of those that have a definition
	// Unread are groups that could not be asked for their kinds.
	Unread []string
}

// Discover asks an API server for the kinds of objects that can be listed and made. Others, such as metrics, are
// no state.
func Discover(ctx context.Context, config *rest.Config) (*Kinds, error) {
	client, err := kube.New(config)
	if err != nil {
		return nil, err
	}
	k := &Kinds{client: client, config: config, byType: map[schema.GroupVersionKind]Kind{}, custom: map[string]bool{}}
	var groups metav1.APIGroupList
	if err := k.get(ctx, "/apis", nil, &groups); err != nil {
		return nil, fmt.Errorf("find kinds: %w", err)
	}
	versions := []string{"v1"}
	for _, g := range groups.Groups {
		versions = append(versions, g.PreferredVersion.GroupVersion)
		for _, v := range g.Versions {
			if v.GroupVersion != g.PreferredVersion.GroupVersion {
				versions = append(versions, v.GroupVersion)
			}
		}
	}
	lists := make([]metav1.APIResourceList, len(versions))
	errs := make([]error, len(versions))
	var wg sync.WaitGroup
	for i, version := range versions {
		wg.Go(func() {
			path := "/apis/" + version
			if version == "v1" {
				path = "/api/v1"
			}
			errs[i] = k.get(ctx, path, nil, &lists[i])
		})
	}
	wg.Wait()
	for i, version := range versions {
		switch {
		case errs[i] == nil:
			k.learn(version, lists[i].APIResources)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		default: // an extension server may be away
			k.Unread = append(k.Unread, version)
		}
	}
	return k, k.findCustom(ctx)
}

// Names are the kinds as filters have them.
func (k *Kinds) Names() []string {
	var all []string
	for _, kind := range k.all {
		all = append(all, kind.String())
	}
	slices.Sort(all)
	return slices.Compact(all) // a kind may have several versions
}

func (k *Kinds) get(ctx context.Context, path string, query map[string][]string, into any) error {
	body, err := k.client.Do(ctx, kube.Request{Method: http.MethodGet, Path: path, Query: query})
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func (k *Kinds) learn(version string, resources []metav1.APIResource) {
	gv, err := schema.ParseGroupVersion(version)
	if err != nil {
		return // no kind of it could be named
	}
	for _, r := range resources {
		if strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "create") {
			continue
		}
		kind := Kind{GroupVersionKind: gv.WithKind(r.Kind), Resource: r.Name, Namespaced: r.Namespaced,
			names: append([]string{r.Name, r.SingularName, strings.ToLower(r.Kind)}, r.ShortNames...)}
		k.all = append(k.all, kind)
		k.byType[kind.GroupVersionKind] = kind
	}
}

// definition is what must be known of a CustomResourceDefinition.
type definition struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Group string `json:"group"`
		Scope string `json:"scope"`
		Names struct {
			Plural string `json:"plural"`
			Kind   string `json:"kind"`
		} `json:"names"`
		Versions []struct {
			Name   string `json:"name"`
			Served bool   `json:"served"`
		} `json:"versions"`
	} `json:"spec"`
}

const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

func (k *Kinds) findCustom(ctx context.Context) error {
	body, err := k.client.Do(ctx, kube.Request{Method: http.MethodGet, Path: definitions, Accept: kube.MetadataList})
	if apierrors.IsForbidden(err) {
		return nil // it matters only where objects are written
	}
	if err != nil {
		return fmt.Errorf("find custom kinds: %w", err)
	}
	var list metav1.PartialObjectMetadataList
	if err := json.Unmarshal(body, &list); err != nil {
		return fmt.Errorf("find custom kinds: %w", err)
	}
	for _, d := range list.Items {
		k.custom[d.Name] = true
	}
	return nil
}

// define adds the kinds of a definition that is about to be written.
func (k *Kinds) define(text []byte) error {
	var d definition
	if err := json.Unmarshal(text, &d); err != nil {
		return err
	}
	if d.Spec.Group == "" || d.Metadata.Name != d.Spec.Names.Plural+"."+d.Spec.Group {
		return errors.New("its name is not that of its plural and group")
	}
	k.custom[d.Metadata.Name] = true
	for _, v := range d.Spec.Versions {
		gvk := schema.GroupVersionKind{Group: d.Spec.Group, Version: v.Name, Kind: d.Spec.Names.Kind}
		if v.Served {
			k.byType[gvk] = Kind{GroupVersionKind: gvk, Resource: d.Spec.Names.Plural, Namespaced: d.Spec.Scope == "Namespaced",
				names: []string{d.Spec.Names.Plural, strings.ToLower(gvk.Kind)}}
		}
	}
	return nil
}

// key is where etcd has an object, below the prefix of all. The groups of the API server itself go without their name, but for the two that
// came as servers of their own.
func (k *Kinds) key(kind Kind, namespace, name string) string {
	at := kind.Resource
	switch id := kind.String(); {
	case k.custom[id], kind.Group == "apiextensions.k8s.io", kind.Group == "apiregistration.k8s.io":
		at = kind.Group + "/" + kind.Resource
	case id == "replicationcontrollers":
		at = "controllers"
	case id == "nodes":
		at = "minions"
	case id == "services":
		at = "services/specs"
	case id == "endpoints":
		at = "services/endpoints"
	case id == "ingresses.networking.k8s.io":
		at = "ingress"
	}
	if kind.Namespaced {
		at += "/" + namespace
	}
	return "/" + at + "/" + name
}

// matches tells whether a filter means this kind: resource, resource.group or resource.version.group, where the
// resource may also go by its other names.
func (k Kind) matches(filter string) bool {
	name, rest, dotted := strings.Cut(strings.ToLower(filter), ".")
	if !slices.Contains(k.names, name) {
		return false
	}
	return !dotted || rest == k.Group || rest == k.Version+"."+k.Group || k.Group == "" && rest == k.Version
}

// Choose returns the kinds that filters name, each in one version, or those of a snapshot by default: all but
// events and leases, which tell what happened and who lived, and are no state. An unknown name is an error.
func (k *Kinds) Choose(filters []string) ([]Kind, error) {
	var chosen []Kind
	has := map[string]bool{}
	add := func(kind Kind) {
		id := kind.String()
		if id == "events.events.k8s.io" {
			id = "events" // the same objects
		}
		if !has[id] {
			has[id] = true
			chosen = append(chosen, kind)
		}
	}
	for _, kind := range k.all {
		if len(filters) == 0 && kind.Resource != "events" && kind.Resource != "leases" {
			add(kind)
		}
	}
	for _, f := range filters {
		i := slices.IndexFunc(k.all, func(kind Kind) bool { return kind.matches(f) })
		if i < 0 {
			return nil, fmt.Errorf("filter %q: the API server has no such kind; kwokctl kubectl api-resources lists them", f)
		}
		add(k.all[i])
	}
	slices.SortStableFunc(chosen, func(a, b Kind) int { return k.rank(a) - k.rank(b) })
	return chosen, nil
}

// order is the order of kinds in a file: what others need or belong to comes first, and what acts on others last.
var order = strings.Fields(`customresourcedefinitions namespaces . priorityclasses runtimeclasses storageclasses nodes
	custom serviceaccounts secrets configmaps limitranges resourcequotas persistentvolumes persistentvolumeclaims
	clusterroles clusterrolebindings roles rolebindings : cronjobs jobs deployments replicationcontrollers replicasets daemonsets
	statefulsets pods services endpoints endpointslices apiservices mutatingadmissionpolicies mutatingadmissionpolicybindings
	validatingadmissionpolicies validatingadmissionpolicybindings mutatingwebhookconfigurations validatingwebhookconfigurations`)

func (k *Kinds) rank(kind Kind) int {
	name := kind.Resource
	switch {
	case k.custom[kind.String()]:
		name = "custom"
	case slices.Contains(order, name):
	case kind.Namespaced:
		name = ":"
	default:
		name = "."
	}
	return slices.Index(order, name)
}

// listing is the answer to a request for a list, or for a page of one.
type listing struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
		Continue        string `json:"continue"`
	} `json:"metadata"`
	Items []any `json:"items"`
}

// page asks for a page of the objects of one kind, and says how many bytes it had.
func (k *Kinds) page(ctx context.Context, kind Kind, namespace string, query url.Values) (list listing, size int, err error) {
	body, err := k.client.Do(ctx, kube.Request{Method: http.MethodGet, Path: kind.resource().Path(namespace, ""), Query: query})
	if err == nil {
		err = sjson.UnmarshalCaseSensitivePreserveInts(body, &list)
	}
	return list, len(body), err
}
