package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	savedNodes = 5000
	savedPods  = 50000
)

// BenchmarkSnapshot measures saving and restoring a large cluster, in both formats, beside what nobody could do
// without: copying the data, listing the objects, making them, starting on them. It takes about five minutes.
func BenchmarkSnapshot(b *testing.B) {
	for range b.N {
		printRows(benchSnapshot(b))
	}
}

func benchSnapshot(b *testing.B) []row {
	const objects = savedNodes + savedPods + 1
	w := newWorld(b)
	made, db, yaml := filepath.Join(w.home, "made.yaml"), filepath.Join(w.home, "s.db"), filepath.Join(w.home, "s.yaml")
	writeLarge(b, made)
	w.create("large")
	l := &lab{w, b, "large", w.client("large")}
	api := 1000 / l.createPods(1000).Seconds()

	restored, restoreMemory := w.measured("snapshot", "restore", "--name", "large", "--path", made)
	watchUntil(b, l.client.CoordinationV1().RESTClient(), "leases", savedNodes, func(runtime.Object) bool { return true }) // kwok has taken the nodes

	etcdSave, _ := w.measured("snapshot", "save", "--name", "large", "--path", db)
	copied := copyFile(b, filepath.Join(w.cluster("large"), "etcd", "member", "snap", "db"), filepath.Join(w.home, "copy"))
	size := len(read(db)) >> 20

	save, memory := w.measured("snapshot", "save", "--name", "large", "--format", "k8s", "--path", yaml)
	listed := l.listPods()

	etcdRestore, _ := w.measured("snapshot", "restore", "--name", "large", "--path", db)
	w.ok("stop", "cluster", "--name", "large")
	started, _ := w.measured("start", "cluster", "--name", "large", "--wait", "120s")

	rate := objects / restored.Seconds()
	return []row{
		{"etcd save", fmt.Sprintf("%.1f s, %d MB", etcdSave.Seconds(), size), "3 s", fmt.Sprintf("copying etcd's file: %.1f s (%.1f x)", copied.Seconds(), etcdSave.Seconds()/copied.Seconds())},
		{"etcd restore, until Ready", fmt.Sprintf("%.1f s", etcdRestore.Seconds()), "8 s", fmt.Sprintf("starting the cluster with these data: %.1f s (%.1f x)", started.Seconds(), etcdRestore.Seconds()/started.Seconds())},
		{"k8s save", fmt.Sprintf("%.1f s", save.Seconds()), "15 s", fmt.Sprintf("listing the pods as JSON: %.1f s (%.1f x)", listed.Seconds(), save.Seconds()/listed.Seconds())},
		{"k8s save, memory (VmHWM)", fmt.Sprintf("%d MB", memory), "300 MB", ""},
		{"k8s restore, until Ready", fmt.Sprintf("%.1f s, %.0f objects/s", restored.Seconds(), rate), "400 objects/s", fmt.Sprintf("creating pods through the API: %.0f/s (%.1f x)", api, rate/api)},
		{"k8s restore, memory (VmHWM)", fmt.Sprintf("%d MB", restoreMemory), "", ""},
	}
}

// measured runs kwokctl, however long it takes, and returns its time and the most memory it had, in MB.
func (w *world) measured(args ...string) (time.Duration, int) {
	w.t.Helper()
	r := w.begin(w.command(context.Background(), args...))
	done, peak := make(chan struct{}), make(chan int)
	go func() { // the kernel forgets it with the process
		kb := 0
		for {
			select {
			case <-done:
				peak <- kb >> 10
				return
			case <-time.After(20 * time.Millisecond):
				kb = max(kb, statusField(r.cmd.Process.Pid, "VmHWM"))
			}
		}
	}()
	res := r.wait()
	close(done)
	if res.code != 0 {
		w.t.Fatalf("kwokctl %s: exit status %d\n%s", strings.Join(args, " "), res.code, res.stderr)
	}
	return res.took, <-peak
}

// statusField is a number of /proc/PID/status, 0 when it is not there.
func statusField(pid int, field string) int {
	for line := range strings.Lines(read(fmt.Sprintf("/proc/%d/status", pid))) {
		if name, value, ok := strings.Cut(line, ":"); ok && name == field {
			n, _ := strconv.Atoi(strings.Fields(value)[0])
			return n
		}
	}
	return 0
}

// writeLarge writes a snapshot in YAML of nodes and of pods that run on them.
func writeLarge(b *testing.B, path string) {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	out := bufio.NewWriterSize(f, 1<<20)
	fmt.Fprint(out, "apiVersion: v1\nkind: Namespace\nmetadata: {name: load, uid: 00000000-0000-4000-8000-000000000000}\nspec: {finalizers: [kubernetes]}\n")
	for i := range savedNodes {
		fmt.Fprintf(out, largeNode, i)
	}
	for i := range savedPods {
		fmt.Fprintf(out, largePod, i, i%savedNodes)
	}
	if err := errors.Join(out.Flush(), f.Close()); err != nil {
		b.Fatal(err)
	}
}

