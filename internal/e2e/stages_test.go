package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"kwokctl/runtimes/docker"
)

const widgetDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

// everyStep has every kind of step, for a kind that is defined later.
const everyStep = `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: widget-start}
spec:
  resourceRef: {apiGroup: example.com/v1, kind: Widget}
  selector:
    matchLabels: {play: "yes"}
    matchExpressions:
    - cel: {expression: "!has(self.status)"}
  weightFrom: {jq: {expression: .spec.weight}}
  delay:
    durationFrom: {cel: {expression: "duration(self.spec.wait)"}}
  steps:
  - event: {type: Normal, reason: Starting, message: widget starts}
  - finalizers: {add: [{value: example.com/hold}]}
  - apply:
      template: |
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: {{ .metadata.name }}-made, labels: {mark: me}}
        data: {from: {{ .metadata.uid }}}
  - patch: {type: json, root: spec, template: '[{op: add, path: /started, value: {{ Now | Quote }}}]'}
  - patch: {subresource: status, root: status, template: 'phase: Running'}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: widget-end}
spec:
  resourceRef: {apiGroup: example.com/v1, kind: Widget}
  selector:
    matchExpressions:
    - {key: .metadata.deletionTimestamp, operator: Exists}
  next: {finalizers: {empty: true}, delete: true}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: configmap-mark}
spec:
  resourceRef: {apiGroup: v1, kind: ConfigMap}
  selector: {matchLabels: {mark: me}}
  steps:
  - patch:
      type: strategic
      impersonation: {username: painter}
      template: 'data: {marked: "yes"}'
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: painter}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: painter}]
`

func TestStagesOfAnyKind(t *testing.T) { inProcessesAndContainers(t, testStagesOfAnyKind) }

func testStagesOfAnyKind(t *testing.T, w *world) {
	w.create("any", "--enable-crds", "Stage")
	w.apply("any", everyStep)
	ready := func(stage string) string {
		return w.kubectl("any", "get", "stage", stage, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].reason}`)
	}
	w.eventually(5*time.Second, "a Stage for a kind that is not there says so", func() bool { return ready("widget-start") == "KindNotFound" })
	w.apply("any", widgetDefinition)
	w.kubectl("any", "wait", "crd", "widgets.example.com", "--for", "condition=Established", "--timeout", "20s")
	w.apply("any", `{apiVersion: example.com/v1, kind: Widget, metadata: {name: a, labels: {play: "yes"}}, spec: {weight: "1", wait: 300ms}}`)
	get := func(path string) string { return w.kubectl("any", "get", "widget", "a", "-o", "jsonpath="+path) }
	w.eventually(5*time.Second, "the kind that came later is played", func() bool { return get("{.status.phase}") == "Running" })
	if got := get("{.metadata.finalizers[0]} {.spec.started}"); !strings.HasPrefix(got, "example.com/hold 20") {
		t.Errorf("finalizer and json patch: %q", got)
	}
	w.eventually(5*time.Second, "what the widget made is marked", func() bool {
		return w.kubectl("any", "get", "configmap", "a-made", "-o", "jsonpath={.data.from} {.data.marked}") == get("{.metadata.uid}")+" yes"
	})
	w.eventually(5*time.Second, "an Event tells of it", func() bool {
		return strings.Contains(w.kubectl("any", "get", "events", "--field-selector", "involvedObject.kind=Widget"), "widget starts")
	})
	if got := ready("widget-start"); got != "Playing" {
		t.Errorf("condition: %s", got)
	}
	w.kubectl("any", "delete", "widget", "a", "--timeout", "10s") // returns when it is gone
}

func TestStagesLive(t *testing.T) { inProcessesAndContainers(t, testStagesLive) }

func testStagesLive(t *testing.T, w *world) {
	w.create("live", "--enable-crds", "Stage")
	w.ok("scale", "node", "--replicas", fmt.Sprint(size(2, 10)), "--name", "live")
	w.kubectl("live", "create", "deployment", "web", "--image", "nginx", "--replicas", "10")
	w.kubectl("live", "wait", "deployment", "web", "--for", "condition=Available", "--timeout", "60s") // built-in Stages

	const mark = `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: mark}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - {key: '.metadata.annotations["mark"]', operator: NotIn, values: [%[1]s]}
  steps: [{patch: {root: metadata, template: 'annotations: {mark: %[1]s}'}}]
`
	marked := func(want string) func() bool {
		return func() bool {
			got := w.kubectl("live", "get", "pods", "-o", "jsonpath={.items[*].metadata.annotations.mark}")
			return got == strings.TrimSpace(strings.Repeat(want+" ", 10))
		}
	}
	const promise = 2 * time.Second
	w.apply("live", fmt.Sprintf(mark, "one"))
	w.eventually(promise, "a new Stage takes effect on pods that are there", marked("one"))
	w.apply("live", fmt.Sprintf(mark, "two"))
	w.eventually(promise, "so does a change", marked("two"))
	w.apply("live", `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: broken}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector: {matchExpressions: [{cel: {expression: self.status.phase ==}}]}
