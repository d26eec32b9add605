package snapshot

import (
	"encoding/base64"
	"slices"
)

// Simulate turns the objects of a real cluster into those of a simulated one.
type Simulate struct {
	Secrets bool // keep the data of Secrets
}

// replaced stands for the data of a Secret.
const replaced = "replaced"

// leavesOut tells whether a kind does not belong into a simulation: what calls servers that are not there, and what
// the new cluster has of its own.
func (s *Simulate) leavesOut(kind Kind) bool {
	return slices.Contains([]string{"apiservices.apiregistration.k8s.io", "mutatingwebhookconfigurations.admissionregistration.k8s.io",
		"validatingwebhookconfigurations.admissionregistration.k8s.io", "certificatesigningrequests.certificates.k8s.io",
		"ipaddresses.networking.k8s.io", "servicecidrs.networking.k8s.io", "flowschemas.flowcontrol.apiserver.k8s.io",
		"prioritylevelconfigurations.flowcontrol.apiserver.k8s.io"}, kind.String())
}

// change makes an object one of a simulation; false: it has no place there.
func (s *Simulate) change(kind Kind, object, meta map[string]any) bool {
	annotations, _ := meta["annotations"].(map[string]any)
	switch kind.String() {
	case "nodes":
		if annotations == nil {
			annotations = map[string]any{}
			meta["annotations"] = annotations
		}
		annotations["kwok.x-k8s.io/node"] = "fake" // this is how the controller knows those it plays
	case "secrets":
		if s.Secrets {
			return true
		}
		delete(annotations, "kubectl.kubernetes.io/last-applied-configuration") // it holds the data too
		data, _ := object["data"].(map[string]any)
		for key := range data {
			data[key] = base64.StdEncoding.EncodeToString([]byte(replaced))
		}
	case "services", "endpoints", "endpointslices.discovery.k8s.io":
		// The API server's own: the new cluster has another address.
		labels, _ := meta["labels"].(map[string]any)
		return meta["namespace"] != "default" || meta["name"] != "kubernetes" && labels["kubernetes.io/service-name"] != "kubernetes"
	case "customresourcedefinitions.apiextensions.k8s.io":
		spec, _ := object["spec"].(map[string]any)
		if conversion, _ := spec["conversion"].(map[string]any); conversion["strategy"] == "Webhook" {
			spec["conversion"] = map[string]any{"strategy": "None"} // its server is not there
		}
	}
	return true
}
