package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// define makes a custom kind, name being plural.group, and waits until it is served.
func (w *world) define(cluster, name, kind string) {
	w.t.Helper()
	plural, group, _ := strings.Cut(name, ".")
	w.apply(cluster, fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %s}
spec:
  group: %s
  scope: Namespaced
  names: {plural: %s, singular: %s, kind: %s, listKind: %[5]sList}
  versions:
  - {name: v1, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`, name, group, plural, strings.ToLower(kind), kind))
	w.kubectl(cluster, "wait", "--for=condition=Established", "crd/"+name, "--timeout=60s")
}

// estate is something of everything: custom kinds, owners, status, texts that YAML has trouble with.
const estate = `
apiVersion: v1
kind: Namespace
metadata: {name: town, labels: {size: small}}
---
apiVersion: example.com/v1
kind: Shop
metadata: {name: corner, namespace: town, finalizers: [example.com/keep]}
spec: {open: "yes", text: "a\n b\n", number: 1.5, none: null, list: [[1], {}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: odd, namespace: town}
data: {a: "---\n# kwokctl snapshot ends, objects: 1\n", b: "\u0085\u2028 x", c: "no", d: "  lead\n\n"}
binaryData: {z: AAEC/w==}
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: town}
stringData: {password: hunter2}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: town, labels: {app: web}}
spec: {replicas: 5, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: nginx:1, ports: [{containerPort: 80}]}]}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: town}
spec: {serviceName: db, replicas: 2, selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: db}]}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: town}
spec: {selector: {matchLabels: {app: agent}}, template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: c, image: agent}]}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: town}
spec: {schedule: "0 3 1 1 *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: job}]}}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: town}
spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: c, image: job}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: town}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: town}
spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: town}
spec: {podSelector: {}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: town}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: town}
spec: {maxReplicas: 5, minReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /tmp}, claimRef: {namespace: town, name: disk}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk, namespace: town}
spec: {volumeName: disk, storageClassName: "", accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: old, namespace: town}
spec: {replicas: 1, selector: {app: old}, template: {metadata: {labels: {app: old}}, spec: {containers: [{name: c, image: old}]}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: town}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: vip}
value: 1000
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast}
provisioner: example.com/none
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: quota, namespace: town}
spec: {hard: {pods: "100"}}
`

// furnish makes the estate in a cluster and waits until nothing of it changes any more.
func (w *world) furnish(name string) map[string]string {
	w.t.Helper()
	w.ok("scale", "node", "--replicas", "3", "--name", name)
	w.define(name, "shops.example.com", "Shop")
	w.apply(name, estate)
	uid := w.kubectl(name, "get", "shop", "corner", "-n", "town", "-o", "jsonpath={.metadata.uid}")
	w.apply(name, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: owned, namespace: town, ownerReferences: [{apiVersion: example.com/v1, kind: Shop, name: corner, uid: %s}]}}`, uid))
	for _, what := range []string{"deployment/web", "statefulset/db", "daemonset/agent"} {
		w.kubectl(name, "rollout", "status", what, "-n", "town", "--timeout=60s")
	}
	w.kubectl(name, "wait", "--for=jsonpath={.status.phase}=Bound", "pvc/disk", "-n", "town", "--timeout=60s")
	last := w.state(name)
	w.eventually(60*time.Second, "the objects are at rest", func() bool {
		time.Sleep(2 * time.Second)
		before := last
		last = w.state(name)
		return len(differ(before, last)) == 0
	})
	return last
}

// state is every object of a cluster as text, but for events and leases.
func (w *world) state(name string) map[string]string {
	w.t.Helper()
	var kinds []string
	for _, kind := range strings.Fields(w.kubectl(name, "api-resources", "--verbs=list,create", "-o", "name")) {
		if !strings.HasPrefix(kind, "events") && !strings.HasPrefix(kind, "leases") {
			kinds = append(kinds, kind)
		}
	}
	var list struct{ Items []map[string]any }
	if err := json.Unmarshal([]byte(w.kubectl(name, "get", strings.Join(kinds, ","), "-A", "-o", "json")), &list); err != nil {
		w.t.Fatal(err)
	}
	all := map[string]string{}
	for _, o := range list.Items {
		meta := o["metadata"].(map[string]any)
		id := fmt.Sprint(o["kind"], " ", meta["namespace"], "/", meta["name"])
		if meta["name"] == "kube-root-ca.crt" || meta["name"] == "extension-apiserver-authentication" {
			delete(o, "data") // certificates are each cluster's own
			delete(meta, "resourceVersion")
		}
		text, _ := json.MarshalIndent(o, "", " ")
		all[id] = string(text)
	}
	return all
}

// unversioned takes the resource versions out of what state returned.
func unversioned(all map[string]string) map[string]string {
	without := map[string]string{}
	for id, text := range all {
		var lines []string
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, `  "resourceVersion":`) {
				lines = append(lines, line)
			}
		}
		without[id] = strings.Join(lines, "")
	}
	return without
}

func (w *world) same(what string, want, got map[string]string) {
	w.t.Helper()
	for _, id := range differ(want, got) {
		w.t.Errorf("%s: %s differs:\n%s", what, id, firstDifference(want[id], got[id]))
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return "- " + x[i] + "\n+ " + y[i]
		}
	}
	return fmt.Sprintf("- %.200s\n+ %.200s", a, b)
}