`)
	w.eventually(promise, "a bad Stage has a condition that names the field", func() bool {
		return strings.HasPrefix(w.kubectl("live", "get", "stage", "broken", "-o", "jsonpath={.status.conditions[0].message}"),
			"stage broken: spec.selector.matchExpressions[0].cel")
	})
	w.eventually(promise, "and an Event", func() bool {
		return strings.Contains(w.kubectl("live", "get", "events", "--field-selector", "reason=StageSetAside"), "stage/broken")
	})
	w.kubectl("live", "annotate", "pods", "--all", "mark=none", "--overwrite")
	w.eventually(promise, "the others go on", marked("two"))
	bad := w.badStages("live")
	w.kubectl("live", "delete", "stage", "mark", "broken")
	pods := size(100, 1000)
	w.kubectl("live", "scale", "deployment", "web", "--replicas", fmt.Sprint(pods))
	w.allReady(2*time.Minute, "pods run in spite of them", "live", pods)
	w.eventually(promise, "each bad Stage has a condition", func() bool {
		out := w.kubectl("live", "get", "stages", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`)
		return strings.Count(out, "False") == bad
	})
	if c := w.components("live")["kwok-controller"]; c.Restarts > 0 {
		t.Errorf("the controller was restarted: %+v", c)
	}
	w.kubectl("live", "delete", "stages", "--all")
	w.kubectl("live", "scale", "deployment", "web", "--replicas", "12")
	w.kubectl("live", "wait", "deployment", "web", "--for", "jsonpath={.status.readyReplicas}=12", "--timeout", "30s")
}

// badStages makes Stages for pods that do not compile, five of each sort, and returns how many.
func (w *world) badStages(cluster string) (n int) {
	w.t.Helper()
	var manifest strings.Builder
	for _, spec := range []string{
		`selector: {matchExpressions: [{jq: {key: ".status[", operator: Exists}}]}`,
		`selector: {matchExpressions: [{jq: {key: .status.phase, operator: In}}]}`,
		`selector: {matchExpressions: [{cel: {expression: "self.status.phase =="}}]}`,
		`selector: {}, steps: [{patch: {template: "{{ .status "}}]`,
		`selector: {}, steps: [{patch: {template: "{{ NoSuchFunction }}"}}]`,
		`selector: {}, weightFrom: {jq: {expression: "["}}`,
		`selector: {}, delay: {durationFrom: {cel: {expression: "1 +"}}}`,
		`selector: {}, steps: [{apply: {template: "{{ end }}"}}]`, // one without a selector would turn the built-in ones off
	} {
		for range 5 {
			n++
			fmt.Fprintf(&manifest, "---\n{apiVersion: kwok.x-k8s.io/v1alpha1, kind: Stage, metadata: {name: bad-%d}, spec: {resourceRef: {kind: Pod}, %s}}\n", n, spec)
		}
	}
	w.apply(cluster, manifest.String())
	return n
}

// Stages in a file replace the built-in ones of their kind only, and may be of any kind.
func TestStagesPerKind(t *testing.T) { inProcessesAndContainers(t, testStagesPerKind) }

func testStagesPerKind(t *testing.T, w *world) {
	w.file("stages.yaml", `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: pod-slow}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector: {matchExpressions: [{cel: {expression: 'self.status.phase == "Pending" && self.spec.priorityClassName == ""'}}]}
  delay: {durationFrom: {cel: {expression: 'self.metadata.creationTimestamp + duration("3s")'}}}
  next: {statusTemplate: 'phase: Failed'}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: claim}
spec:
  resourceRef: {apiGroup: apps/v1, kind: ControllerRevision}
  selector: {}
  next: {patches: [{root: metadata, template: 'labels: {seen: "yes"}'}]}
`)
	w.create("kinds", "-c", "stages.yaml")
	w.ok("scale", "node", "--replicas", "1", "--name", "kinds")
	w.eventually(10*time.Second, "nodes keep the built-in Stages", func() bool {
		return strings.Contains(w.kubectl("kinds", "get", "nodes"), " Ready ")
	})
	w.kubectl("kinds", "run", "p", "--image", "nginx")
	w.kubectl("kinds", "wait", "pod", "p", "--for", "jsonpath={.status.phase}=Failed", "--timeout", "20s")
	w.apply("kinds", `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: d}
spec:
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}
`)
	w.eventually(10*time.Second, "a built-in kind other than pods is played", func() bool {
		return strings.Contains(w.kubectl("kinds", "get", "controllerrevisions", "-o", "jsonpath={.items[*].metadata.labels.seen}"), "yes")
	})
	if w.runtime != "" {
		return // what is in a container came there when it was made
	}
	stored := filepath.Join(w.cluster("kinds"), "kwok.yaml")
	text := read(stored)
	edited := strings.Replace(text, `seen: "yes"`, `seen: "again"`, 1)
	if err := os.WriteFile(stored, []byte(edited), 0o600); err != nil || edited == text {
		t.Fatal(err, text)
	}
	w.eventually(2*time.Second, "an edited file takes effect on what is there", func() bool {
		return strings.Contains(w.kubectl("kinds", "get", "controllerrevisions", "-o", "jsonpath={.items[*].metadata.labels.seen}"), "again")
	})
}

