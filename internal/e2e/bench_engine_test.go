package e2e

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const (
	engine       = "kwok-controller"
	benchWriters = 16
	benchNodes   = 1000
	benchPods    = 20000
	largeNodes   = 5000
	largePods    = 150000
	catchPods    = 99000 // that are there when it catches up
)

// BenchmarkEngine measures the controller by the rows B1 to B12 of docs/engine.md, each beside its floor: a null
// controller of the test's own, which only watches bound pods and writes a fixed status.
func BenchmarkEngine(b *testing.B) {
	for range b.N {
		printRows(benchTransitions(b))
		printRows(benchLatency(b))
		printRows(benchNodesIdle(b))
	}
}

// lab is a cluster to measure the controller in: nobody else writes unless it says so.
type lab struct {
	*world
	b      *testing.B
	name   string
	client *kubernetes.Clientset
}

func newLab(b *testing.B, components string, more ...string) *lab {
	w := newWorld(b)
	w.create("lab", append([]string{"--components", components}, more...)...)
	return &lab{w, b, "lab", w.client("lab")}
}

// delete makes room for the next one: the rows are not to measure each other.
func (l *lab) delete() { l.ok("delete", "cluster", "--name", l.name) }

// makeNodes makes nodes and returns how long it took until all were Ready.
func (l *lab) makeNodes(n int) time.Duration {
	l.b.Helper()
	began := time.Now()
	l.ok("scale", "node", "--replicas", strconv.Itoa(n), "--name", l.name)
	watchUntil(l.b, l.client.CoreV1().RESTClient(), "nodes", n, readyNode)
	return time.Since(began)
}

// write calls do with 0 … n-1 from many writers at once.
func (l *lab) write(n int, do func(ctx context.Context, i int) error) {
	l.b.Helper()
	var wg sync.WaitGroup
	for w := range benchWriters {
		wg.Go(func() {
			for i := w; i < n; i += benchWriters {
				if err := do(context.Background(), i); err != nil {
					l.b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// makePods makes pods that are bound already.
func (l *lab) makePods(prefix string, n, nodes int) {
	l.b.Helper()
	l.write(n, func(ctx context.Context, i int) error {
		pod := benchPod(prefix, i)
		pod.Spec.NodeName = fmt.Sprintf("node-%06d", i%nodes)
		_, err := l.client.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
		return err
	})
}

func benchPod(prefix string, i int) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Name = fmt.Sprintf("%s-%06d", prefix, i)
	pod.Spec.Containers = []corev1.Container{{Name: "c", Image: "i"}}
	return pod
}

func (l *lab) deletePods(prefix string, n int) {
	l.b.Helper()
	l.write(n, func(ctx context.Context, i int) error {
		return l.client.CoreV1().Pods("default").Delete(ctx, benchPod(prefix, i).Name, metav1.DeleteOptions{})
	})
}

// follow calls see for each pod that comes, changes or goes, and for those that are there, until stop is called. A
// reader that is too slow for a plain watch loses it: an informer lists again.
func (l *lab) follow(see func(pod *corev1.Pod, gone bool)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	list := cache.NewListWatchFromClient(l.client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll, fields.Everything())
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{ListerWatcher: list, ObjectType: &corev1.Pod{}, Handler: cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { see(o.(*corev1.Pod), false) },
		UpdateFunc: func(_, o any) { see(o.(*corev1.Pod), false) },
		DeleteFunc: func(o any) {
			if late, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = late.Obj
			}
			see(o.(*corev1.Pod), true)
		},
	}})
	var wg sync.WaitGroup
	wg.Go(func() { informer.RunWithContext(ctx) })
	cache.WaitForCacheSync(ctx.Done(), informer.HasSynced)
	return func() { cancel(); wg.Wait() }
}

// span is when the first and the last of many pods were as they should be.
type span struct{ first, last time.Time }

// tally follows all pods and tells when want of them are as is says; without is, when that many were deleted.
func (l *lab) tally(want int, is func(*corev1.Pod) bool) <-chan span {
	l.b.Helper()
	done := make(chan span, 1)
	counted := map[string]bool{}
	var first time.Time
	stop := l.follow(func(pod *corev1.Pod, gone bool) {
		if len(counted) == want || gone != (is == nil) || is != nil && !is(pod) {
			return
		}
		if len(counted) == 0 {
			first = time.Now()
		}
		if counted[pod.Name] = true; len(counted) == want {
			done <- span{first, time.Now()}
		}
	})
	out := make(chan span, 1)
	go func() {
		defer stop()
		select {
		case at := <-done:
			out <- at
		case <-time.After(15 * time.Minute):
			l.b.Errorf("not %d pods within 15 minutes", want)
			out <- span{first, time.Now()}
		}
	}()
	return out
}

// null is the smallest controller there can be: for each bound pod that is not Ready it writes a fixed status.
func (l *lab) null() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	work := make(chan *corev1.Pod, largePods)
	var wg sync.WaitGroup
	for range 2 * benchWriters {
		wg.Go(func() {
			for pod := range work {
				now := metav1.Now()
				pod := &corev1.Pod{ObjectMeta: pod.ObjectMeta, Status: corev1.PodStatus{Phase: corev1.PodRunning, HostIP: "192.0.2.1", PodIP: "10.0.0.1", StartTime: &now,
					Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now}},
					ContainerStatuses: []corev1.ContainerStatus{{Name: "c", Image: "i", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}}},
				}}
				if _, err := l.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil && ctx.Err() == nil {
					l.b.Error(err)
				}
			}
		})
	}
	unfollow := l.follow(func(pod *corev1.Pod, gone bool) {
		if !gone && pod.Spec.NodeName != "" && !readyPod(pod) {
			work <- pod
		}
	})
	return func() { unfollow(); cancel(); close(work); wg.Wait() }
}

