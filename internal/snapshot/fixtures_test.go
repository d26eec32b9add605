package snapshot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	sjson "sigs.k8s.io/json"
)

// someKinds are those of a small API server.
func someKinds() *Kinds {
	k := &Kinds{byType: map[schema.GroupVersionKind]Kind{}, custom: map[string]bool{}}
	verbs := metav1.Verbs{"list", "create"}
	k.learn("v1", []metav1.APIResource{
		{Name: "nodes", Kind: "Node", Verbs: verbs}, {Name: "pods", Kind: "Pod", Namespaced: true, Verbs: verbs},
		{Name: "configmaps", Kind: "ConfigMap", Namespaced: true, Verbs: verbs}, {Name: "services", Kind: "Service", Namespaced: true, Verbs: verbs},
	})
	k.learn("apps/v1", []metav1.APIResource{{Name: "deployments", Kind: "Deployment", Namespaced: true, Verbs: verbs}, {Name: "controllerrevisions", Kind: "ControllerRevision", Namespaced: true, Verbs: verbs}})
	k.learn("policy/v1", []metav1.APIResource{{Name: "poddisruptionbudgets", Kind: "PodDisruptionBudget", Namespaced: true, Verbs: verbs}})
	k.learn("coordination.k8s.io/v1", []metav1.APIResource{{Name: "leases", Kind: "Lease", Namespaced: true, Verbs: verbs}})
	k.learn("apiextensions.k8s.io/v1", []metav1.APIResource{{Name: "customresourcedefinitions", Kind: "CustomResourceDefinition", Verbs: verbs}})
	return k
}

// input makes an Input of a text.
func input(t testing.TB, text string) *Input {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recording.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	in.Name = "f"
	t.Cleanup(func() { in.Close() })
	return in
}

func kindNamed(kinds *Kinds, resource string) Kind {
	for _, k := range kinds.byType {
		if k.String() == resource {
			return k
		}
	}
	panic("no kind " + resource)
}

func parseObject(t testing.TB, text string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := sjson.UnmarshalCaseSensitivePreserveInts([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func mustJSON(t testing.TB, text string) []byte {
	t.Helper()
	d, err := NewReader(strings.NewReader(text), "test").Next()
	if err != nil {
		t.Fatal(err)
	}
	return d.JSON
}