// file writes a file into the directory that commands run in.
func (w *world) file(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.home, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// signal sends a signal to a process of this world.
func (w *world) signal(pid int, sig syscall.Signal) {
	w.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		w.t.Fatalf("signal %d: %v", pid, err)
	}
}

// kwok runs a controller of its own on all nodes of a cluster. It is stopped at the end of the test.
func (w *world) kwok(cluster string, args ...string) *running {
	w.t.Helper()
	program := filepath.Join(w.home, "kwok")
	if err := os.Symlink(self(w.t), program); err != nil && !os.IsExist(err) {
		w.t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"--manage-all-nodes", "--kubeconfig", filepath.Join(w.cluster(cluster), "kubeconfig.yaml")}, args...)...)
	cmd.Env, cmd.Dir = w.env, w.home
	r := w.begin(cmd)
	w.t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may have ended
	return r
}

// When nodes were lost, they and their pods are Ready again soon after the controller is back.
func TestFlapHeals(t *testing.T) { alone(t, testFlapHeals, "binary", docker.Docker) }

func testFlapHeals(t *testing.T, w *world) {
	nodes, pods := size(50, 1000), size(200, 5000)
	// The controller is our own: a supervisor would kill one that is frozen for a minute.
	options, duration := []string{"--heartbeat-factor", "1", "--disable", "kwok-controller"}, "40"
	if *soak == 0 { // all times a tenth
		duration = "4"
		options = append(options,
			"--extra-args", "kube-controller-manager=node-monitor-period=1s",
			"--extra-args", "kube-controller-manager=node-monitor-grace-period=6s")
	}
	w.create("flap", options...)
	controller := w.kwok("flap", "--node-lease-duration-seconds", duration).cmd.Process.Pid
	w.ok("scale", "node", "--replicas", fmt.Sprint(nodes), "--name", "flap")
	w.kubectl("flap", "create", "deployment", "web", "--image", "nginx", "--replicas", fmt.Sprint(pods))
	w.kubectl("flap", "wait", "deployment", "web", "--for", fmt.Sprintf("jsonpath={.status.readyReplicas}=%d", pods), "--timeout", fmt.Sprintf("%ds", size(60, 160)))
	client := w.client("flap").CoreV1()
	ready := func() (n, p int) {
		nodes, err1 := client.Nodes().List(t.Context(), metav1.ListOptions{ResourceVersion: "0"})
		pods, err2 := client.Pods("").List(t.Context(), metav1.ListOptions{ResourceVersion: "0"})
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		for i := range nodes.Items {
			if readyNode(&nodes.Items[i]) {
				n++
			}
		}
		for i := range pods.Items {
			if readyPod(&pods.Items[i]) {
				p++
			}
		}
		return n, p
	}
	w.signal(controller, syscall.SIGSTOP)
	frozen := time.Now().Add(time.Duration(size(0, 90)) * time.Second)
	w.eventually(150*time.Second, "without heartbeats all nodes are lost, and their pods not Ready", func() bool {
		time.Sleep(time.Duration(size(0, 1)) * time.Second) // looking takes processors from those that are looked at
		n, p := ready()
		return time.Now().After(frozen) && n == 0 && p == 0
	})
	w.signal(controller, syscall.SIGCONT)
	began := time.Now()
	watchUntil(t, client.RESTClient(), "nodes", nodes, readyNode)
	t.Logf("%d nodes Ready again after %s", nodes, time.Since(began).Round(100*time.Millisecond))
	watchUntil(t, client.RESTClient(), "pods", pods, func(o runtime.Object) bool { return readyPod(o.(*corev1.Pod)) })
	took := time.Since(began)
	if n, p := ready(); n != nodes || p != pods || took > 15*time.Second {
		t.Errorf("%d of %d nodes and %d of %d pods are Ready again after %s, allowed are 15 s", n, nodes, p, pods, took)
	}
	t.Logf("%d nodes and %d pods Ready again after %s", nodes, pods, took.Round(100*time.Millisecond))
}
