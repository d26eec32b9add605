package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const claims = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 3
  serviceName: db
  selector: {matchLabels: {app: db}}
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Delete}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: a, image: i, volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`

// late is a class whose volumes are made when a pod needs them, and stay when their claim goes.
const late = `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: late}
provisioner: kwok.x-k8s.io/volume
reclaimPolicy: Retain
volumeBindingMode: WaitForFirstConsumer
mountOptions: [noatime]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: late}
spec: {storageClassName: late, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`

const consumer = `
apiVersion: v1
kind: Pod
metadata: {name: consumer}
spec:
  volumes: [{name: data, persistentVolumeClaim: {claimName: late}}]
  containers: [{name: a, image: i, volumeMounts: [{name: data, mountPath: /data}]}]
`

const daemons = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {hostNetwork: true, containers: [{name: a, image: i}]}
`

const jobs = `
apiVersion: batch/v1
kind: CronJob
metadata: {name: each-minute}
spec:
  schedule: "* * * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: i}]}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: batch}
spec:
  completions: 10
  parallelism: 4
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      initContainers: [{name: once, image: i}, {name: sidecar, image: i, restartPolicy: Always}]
      containers: [{name: a, image: i}]
`

const gated = `
apiVersion: v1
kind: Pod
metadata: {name: gated}
spec:
  readinessGates: [{conditionType: example.com/gate}]
  initContainers: [{name: once, image: i}, {name: sidecar, image: i, restartPolicy: Always}]
  containers: [{name: a, image: i}]
`

// TestWorkloads plays the kinds of workloads with the built-in stages: each must see what it would of kubelets.
func TestWorkloads(t *testing.T) { inProcessesAndContainers(t, testWorkloads) }

func testWorkloads(t *testing.T, w *world) {
	w.create("work")
	w.ok("scale", "node", "--replicas", "4", "--name", "work")
	for _, manifest := range []string{jobs, claims, late, daemons, gated} {
		w.apply("work", manifest)
	}
	t.Run("claims", func(t *testing.T) { w.in(t).claims() })
	t.Run("daemons", func(t *testing.T) { w.in(t).daemons() })
	t.Run("containers and gates", func(t *testing.T) { w.in(t).gates() })
	t.Run("jobs", func(t *testing.T) { w.in(t).jobs() })
}

func (w *world) claims() {
	w.kubectl("work", "rollout", "status", "statefulset", "db", "--timeout", "60s")
	if got := w.kubectl("work", "get", "pvc", "-l", "app=db", "-o", "jsonpath={.items[*].status.phase}"); got != "Bound Bound Bound" {
		w.t.Errorf("claims: %s", got)
	}
	w.kubectl("work", "delete", "statefulset", "db")
	w.eventually(60*time.Second, "claims and volumes go with the set", func() bool {
		return !strings.Contains(w.kubectl("work", "get", "pvc,pv", "-o", "name"), "data-db")
	})
	w.lateClaim()
}

func (w *world) lateClaim() {
	if got := w.kubectl("work", "get", "pvc,pv", "-o", "jsonpath={.items[*].status.phase}"); got != "Pending" {
		w.t.Errorf("claims and volumes before there is a pod: %s", got)
	}
	w.apply("work", consumer)
	w.kubectl("work", "wait", "pod", "consumer", "--for", "condition=Ready", "--timeout", "30s")
	if got := w.kubectl("work", "get", "pvc,pv", "-o", "jsonpath={.items[*].status.phase} {.items[1].spec.mountOptions}"); got != `Bound Bound ["noatime"]` {
		w.t.Errorf("claim and volume of the pod: %s", got)
	}
	w.kubectl("work", "delete", "pod", "consumer")
	w.kubectl("work", "delete", "pvc", "late", "--timeout", "30s")
	w.kubectl("work", "wait", "pv", "--all", "--for", "jsonpath={.status.phase}=Released", "--timeout", "30s")
	w.kubectl("work", "delete", "pv", "--all")
}

func (w *world) daemons() {
	ready := func(want string) func() bool {
		return func() bool {
			return w.kubectl("work", "get", "daemonset", "agent", "-o", "jsonpath={.status.numberReady}/{.status.desiredNumberScheduled}") == want
		}
	}
	w.eventually(30*time.Second, "a daemon on each node", ready("4/4"))
	w.ok("scale", "node", "--replicas", "6", "--name", "work")
	w.eventually(30*time.Second, "and on new nodes", ready("6/6"))
	ips := w.kubectl("work", "get", "pods", "-l", "app=agent", "-o", `jsonpath={range .items[*]}{.status.hostIP} {.status.podIP}{"\n"}{end}`)
	for line := range strings.Lines(ips) {
		if f := strings.Fields(line); len(f) != 2 || f[0] != f[1] {
			w.t.Errorf("a pod on the host network has the node's address: %q", line)
		}
	}
}

func (w *world) gates() {
	w.kubectl("work", "wait", "pod", "gated", "--for", "condition=Ready", "--timeout", "30s")
	p := w.pod("gated")
	if once := p.Status.InitContainerStatuses[0].State.Terminated; once == nil || once.ExitCode != 0 || once.Reason != "Completed" {
		w.t.Errorf("init container: %+v", p.Status.InitContainerStatuses[0])
	}
	if s := p.Status.InitContainerStatuses[1]; s.State.Running == nil || s.Started == nil || !*s.Started || !s.Ready {
		w.t.Errorf("sidecar: %+v", s)
	}
	for _, gate := range []string{"False", "True"} {
		w.kubectl("work", "patch", "pod", "gated", "--subresource", "status", "-p",
			fmt.Sprintf(`{"status":{"conditions":[{"type":"example.com/gate","status":%q}]}}`, gate))
		w.kubectl("work", "wait", "pod", "gated", "--for", "condition=Ready="+gate, "--timeout", "20s")
		for _, c := range w.pod("gated").Status.Conditions {
			if c.Type == corev1.ContainersReady && c.Status != corev1.ConditionTrue {
				w.t.Errorf("containers are not ready when the gate is %s", gate)
			}
			if c.Type == corev1.PodReady && (gate == "False") != (c.Reason == "ReadinessGatesNotReady") {
				w.t.Errorf("gate %s, reason %q", gate, c.Reason)
			}
		}
	}
}

func (w *world) pod(name string) *corev1.Pod {
	w.t.Helper()
	p, err := w.client("work").CoreV1().Pods("default").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) jobs() {
	w.kubectl("work", "wait", "job", "batch", "--for", "condition=Complete", "--timeout", "60s")
	list, err := w.client("work").CoreV1().Pods("default").List(context.Background(), metav1.ListOptions{LabelSelector: "job-name=batch"})
	if err != nil || len(list.Items) != 10 {
		w.t.Fatalf("%d pods, %v", len(list.Items), err)
	}
	for _, p := range list.Items {
		if p.Status.Phase != corev1.PodSucceeded || len(p.Finalizers) > 0 {
			w.t.Errorf("%s: %s, finalizers %v", p.Name, p.Status.Phase, p.Finalizers)
		}
		for _, s := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			if s.State.Terminated == nil || s.State.Terminated.ExitCode != 0 {
				w.t.Errorf("%s: container %s has not ended well: %+v", p.Name, s.Name, s.State)
			}
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && (c.Status != corev1.ConditionFalse || c.Reason != "PodCompleted") {
				w.t.Errorf("%s: Ready is %s, %s", p.Name, c.Status, c.Reason)
			}
		}
	}
	w.kubectl("work", "delete", "job", "batch")
	w.eventually(30*time.Second, "the pods go with the Job", func() bool {
		return w.kubectl("work", "get", "pods", "-l", "job-name=batch", "-o", "name") == ""
	})
	w.eventually(80*time.Second, "the CronJob's minute comes", func() bool {
		return strings.Contains(w.kubectl("work", "get", "jobs", "-o", "jsonpath={.items[*].status.conditions[*].type}"), "Complete")
	})
}
