package kectl

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Resource is a kind of objects and where they are in etcd.
type Resource struct {
	Name       string   // plural
	Short      []string // also the singular
	Group      string   // empty: core
	Kind       string
	Namespaced bool
	custom     bool // defined by a CustomResourceDefinition
}

// builtIn lists the kinds that Kubernetes stores: plural, short names or -, API group or -, kind, and * for those in
// namespaces. The version that is stored is part of each value.
const builtIn = `
configmaps cm - ConfigMap *
endpoints ep - Endpoints *
events ev - Event *
limitranges limits - LimitRange *
namespaces ns - Namespace
nodes no - Node
persistentvolumeclaims pvc - PersistentVolumeClaim *
persistentvolumes pv - PersistentVolume
pods po - Pod *
podtemplates - - PodTemplate *
replicationcontrollers rc - ReplicationController *
resourcequotas quota - ResourceQuota *
secrets - - Secret *
serviceaccounts sa - ServiceAccount *
services svc - Service *
mutatingadmissionpolicies - admissionregistration.k8s.io MutatingAdmissionPolicy
mutatingadmissionpolicybindings - admissionregistration.k8s.io MutatingAdmissionPolicyBinding
mutatingwebhookconfigurations - admissionregistration.k8s.io MutatingWebhookConfiguration
validatingadmissionpolicies - admissionregistration.k8s.io ValidatingAdmissionPolicy
validatingadmissionpolicybindings - admissionregistration.k8s.io ValidatingAdmissionPolicyBinding
validatingwebhookconfigurations - admissionregistration.k8s.io ValidatingWebhookConfiguration
customresourcedefinitions crd,crds apiextensions.k8s.io CustomResourceDefinition
apiservices - apiregistration.k8s.io APIService
controllerrevisions - apps ControllerRevision *
daemonsets ds apps DaemonSet *
deployments deploy apps Deployment *
replicasets rs apps ReplicaSet *
statefulsets sts apps StatefulSet *
horizontalpodautoscalers hpa autoscaling HorizontalPodAutoscaler *
cronjobs cj batch CronJob *
jobs - batch Job *
certificatesigningrequests csr certificates.k8s.io CertificateSigningRequest
leases - coordination.k8s.io Lease *
endpointslices - discovery.k8s.io EndpointSlice *
events ev events.k8s.io Event *
flowschemas - flowcontrol.apiserver.k8s.io FlowSchema
prioritylevelconfigurations - flowcontrol.apiserver.k8s.io PriorityLevelConfiguration
ingressclasses - networking.k8s.io IngressClass
ingresses ing networking.k8s.io Ingress *
ipaddresses ip networking.k8s.io IPAddress
networkpolicies netpol networking.k8s.io NetworkPolicy *
servicecidrs - networking.k8s.io ServiceCIDR
runtimeclasses - node.k8s.io RuntimeClass
poddisruptionbudgets pdb policy PodDisruptionBudget *
clusterrolebindings - rbac.authorization.k8s.io ClusterRoleBinding
clusterroles - rbac.authorization.k8s.io ClusterRole
rolebindings - rbac.authorization.k8s.io RoleBinding *
roles - rbac.authorization.k8s.io Role *
deviceclasses - resource.k8s.io DeviceClass
resourceclaims - resource.k8s.io ResourceClaim *
resourceclaimtemplates - resource.k8s.io ResourceClaimTemplate *
resourceslices - resource.k8s.io ResourceSlice
priorityclasses pc scheduling.k8s.io PriorityClass
csidrivers - storage.k8s.io CSIDriver
csinodes - storage.k8s.io CSINode
csistoragecapacities - storage.k8s.io CSIStorageCapacity *
storageclasses sc storage.k8s.io StorageClass
volumeattachments - storage.k8s.io VolumeAttachment
volumeattributesclasses vac storage.k8s.io VolumeAttributesClass
`

func builtInResources() []Resource {
	var all []Resource
	for line := range strings.Lines(strings.TrimSpace(builtIn)) {
		f := strings.Fields(line)
		r := Resource{Name: f[0], Kind: f[3], Namespaced: len(f) == 5, Short: []string{strings.ToLower(f[3])}}
		if f[1] != "-" {
			r.Short = append(r.Short, strings.Split(f[1], ",")...)
		}
		if f[2] != "-" {
			r.Group = f[2]
		}
		all = append(all, r)
	}
	return all
}

// dir is the directory of a resource in etcd, below the prefix.
func (r Resource) dir() string {
	switch {
	case r.custom, r.Group == "apiextensions.k8s.io", r.Group == "apiregistration.k8s.io":
		return r.Group + "/" + r.Name
	}
	switch r.Name { // named before the API had its names
	case "nodes":
		return "minions"
	case "services":
		return "services/specs"
	case "endpoints":
		return "services/endpoints"
	case "replicationcontrollers":
		return "controllers"
	case "ingresses":
		return "ingress"
	}
	return r.Name
}

// key is the key of an object, below the prefix.
func (r Resource) key(namespace, name string) string {
	if !r.Namespaced {
		namespace = ""
	}
	return path.Join(r.dir(), namespace, name)
}

// resources are all there are: the built-in ones, then those whose definitions are in etcd.
func (s *Store) resources(ctx context.Context) ([]Resource, error) {
	if s.known != nil {
		return s.known, nil
	}
	all := builtInResources()
	err := s.scan(ctx, s.at("apiextensions.k8s.io/customresourcedefinitions/"), false, func(kv pair) error {
		var crd struct {
			Spec struct {
				Group, Scope string
				Names        struct {
					Plural, Singular, Kind string
					ShortNames             []string
				}
			}
		}
		if err := json.Unmarshal(kv.value, &crd); err != nil {
			return fmt.Errorf("read %s: %w", kv.key, err)
		}
		n := crd.Spec.Names
		all = append(all, Resource{Name: n.Plural, Short: append([]string{n.Singular, strings.ToLower(n.Kind)}, n.ShortNames...),
			Group: crd.Spec.Group, Kind: n.Kind, Namespaced: crd.Spec.Scope == "Namespaced", custom: true})
		return nil
	})
	if err == nil {
		s.known = all
	}
	return all, err
}

// find finds a resource by its plural, singular or short name, which .group may follow.
func (s *Store) find(ctx context.Context, name string) (Resource, error) {
	all, err := s.resources(ctx)
	if err != nil {
		return Resource{}, err
	}
	plain, group, grouped := strings.Cut(strings.ToLower(name), ".")
	for _, r := range all {
		if (r.Name == plain || slices.Contains(r.Short, plain)) && (!grouped || r.Group == group) {
			return r, nil
		}
	}
	return Resource{}, fmt.Errorf("no resource %q: neither built in nor defined in this cluster", name)
}

// ofKind finds the resource of an object.
func (s *Store) ofKind(ctx context.Context, apiVersion, kind string) (Resource, error) {
	all, err := s.resources(ctx)
	if err != nil {
		return Resource{}, err
	}
	group, _, grouped := strings.Cut(apiVersion, "/")
	if !grouped {
		group = ""
	}
	for _, r := range all {
		if r.Kind == kind && r.Group == group {
			return r, nil
		}
	}
	return Resource{}, fmt.Errorf("no kind %s of %s: neither built in nor defined in this cluster", kind, apiVersion)
}