// cpu is the processor time that components have taken.
func (l *lab) cpu(components ...string) time.Duration {
	l.b.Helper()
	all, total := l.components(l.name), time.Duration(0)
	for _, name := range components {
		stat := read(fmt.Sprintf("/proc/%d/stat", all[name].PID))
		f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
		for _, field := range f[11:13] { // utime and stime, in hundredths of a second
			n, _ := strconv.Atoi(field)
			total += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return total
}

// memory is a field of /proc/<pid>/status of the controller, in MB.
func (l *lab) memory(field string) int {
	l.b.Helper()
	return statusField(l.components(l.name)[engine].PID, field) >> 10
}

var requestTotal = regexp.MustCompile(`(?m)^apiserver_request_total\{code="(\d+)".*resource="(\w+)".*subresource="(\w*)".*verb="(\w+)".*\} (\d+)$`)

// requests counts what the API server was asked about a resource, by verb, and how often it refused.
func (l *lab) requests(resource string) (byVerb map[string]int, refused int) {
	l.b.Helper()
	byVerb = map[string]int{}
	for _, m := range requestTotal.FindAllStringSubmatch(l.kubectl(l.name, "get", "--raw", "/metrics"), -1) {
		n, _ := strconv.Atoi(m[5])
		if m[2] != resource {
			continue
		}
		byVerb[m[4]] += n
		if m[1][0] == '4' {
			refused += n
		}
	}
	return byVerb, refused
}

// benchTransitions has rows B1 to B5 and B9.
func benchTransitions(b *testing.B) []row {
	l := newLab(b, "etcd,kube-apiserver,"+engine)
	defer l.delete()
	l.makeNodes(benchNodes)
	create := func(prefix string) float64 {
		done := l.tally(benchPods, func(p *corev1.Pod) bool { return strings.HasPrefix(p.Name, prefix) && readyPod(p) })
		began := time.Now()
		l.makePods(prefix, benchPods, benchNodes)
		return benchPods / (<-done).last.Sub(began).Seconds()
	}
	clear := func(prefix string) float64 {
		done := l.tally(benchPods, nil)
		began := time.Now()
		l.deletePods(prefix, benchPods)
		return benchPods / (<-done).last.Sub(began).Seconds()
	}
	ours := create("ours")
	deleted := clear("ours")

	// Pods wait, then one of the two comes: what it takes of the processors is for them alone.
	l.ok("stop", "component", engine, "--name", l.name)
	drain := func(prefix string, start func()) (rate float64, server time.Duration) {
		l.makePods(prefix, benchPods, benchNodes)
		time.Sleep(5 * time.Second) // the server has to come to rest: this is a measurement
		done := l.tally(benchPods, func(p *corev1.Pod) bool { return strings.HasPrefix(p.Name, prefix) && readyPod(p) })
		before := l.cpu("etcd", "kube-apiserver")
		start()
		took := <-done
		return benchPods / took.last.Sub(took.first).Seconds(), l.cpu("etcd", "kube-apiserver") - before
	}
	remove := func(prefix string) { // nobody finishes deletions now
		l.write(benchPods, func(ctx context.Context, i int) error {
			now := int64(0)
			return l.client.CoreV1().Pods("default").Delete(ctx, benchPod(prefix, i).Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		})
	}
	var stop func()
	nullDrain, nullServer := drain("null", func() { stop = l.null() })
	stop()
	remove("null")
	stop = l.null()
	null := create("bare")
	stop()
	remove("bare")

	verbs, refused := l.requests("pods")
	ourDrain, ourServer := drain("late", func() { l.ok("start", "component", engine, "--name", l.name) })
	used := l.cpu(engine)
	after, refusedAfter := l.requests("pods")
	writes := after["PUT"] + after["PATCH"] - verbs["PUT"] - verbs["PATCH"]
	reads := after["GET"] + after["LIST"] - verbs["GET"] - verbs["LIST"]
	each := func(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000/benchPods) }
	return []row{
		{"B1 bound pods, 16 writers, to Ready", fmt.Sprintf("%.0f pods/s", ours), "0.9 null", fmt.Sprintf("null %.0f pods/s (%.2f x)", null, ours/null)},
		{"B2 waiting pods to Ready", fmt.Sprintf("%.0f pods/s", ourDrain), "0.95 null", fmt.Sprintf("null %.0f pods/s (%.2f x)", nullDrain, ourDrain/nullDrain)},
		{"B3 controller CPU for a pod, its start included", each(used), "0.6 ms", ""},
		{"B4 API server and etcd CPU for a pod", each(ourServer), "1.05 null", fmt.Sprintf("null %s (%.2f x)", each(nullServer), float64(ourServer)/float64(nullServer))},
		{"B5 writes, reads, refusals for a pod", fmt.Sprintf("%.3f, %.4f, %.4f", float64(writes)/benchPods, float64(reads)/benchPods, float64(refusedAfter-refused)/benchPods), "1.00, 0.01, 0.001", ""},
		{"B9 pods deleted by 16 writers", fmt.Sprintf("%.0f pods/s", deleted), "", ""},
	}
}

// benchLatency has row B7.
func benchLatency(b *testing.B) []row {
	const perSecond, seconds = 50, 60
	l := newLab(b, "etcd,kube-apiserver,kube-controller-manager,kube-scheduler,"+engine)
	defer l.delete()
	l.makeNodes(benchNodes)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w, err := l.client.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	var late []time.Duration
	finished := make(chan bool)
	go func() {
		defer close(finished)
		bound := map[string]time.Time{}
		for e := range w.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			switch {
			case !ok:
				b.Errorf("watch: %v", e.Object)
				return
			case readyPod(p):
				late = append(late, time.Since(bound[p.Name]))
			case p.Spec.NodeName != "" && bound[p.Name].IsZero():
				bound[p.Name] = time.Now()
			}
			if len(late) == perSecond*seconds {
				return
			}
		}
	}()
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	for i := range perSecond * seconds {
		<-tick.C
		if _, err := l.client.CoreV1().Pods("default").Create(ctx, benchPod("p", i), metav1.CreateOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	<-finished
	slices.Sort(late)
	return []row{{"B7 from bound to Ready at 50 pods/s, p50 and p99",
		fmt.Sprintf("%.1f ms, %.1f ms", ms(late[len(late)/2]), ms(late[len(late)*99/100])), "5 ms, 50 ms", ""}}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// benchNodesIdle has rows B8 and B12.
func benchNodesIdle(b *testing.B) []row {
	const minute = time.Minute
	l := newLab(b, "etcd,kube-apiserver,kube-controller-manager,kube-scheduler,"+engine)
	defer l.delete()
	took := l.makeNodes(largeNodes)
	requests, _ := l.requests("nodes")
	leases, _ := l.requests("leases")
	perNode := float64(requests["PATCH"]+requests["PUT"]+leases["POST"]) / largeNodes
	time.Sleep(minute) // the first heartbeats spread
	before := l.cpu(engine)
	time.Sleep(minute)
	share := float64(l.cpu(engine)-before) / float64(minute)
	return []row{
		{"B12 5,000 nodes until Ready", fmt.Sprintf("%.1f s", took.Seconds()), "20 s", fmt.Sprintf("%.1f writes for a node, of all components", perNode)},
		{"B8 controller of 5,000 idle nodes", fmt.Sprintf("%.1f %% of a core", 100*share), "5 %, with leases of 200 s 1 %", ""},
	}
}
