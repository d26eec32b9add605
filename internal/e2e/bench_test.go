package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	watchtools "k8s.io/client-go/tools/watch"
)

// row is a line of the table that make bench prints.
type row struct {
	what, got, goal, floor string
}

// BenchmarkLauncher measures what was promised of clusters, each figure beside its goal, and prints a table. It is not
// a timed test: nothing fails when a figure is missed.
func BenchmarkLauncher(b *testing.B) {
	for range b.N {
		var rows []row
		rows = append(rows, benchStart(b)...)
		rows = append(rows, benchScale(b)...)
		printRows(rows)
	}
}

func printRows(rows []row) {
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nmeasure\tgot\tgoal\tfloor or ratio")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.what, r.got, r.goal, r.floor)
	}
	t.Flush()
}

const rounds = 10

// benchStart measures create, stop, start and delete, and memory at rest. The floor of create is what the API
// server and etcd alone take in the same binary.
func benchStart(b *testing.B) []row {
	w := newWorld(b)
	var create, floor, stop, start, remove []time.Duration
	var memory int
	for i := range rounds {
		name := fmt.Sprintf("bench-%d", i)
		floor = append(floor, w.timed("create", "cluster", "--name", "floor", "--components", "etcd,kube-apiserver"))
		w.ok("delete", "cluster", "--name", "floor")
		create = append(create, w.timed("create", "cluster", "--name", name, "--wait", "60s"))
		if i == 0 {
			time.Sleep(20 * time.Second) // memory at rest: the start has to be over
			memory = w.pss()
		}
		stop = append(stop, w.timed("stop", "cluster", "--name", name))
		start = append(start, w.timed("start", "cluster", "--name", name, "--wait", "60s"))
		remove = append(remove, w.timed("delete", "cluster", "--name", name))
	}
	ratio := fmt.Sprintf("etcd and API server alone: %s (%.2f x)", show(floor), float64(median(create))/float64(median(floor)))
	return []row{
		{"create cluster --wait", show(create), "1.8 s, aim 1.3 s", ratio},
		{"stop cluster", show(stop), "3 s", ""},
		{"start cluster --wait", show(start), "1.6 s", fmt.Sprintf("%.2f x create", float64(median(start))/float64(median(create)))},
		{"delete cluster", show(remove), "0.3 s", ""},
		{"memory of an idle cluster (PSS)", fmt.Sprintf("%d MB", memory), "330 MB", ""},
	}
}

// benchScale measures nodes and pods in numbers.
func benchScale(b *testing.B) []row {
	w := newWorld(b)
	w.create("scale")
	began := time.Now()
	w.ok("scale", "node", "--replicas", "1000", "--name", "scale")
	made := time.Since(began)
	client := w.client("scale")
	watchUntil(b, client.CoreV1().RESTClient(), "nodes", 1000, readyNode)
	nodes := time.Since(began)
	const pods = 10000
	took := w.deploy("scale", pods)
	return []row{
		{"scale node --replicas 1000, until Ready", fmt.Sprintf("%.1f s", nodes.Seconds()), "3 s", fmt.Sprintf("made after %.1f s", made.Seconds())},
		{"Deployment of 10,000 on 1,000 nodes", fmt.Sprintf("%.0f pods/s", pods/took.Seconds()), "110 pods/s", ""},
	}
}

// deploy makes a Deployment, and returns how long it takes until all its pods are Ready.
func (w *world) deploy(name string, pods int) time.Duration {
	w.t.Helper()
	began := time.Now()
	w.kubectl(name, "create", "deployment", "web", "--image", "nginx", "--replicas", strconv.Itoa(pods))
	watchUntil(w.t, w.client(name).AppsV1().RESTClient(), "deployments", 1, func(o runtime.Object) bool {
		return o.(*appsv1.Deployment).Status.ReadyReplicas == int32(pods)
	})
	return time.Since(began)
}

func readyNode(o runtime.Object) bool {
	return slices.ContainsFunc(o.(*corev1.Node).Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// client speaks protobuf to a cluster: a benchmark that asked in JSON, or with a kubectl every half second, would
// take a tenth of the processors that it measures.
func (w *world) client(name string) *kubernetes.Clientset {
	w.t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(w.cluster(name), "kubeconfig.yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	cfg.ContentType, cfg.QPS = runtime.ContentTypeProtobuf, -1
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

// watchUntil returns when want objects of a resource satisfy done.
func watchUntil(t testing.TB, c cache.Getter, resource string, want int, done func(runtime.Object) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	satisfied := map[types.UID]bool{}
	list := cache.NewListWatchFromClient(c, resource, metav1.NamespaceAll, fields.Everything())
	_, err := watchtools.UntilWithSync(ctx, list, nil, nil, func(e watch.Event) (bool, error) {
		o, err := meta.Accessor(e.Object)
		if err != nil {
			return false, err
		}
		if done(e.Object) {
			satisfied[o.GetUID()] = true
		}
		return len(satisfied) == want, nil
	})
	if err != nil {
		t.Fatalf("%d of %d %s: %v", len(satisfied), want, resource, err)
	}
}

func (w *world) timed(args ...string) time.Duration {
	w.t.Helper()
	began := time.Now()
	w.ok(args...)
	return time.Since(began)
}

// pss is the proportional memory of all processes of this world, in MB.
func (w *world) pss() int {
	total := 0
	for pid := range w.processes() {
		for line := range strings.Lines(read(fmt.Sprintf("/proc/%d/smaps_rollup", pid))) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				n, _ := strconv.Atoi(f[1])
				total += n
			}
		}
	}
	return total >> 10
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}

func show(d []time.Duration) string {
	s := slices.Sorted(slices.Values(d))
	return fmt.Sprintf("%.2f s (%.2f–%.2f)", median(d).Seconds(), s[0].Seconds(), s[len(s)-1].Seconds())
}
