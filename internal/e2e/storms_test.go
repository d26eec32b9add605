package e2e

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kwokctl/runtimes/docker"
)

// readyAfter is a Stage that makes pods of its name Ready so long after they are there.
func readyAfter(name string, delay time.Duration) string {
	return fmt.Sprintf(`---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: %[1]s}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchLabels: {pace: %[1]s}
    matchExpressions:
    - {key: .metadata.deletionTimestamp, operator: DoesNotExist}
    - {key: .status.podIP, operator: DoesNotExist}
  delay: {durationMilliseconds: %[2]d}
  next:
    statusTemplate: |
      phase: Running
      podIP: {{ PodIP | Quote }}
      conditions: [{type: Ready, status: "True", lastTransitionTime: {{ Now | Quote }}}]
`, name, delay.Milliseconds())
}

// TestStorms cuts the controller's line to the API server every two seconds, while others change pods whose Stage waits
// 50 times a second; then it takes the server away. Nothing is lost, and waiting pods wait as long as they should.
func TestStorms(t *testing.T) { alone(t, testStorms, "binary", docker.Docker) }

func testStorms(t *testing.T, w *world) {
	pods, waiting, outage := size(400, 10_000), 100, time.Duration(size(3, 10))*time.Second
	delay := time.Duration(size(6, 30)) * time.Second
	port := freePort(t)
	w.create("storm", "--disable", "kwok-controller", "--kube-apiserver-port", port)
	wire := newWire(t, "tcp", "127.0.0.1:"+port, "127.0.0.1:"+freePort(t))
	stages := filepath.Join(w.home, "stages.yaml")
	write(t, stages, readyAfter("slow", delay)+readyAfter("fast", 0))
	w.kwok("storm", "--master", "https://"+wire.at, "--config", stages)
	w.ok("scale", "node", "--replicas", fmt.Sprint(size(20, 200)), "--name", "storm")
	w.kubectl("storm", "wait", "node", "--all", "--for", "condition=Ready", "--timeout", "60s")

	text := ""
	for i := range waiting {
		text += fmt.Sprintf("---\n{apiVersion: v1, kind: Pod, metadata: {name: slow-%03d, labels: {pace: slow}}, spec: {nodeName: node-000000, containers: [{name: c, image: i}]}}\n", i)
	}
	w.apply("storm", text)
	client := w.client("storm").CoreV1().Pods("default")
	tick, cut := time.NewTicker(20*time.Millisecond), time.NewTicker(2*time.Second)
	defer tick.Stop()
	defer cut.Stop()
	foreign, cuts := 0, 0
	for end := time.After(delay - time.Second); end != nil; {
		select {
		case <-end:
			end = nil
		case <-cut.C:
			wire.cut()
			wire.mend()
			cuts++
		case <-tick.C:
			foreign++
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"foreign":"%d"}}}`, foreign)
			if _, err := client.Patch(t.Context(), fmt.Sprintf("slow-%03d", rand.IntN(waiting)), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.allReady(delay+30*time.Second, "all that waited are Ready", "storm", waiting)
	list, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	late := time.Duration(0)
	for _, p := range list.Items {
		took := p.Status.Conditions[0].LastTransitionTime.Sub(p.CreationTimestamp.Time) // both in whole seconds
		if late = max(late, took-delay); took < delay-time.Second || took > delay+4*time.Second {
			t.Errorf("%s was Ready after %s, not %s", p.Name, took, delay)
		}
	}
	t.Logf("%d changes by others, %d cuts: %d pods Ready after %s, the last %s late", foreign, cuts, waiting, delay, late)

	manifest := filepath.Join(w.home, "fast.yaml")
	write(t, manifest, fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: fast}, spec: {replicas: %d, selector: {matchLabels: {pace: fast}},
 template: {metadata: {labels: {pace: fast}}, spec: {containers: [{name: c, image: i}]}}}}`, pods))
	w.kubectl("storm", "apply", "-f", manifest)
	w.eventually(60*time.Second, "some pods are Ready", func() bool { return len(w.pods("storm")) > waiting+pods/10 })
	w.ok("stop", "component", "kube-apiserver", "--name", "storm")
	time.Sleep(outage)
	w.ok("start", "component", "kube-apiserver", "--name", "storm")
	w.allReady(60*time.Second+time.Duration(size(0, 240))*time.Second, "all pods are Ready", "storm", waiting+pods)
	w.addresses("storm", "10.0.0.0/8")
}
