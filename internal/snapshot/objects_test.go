package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// server is an API server with a few kinds; more answers further paths.
func server(t *testing.T, more map[string]string) *Kinds {
	t.Helper()
	verbs := `"verbs":["list","create"]`
	answers := map[string]string{
		"/apis": `{"groups":[
			{"name":"apps","versions":[{"groupVersion":"apps/v1"},{"groupVersion":"apps/v1beta1"}],"preferredVersion":{"groupVersion":"apps/v1"}},
			{"name":"events.k8s.io","versions":[{"groupVersion":"events.k8s.io/v1"}],"preferredVersion":{"groupVersion":"events.k8s.io/v1"}},
			{"name":"apiextensions.k8s.io","versions":[{"groupVersion":"apiextensions.k8s.io/v1"}],"preferredVersion":{"groupVersion":"apiextensions.k8s.io/v1"}},
			{"name":"networking.k8s.io","versions":[{"groupVersion":"networking.k8s.io/v1"}],"preferredVersion":{"groupVersion":"networking.k8s.io/v1"}},
			{"name":"example.com","versions":[{"groupVersion":"example.com/v1"}],"preferredVersion":{"groupVersion":"example.com/v1"}}]}`,
		"/api/v1": fmt.Sprintf(`{"resources":[{"name":"pods","singularName":"pod","shortNames":["po"],"kind":"Pod","namespaced":true,%[1]s},
			{"name":"pods/status","kind":"Pod","namespaced":true,"verbs":["get"]},{"name":"componentstatuses","kind":"ComponentStatus","verbs":["list"]},
			{"name":"nodes","kind":"Node",%[1]s},{"name":"namespaces","kind":"Namespace",%[1]s},{"name":"services","kind":"Service","namespaced":true,%[1]s},
			{"name":"endpoints","kind":"Endpoints","namespaced":true,%[1]s},{"name":"events","kind":"Event","namespaced":true,%[1]s},
			{"name":"secrets","kind":"Secret","namespaced":true,%[1]s},{"name":"replicationcontrollers","kind":"ReplicationController","namespaced":true,%[1]s},
			{"name":"configmaps","kind":"ConfigMap","namespaced":true,"shortNames":["cm"],%[1]s}]}`, verbs),
		"/apis/apps/v1":                 fmt.Sprintf(`{"resources":[{"name":"deployments","kind":"Deployment","namespaced":true,%s}]}`, verbs),
		"/apis/apps/v1beta1":            fmt.Sprintf(`{"resources":[{"name":"deployments","kind":"Deployment","namespaced":true,%s}]}`, verbs),
		"/apis/events.k8s.io/v1":        fmt.Sprintf(`{"resources":[{"name":"events","kind":"Event","namespaced":true,%s}]}`, verbs),
		"/apis/apiextensions.k8s.io/v1": fmt.Sprintf(`{"resources":[{"name":"customresourcedefinitions","shortNames":["crd"],"kind":"CustomResourceDefinition",%s}]}`, verbs),
		"/apis/networking.k8s.io/v1":    fmt.Sprintf(`{"resources":[{"name":"ingresses","kind":"Ingress","namespaced":true,%s}]}`, verbs),
		"/apis/example.com/v1":          fmt.Sprintf(`{"resources":[{"name":"shops","kind":"Shop","namespaced":true,%s}]}`, verbs),
		definitions:                     `{"items":[{"metadata":{"name":"shops.example.com"}}]}`,
	}
	for path, text := range more {
		answers[path] = text
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch text, ok := answers[r.URL.Path]; {
		case ok && text == "forbidden":
			http.Error(w, `{"kind":"Status","message":"no","reason":"Forbidden"}`, http.StatusForbidden)
		case ok:
			_, _ = io.WriteString(w, text)
		case strings.Contains(r.URL.RawQuery, "limit="):
			_, _ = io.WriteString(w, `{"metadata":{"resourceVersion":"7"},"items":[]}`)
		default:
			http.Error(w, `{"kind":"Status","message":"not there","reason":"NotFound"}`, http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	kinds, err := Discover(t.Context(), &rest.Config{Host: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return kinds
}

func TestKinds(t *testing.T) {
	t.Parallel()
	k := server(t, nil)
	names := func(filters ...string) string {
		chosen, err := k.Choose(filters)
		if err != nil {
			return err.Error()
		}
		var list []string
		for _, kind := range chosen {
			list = append(list, kind.String())
		}
		return strings.Join(list, " ")
	}
	for filters, want := range map[string]string{
		"": "customresourcedefinitions.apiextensions.k8s.io namespaces nodes shops.example.com secrets configmaps ingresses.networking.k8s.io " +
			"deployments.apps replicationcontrollers pods services endpoints",
		"pod": "pods", "po,pods,Pod": "pods", "deployment.apps": "deployments.apps", "deployments.v1.apps,cm": "configmaps deployments.apps",
		"event": "events", "events.events.k8s.io": "events.events.k8s.io", "pods.v1": "pods", "nodes,crd": "customresourcedefinitions.apiextensions.k8s.io nodes",
	} {
		var list []string
		if filters != "" {
			list = strings.Split(filters, ",")
		}
		if got := names(list...); got != want {
			t.Errorf("%q: %s\nwant %s", filters, got, want)
		}
	}
	if got := names("pod.apps"); !strings.Contains(got, `filter "pod.apps"`) {
		t.Error(got)
	}
	for id, want := range map[string]string{
		"pods": "/pods/n/x", "nodes": "/minions/x", "services": "/services/specs/n/x",
		"endpoints": "/services/endpoints/n/x", "ingresses.networking.k8s.io": "/ingress/n/x",
		"replicationcontrollers": "/controllers/n/x", "deployments.apps": "/deployments/n/x",
		"shops.example.com": "/example.com/shops/n/x",
		"customresourcedefinitions.apiextensions.k8s.io": "/apiextensions.k8s.io/customresourcedefinitions/x",
	} {
		for _, kind := range k.all {
			if kind.String() == id && k.key(kind, "n", "x") != want {
				t.Errorf("%s is at %s, want %s", id, k.key(kind, "n", "x"), want)
			}
		}
	}
}

const shopKind = `---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: toys.example.com, uid: u-toys}
spec: {group: example.com, scope: Namespaced, names: {plural: toys, kind: Toy}, versions: [{name: v2, served: true}, {name: v1, served: false}]}
`

func TestCheckObjects(t *testing.T) {
	t.Parallel()
	object := func(kind, name, more string) string {
		return fmt.Sprintf("---\n{apiVersion: v1, kind: %s, metadata: {name: %q, uid: u-%s%s}}\n", kind, name, name, more)
	}
	owner := func(name string) string {
		return fmt.Sprintf(", ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: %s, uid: u-%s}]", name, name)
	}
	toy := "---\n{apiVersion: example.com/v2, kind: Toy, metadata: {name: t, namespace: shop, uid: u-t}}\n"
	for name, tt := range map[string]struct {
		in     string
		filter Filter
		count  int
		err    string
	}{
		"some":                {object("Pod", "a", "") + object("Node", "n", ""), Filter{}, 2, ""},
		"of a kind":           {object("Pod", "a", "") + object("Node", "n", ""), Filter{Kinds: []string{"no", "pod"}}, 1, ""},
		"of a namespace":      {object("Pod", "a", "") + object("Pod", "b", ", namespace: x") + object("Namespace", "x", "") + object("Node", "n", ""), Filter{Namespaces: []string{"x"}}, 2, ""},
		"of a label":          {object("Pod", "a", ", labels: {a: b}") + object("Pod", "b", ""), Filter{Labels: labels.SelectorFromSet(labels.Set{"a": "b"})}, 1, ""},
		"none":                {object("Pod", "a", ""), Filter{Kinds: []string{"node"}}, 0, "no objects"},
		"custom":              {shopKind + toy, Filter{}, 2, ""},
		"custom before":       {toy + shopKind, Filter{}, 2, ""},
		"custom, not served":  {shopKind + strings.Replace(toy, "v2", "v1", 1), Filter{}, 0, "1 of kind Toy of example.com/v1, which the API server does not have, from line 6 on"},
		"unknown":             {toy, Filter{}, 0, "unknown kinds: 1 of kind Toy"},
		"unknown, ignored":    {toy + object("Pod", "a", ""), Filter{IgnoreUnknown: true}, 1, ""},
		"definition, no name": {strings.Replace(shopKind, "toys.example.com", "x", 1), Filter{}, 0, "its name is not that"},
		"type":                {"---\n{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: {}}}\n", Filter{}, 0, "f: line 1: pod default/a: spec.containers: a JSON object, where a list is needed"},
		"type, ignored":       {"---\n{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: []}\n" + object("Pod", "b", ""), Filter{IgnoreErrors: true}, 1, ""},
		"scalar":              {"hello\n", Filter{IgnoreErrors: true}, 0, "no objects"},
		"text":                {"hello\n", Filter{}, 0, "document: a JSON string, where an object is needed"},
		"recording":           {object("Pod", "a", "") + "---\napiVersion: action.kwok.x-k8s.io/v1alpha1\nkind: ResourcePatch\n", Filter{IgnoreErrors: true, IgnoreUnknown: true}, 0, "line 3: it is a recording, which kwokctl snapshot replay plays"},
		"metadata":            {"metadata: []", Filter{}, 0, "not an object"},
		"no name":             {"apiVersion: v1\nkind: Pod\nmetadata: {}", Filter{}, 0, "no apiVersion, kind or metadata.name"},
		"no version":          {"apiVersion: a/b/c\nkind: Pod\nmetadata: {name: a}", Filter{}, 0, "no apiVersion"},
		"name":                {object("Pod", "a/b", ""), Filter{}, 0, "may not contain '/'"},
		"namespace":           {object("Pod", "a", ", namespace: ..") + "", Filter{}, 0, `namespace ".."`},
		"no namespace":        {object("Node", "a", ", namespace: x"), Filter{}, 0, "kind Node has no namespace"},
		"twice":               {object("Pod", "a", "") + object("Pod", "a", ", namespace: default"), Filter{}, 0, "line 3: pod default/a: it is in line 1 already"},
		"owned":               {object("ConfigMap", "a", "") + object("ConfigMap", "b", owner("a")) + object("ConfigMap", "c", owner("b")), Filter{}, 3, ""},
		"owns itself":         {object("ConfigMap", "a", owner("a")), Filter{}, 0, "line 1: the object owns itself"},
		"circle":              {object("ConfigMap", "a", owner("b")) + object("ConfigMap", "b", owner("c")) + object("ConfigMap", "c", owner("a")), Filter{}, 0, "owns itself"},
		"many problems":       {strings.Repeat("---\nkind: Pod\n", 20), Filter{}, 0, "and 19 more"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := CheckObjects(t.Context(), input(t, tt.in), server(t, nil), tt.filter, nil)
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
			if err == nil && o.Count != tt.count {
				t.Errorf("%d objects, want %d: %s", o.Count, tt.count, o)
			}
		})
	}
}

// TestOwners has an owner that the cluster has by another UID, and one that is nowhere.
func TestOwners(t *testing.T) {
	t.Parallel()
	kinds := server(t, map[string]string{
		"/apis/apps/v1/namespaces/default/deployments/web": `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","uid":"there"}}`,
		"/api/v1/namespaces/default":                       `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default","uid":"d"}}`,
	})
	o, err := CheckObjects(t.Context(), input(t, `
apiVersion: v1
kind: Pod
metadata:
  name: a
  uid: u
  ownerReferences:
  - {apiVersion: apps/v1, kind: Deployment, name: web, uid: old}
  - {apiVersion: apps/v1, kind: Deployment, name: none, uid: gone}
  - {apiVersion: example.com/v9, kind: What, name: none, uid: alien}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: elsewhere, uid: v, ownerReferences: [{apiVersion: v1, kind: Pod, name: a, uid: u}]}
`), kinds, Filter{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if o.Orphans != 2 || strings.Join(o.missing, " ") != "elsewhere" {
		t.Errorf("%d orphans, namespaces %q", o.Orphans, o.missing)
	}
	var m metav1.ObjectMeta
	for _, uid := range []types.UID{"old", "gone", "u", "alien"} {
		m.OwnerReferences = append(m.OwnerReferences, metav1.OwnerReference{UID: uid})
	}
	o.relink(&m)
	if refs := m.OwnerReferences; len(refs) != 2 || refs[0].UID != "there" || refs[1].UID != "u" {
		t.Errorf("owners: %v", refs)
	}
	for text, want := range map[string]string{
		`{"kind":"A","metadata":{"name":"a"}}`: `{"kind":"A","metadata":{"name":"a"}}`,
		`{"kind":"A","metadata":{"name":"a","ownerReferences":[{"kind":"B","name":"b","uid":"gone"},{"apiVersion":"v1","kind":"C","name":"c","uid":"u"}]}}`: `{"kind":"A","metadata":{"name":"a","ownerReferences":[{"apiVersion":"v1","kind":"C","name":"c","uid":"u"}]}}` + "\n",
	} {
		if got, err := o.relinked([]byte(text)); err != nil || string(got) != want {
			t.Errorf("%s became %s, %v", text, got, err)
		}
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	k := server(t, nil)
	for _, tt := range []struct{ kind, text, want string }{
		{"pods", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c"}]}}`, "k8s\x00"},
		{"shops.example.com", `{"apiVersion":"example.com/v1","kind":"Shop","metadata":{"name":"a"},"spec":{"n":1}}`, `{"apiVersion"`},
		{"customresourcedefinitions.apiextensions.k8s.io", `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"a"}}`, "{"},
	} {
		for _, kind := range k.all {
			if kind.String() != tt.kind {
				continue
			}
			o, err := decode(kind, []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if data, err := encode(o); err != nil || !bytes.HasPrefix(data, []byte(tt.want)) {
				t.Errorf("%s: %.40q %v", tt.kind, data, err)
			}
		}
	}
}

func TestNewer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		data, etcd string
		want       bool
	}{{"3.6.0", "", false}, {"3.7.0", "", true}, {"3.10.0", "v3.9.1", true}, {"4.0.0", "", true}, {"", "3.5.21", false}, {"3.6.0", "3.5.21-0", true}, {"3.5.0", "3.5.1", false}} {
		if got := newer(tt.data, tt.etcd); got != tt.want {
			t.Errorf("data of %q, etcd %q: newer %t", tt.data, tt.etcd, got)
		}
	}
}

func TestSaveObjects(t *testing.T) {
	t.Parallel()
	more := map[string]string{
		"/api/v1/nodes":      `{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"n","resourceVersion":"5","managedFields":[{}]},"spec":{"taints":[{"key":"k"}]}}]}`,
		"/api/v1/secrets":    `{"items":[{"metadata":{"name":"s","namespace":"x","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"hunter2"}},"data":{"p":"aHVudGVyMg=="}}]}`,
		"/api/v1/services":   `{"items":[{"metadata":{"name":"kubernetes","namespace":"default"}},{"metadata":{"name":"kubernetes","namespace":"x"}}]}`,
		"/api/v1/pods":       `{"items":[{"metadata":{"name":"p","namespace":"y"}}]}`,
		"/api/v1/namespaces": "forbidden",
		"/apis/apiextensions.k8s.io/v1/customresourcedefinitions": `{"items":[{"metadata":{"name":"shops.example.com"},"spec":{"conversion":{"strategy":"Webhook"}}}]}`,
	}
	save := func(more map[string]string, list List) (string, *Listed, error) {
		var b bytes.Buffer
		done, err := SaveObjects(t.Context(), server(t, more), list, &b, nil)
		return b.String(), done, err
	}
	text, done, err := save(more, List{Simulate: &Simulate{}})
	if err != nil || done.Objects != 5 || done.Revision != "7" || strings.Join(done.Missing, ", ") != "namespaces: forbidden" {
		t.Fatalf("%+v %v\n%s", done, err, text)
	}
	for _, word := range []string{"kwok.x-k8s.io/node: fake", "- key: k", "p: cmVwbGFjZWQ=", "strategy: None", markEnd + "5\n"} {
		if !strings.Contains(text, word) {
			t.Errorf("%q is missing", word)
		}
	}
	for _, word := range []string{"hunter2", "aHVudGVyMg==", "namespace: default", "resourceVersion", "managedFields"} {
		if strings.Contains(text, word) {
			t.Errorf("%q is there", word)
		}
	}
	if text, _, _ := save(more, List{Simulate: &Simulate{Secrets: true}, Filter: Filter{Kinds: []string{"secret", "secrets"}}}); !strings.Contains(text, "aHVudGVyMg==") {
		t.Errorf("secrets are not kept:\n%s", text)
	}
	if _, _, err := save(more, List{}); err == nil || !strings.Contains(err.Error(), "list namespaces") {
		t.Errorf("a save that must not read all: %v", err)
	}
	more["/api/v1/namespaces"] = `{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"y"}},{"metadata":{"name":"z"}}]}`
	text, done, err = save(more, List{Filter: Filter{Namespaces: []string{"y", "w"}}})
	if err != nil || done.Objects != 2 || !strings.Contains(text, "name: p\n") {
		t.Errorf("of a namespace: %+v %v\n%s", done, err, text)
	}
	if _, _, err := save(nil, List{Filter: Filter{Kinds: []string{"pod"}}}); err == nil || !strings.Contains(err.Error(), "there are none") {
		t.Errorf("nothing: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	kinds := server(t, more)
	cancel()
	if _, err := SaveObjects(ctx, kinds, List{}, io.Discard, nil); err == nil {
		t.Error("a save that was interrupted has succeeded")
	}
}