const largeNode = `---
apiVersion: v1
kind: Node
metadata:
  name: node-%06[1]d
  uid: 00000000-0000-4000-8001-%012[1]x
  creationTimestamp: "2026-01-02T03:04:05Z"
  annotations: {kwok.x-k8s.io/node: fake, node.alpha.kubernetes.io/ttl: "0"}
  labels: {beta.kubernetes.io/arch: amd64, beta.kubernetes.io/os: linux, kubernetes.io/arch: amd64, kubernetes.io/hostname: node-%06[1]d, kubernetes.io/os: linux, type: kwok}
spec: {podCIDR: 10.0.0.0/24, podCIDRs: [10.0.0.0/24]}
status:
  addresses: [{address: 192.0.2.1, type: InternalIP}]
  allocatable: {cpu: "32", memory: 256Gi, pods: "110"}
  capacity: {cpu: "32", memory: 256Gi, pods: "110"}
  conditions:
  - {type: Ready, status: "True", reason: KubeletReady, message: kubelet is posting ready status, lastHeartbeatTime: "2026-01-02T03:04:05Z", lastTransitionTime: "2026-01-02T03:04:05Z"}
  - {type: MemoryPressure, status: "False", reason: KubeletHasSufficientMemory, message: kubelet has sufficient memory available, lastHeartbeatTime: "2026-01-02T03:04:05Z", lastTransitionTime: "2026-01-02T03:04:05Z"}
  - {type: DiskPressure, status: "False", reason: KubeletHasNoDiskPressure, message: kubelet has no disk pressure, lastHeartbeatTime: "2026-01-02T03:04:05Z", lastTransitionTime: "2026-01-02T03:04:05Z"}
  - {type: PIDPressure, status: "False", reason: KubeletHasSufficientPID, message: kubelet has sufficient PID available, lastHeartbeatTime: "2026-01-02T03:04:05Z", lastTransitionTime: "2026-01-02T03:04:05Z"}
  nodeInfo: {architecture: amd64, operatingSystem: linux, kubeletVersion: kwok, bootID: "", containerRuntimeVersion: "", kernelVersion: "", kubeProxyVersion: kwok, machineID: "", osImage: "", systemUUID: ""}
  phase: Running
`

const largePod = `---
apiVersion: v1
kind: Pod
metadata:
  name: web-6d4f8b7c9-%05[1]d
  generateName: web-6d4f8b7c9-
  namespace: load
  uid: 00000000-0000-4000-8002-%012[1]x
  creationTimestamp: "2026-01-02T03:04:05Z"
  labels: {app: web, pod-template-hash: 6d4f8b7c9}
spec:
  containers:
  - {name: web, image: "nginx:1.29", imagePullPolicy: IfNotPresent, resources: {requests: {cpu: 100m, memory: 64Mi}}, terminationMessagePath: /dev/termination-log, terminationMessagePolicy: File}
  dnsPolicy: ClusterFirst
  enableServiceLinks: true
  nodeName: node-%06[2]d
  preemptionPolicy: PreemptLowerPriority
  priority: 0
  restartPolicy: Always
  schedulerName: default-scheduler
  securityContext: {}
  serviceAccount: default
  serviceAccountName: default
  terminationGracePeriodSeconds: 30
  tolerations:
  - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 300}
  - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 300}
status:
  phase: Running
  qosClass: Burstable
  hostIP: 192.0.2.1
  hostIPs: [{ip: 192.0.2.1}]
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}]
  startTime: "2026-01-02T03:04:05Z"
  conditions:
  - {type: Initialized, status: "True", lastProbeTime: null, lastTransitionTime: "2026-01-02T03:04:05Z"}
  - {type: Ready, status: "True", lastProbeTime: null, lastTransitionTime: "2026-01-02T03:04:05Z"}
  - {type: ContainersReady, status: "True", lastProbeTime: null, lastTransitionTime: "2026-01-02T03:04:05Z"}
  - {type: PodScheduled, status: "True", lastProbeTime: null, lastTransitionTime: "2026-01-02T03:04:05Z"}
  containerStatuses:
  - {name: web, image: "nginx:1.29", imageID: "", ready: true, started: true, restartCount: 0, lastState: {}, state: {running: {startedAt: "2026-01-02T03:04:05Z"}}}
`

// createPods makes pods as any client does, deletes them, and returns how long it took to make them.
func (l *lab) createPods(n int) time.Duration {
	l.b.Helper()
	began := time.Now()
	l.write(n, func(ctx context.Context, i int) error {
		_, err := l.client.CoreV1().Pods("default").Create(ctx, benchPod("made", i), metav1.CreateOptions{})
		return err
	})
	took := time.Since(began)
	l.deletePods("made", n)
	return took
}

// listPods reads all pods as JSON and makes nothing of them.
func (l *lab) listPods() time.Duration {
	l.b.Helper()
	began := time.Now()
	list, err := l.client.CoreV1().RESTClient().Get().AbsPath("/api/v1/pods").SetHeader("Accept", "application/json").Stream(context.Background())
	if err != nil {
		l.b.Fatal(err)
	}
	defer list.Close()
	if _, err := io.Copy(io.Discard, list); err != nil {
		l.b.Fatal(err)
	}
	return time.Since(began)
}

// copyFile copies a file to the disk.
func copyFile(b *testing.B, from, to string) time.Duration {
	b.Helper()
	began := time.Now()
	in, err := os.Open(from)
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		b.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}
