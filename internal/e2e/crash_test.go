package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestRestart kills each component without warning. Each is restarted once, and none takes another with it.
func TestRestart(t *testing.T) { everywhere(t, testRestart) }

func testRestart(t *testing.T, w *world) {
	w.create("crash")
	for _, name := range []string{"kube-scheduler", "kube-controller-manager", "kwok-controller", "kube-apiserver", "etcd"} {
		before := w.components("crash")[name]
		w.kill(before.PID)
		began := time.Now()
		var c component
		w.eventually(30*time.Second, name+" is Ready again", func() bool {
			c = w.components("crash")[name]
			return c.State == "Ready" && c.PID != before.PID
		})
		t.Logf("%s is Ready again after %.1f s", name, time.Since(began).Seconds())
		if w.runtime != "" {
			continue // an engine forgets how one ended that it started again
		}
		if c.ExitCode == nil || *c.ExitCode != 137 {
			t.Errorf("%s was killed; its recorded exit code is not 137: %+v", name, c)
		}
		if log := w.ok("logs", name, "--name", "crash"); !strings.Contains(log, name+" exited: killed by signal 9; restart 1") {
			t.Errorf("%s was killed, which is not in its log", name)
		}
	}
	w.eventually(30*time.Second, "the cluster is Ready", func() bool { return w.status("crash") == "Ready" })
	for _, c := range w.components("crash") {
		if w.runtime == "" && c.LastExit != "killed by signal 9" {
			t.Errorf("%s runs again, and has forgotten why it exited: %+v", c.Name, c)
		}
		if c.Restarts != 1 {
			t.Errorf("%s was killed once; it was restarted %d times: %s", c.Name, c.Restarts, c.Reason)
		}
	}
	w.ready("crash")
	w.ok("scale", "node", "--replicas", "3", "--name", "crash")
	w.kubectl("crash", "wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
	if w.runtime == "" {
		w.exhaust("crash")
	}
}

// exhaust lets the API server have no more memory than it has, and gives it work. The kernel kills it, which is said.
func (w *world) exhaust(name string) {
	w.t.Helper()
	if !w.confine(w.components(name)["kube-apiserver"].PID, 2<<20) {
		return
	}
	all := w.write(name, 4)
	defer func() { close(all.stop); all.done.Wait() }()
	var c component
	w.eventually(time.Minute, "kube-apiserver was killed and is Ready again", func() bool {
		c = w.components(name)["kube-apiserver"]
		return c.Restarts == 2 && c.State == "Ready"
	})
	if c.LastExit != "killed by signal 9 (out of memory)" {
		w.t.Errorf("kube-apiserver had no memory left: %+v", c)
	}
}

// confine lets a process take that many bytes more, if we may make control groups here.
func (w *world) confine(pid int, bytes int) bool {
	w.t.Helper()
	group, limit := "/sys/fs/cgroup/memory", "memory.limit_in_bytes" // version 1
	if _, err := os.Stat(group); err != nil {
		group, limit = "/sys/fs/cgroup", "memory.max"
	}
	group = filepath.Join(group, fmt.Sprintf("kwok-e2e-%d", pid))
	if err := os.Mkdir(group, 0o755); err != nil {
		w.t.Logf("not tried: lack of memory: %v", err)
		return false
	}
	w.t.Cleanup(func() {
		if err := os.Remove(group); err != nil {
			w.t.Error(err)
		}
	})
	write(w.t, filepath.Join(group, limit), strconv.Itoa(bytes))
	write(w.t, filepath.Join(group, "cgroup.procs"), strconv.Itoa(pid))
	return true
}

// writers make ConfigMaps as fast as the API server takes them, and remember what it acknowledged.
type writers struct {
	client *http.Client
	url    string
	stop   chan struct{}
	done   sync.WaitGroup
	count  atomic.Int64
	failed atomic.Int64

	mu    sync.Mutex
	names []string
}

func (w *world) write(name string, n int) *writers {
	all := &writers{client: w.visitor(name, "ca", "admin"), url: w.server(name) + "/api/v1/namespaces/default/configmaps", stop: make(chan struct{})}
	for i := range n {
		all.done.Go(func() { all.run(i) })
	}
	return all
}

func (w *writers) run(id int) {
	for i := 0; ; i++ {
		select {
		case <-w.stop:
			return
		default:
		}
		name := fmt.Sprintf("w%d-%d", id, i)
		body := fmt.Sprintf(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":%q},"data":{"a":"b"}}`, name)
		if code, _, err := call(w.client, http.MethodPost, w.url, body); err != nil || code != http.StatusCreated {
			w.failed.Add(1)
			time.Sleep(10 * time.Millisecond) // it is being restarted; the next write has another name
			continue
		}
		w.mu.Lock()
		w.names = append(w.names, name)
		w.mu.Unlock()
		w.count.Add(1)
	}
}

// TestAcknowledgedWritesSurvive kills etcd three times while clients write.
func TestAcknowledgedWritesSurvive(t *testing.T) {
	inProcessesAndContainers(t, testAcknowledgedWritesSurvive)
}

func testAcknowledgedWritesSurvive(t *testing.T, w *world) {
	w.create("writes")
	all := w.write("writes", 8)
	more := func(n int64) {
		t.Helper()
		want := all.count.Load() + n
		w.eventually(time.Minute, fmt.Sprintf("%d more writes", n), func() bool { return all.count.Load() >= want })
	}
	for range 3 {
		more(1000)
		pid := w.components("writes")["etcd"].PID
		w.kill(pid)
		time.Sleep(300 * time.Millisecond) // what was on its way has failed by now
		began := time.Now()
		more(1)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("writes were taken again after %s; want 10 s at most", took)
		} else {
			t.Logf("writes were taken again after %.1f s", took.Seconds())
		}
	}
	more(1000)
	close(all.stop)
	all.done.Wait()
	kept := w.kubectl("writes", "get", "configmaps", "-o", `jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}`)
	there, lost := unique(kept), 0
	for _, name := range all.names {
		if !there[name] {
			lost++
		}
	}
	t.Logf("%d of %d acknowledged writes are lost; %d were refused", lost, len(all.names), all.failed.Load())
	if lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(all.names))
	}
	for _, c := range w.components("writes") {
		if want := map[bool]int{true: 3}[c.Name == "etcd"]; c.Restarts != want {
			t.Errorf("%s was restarted %d times, want %d: %s", c.Name, c.Restarts, want, c.Reason)
		}
	}
}

// TestCrashLoop kills a component as soon as it runs, five times.
func TestCrashLoop(t *testing.T) { inProcessesAndContainers(t, testCrashLoop) }

func testCrashLoop(t *testing.T, w *world) {
	w.create("loop")
	began, last := time.Now(), 0
	for range 5 {
		var pid int
		w.eventually(40*time.Second, "kube-scheduler runs", func() bool {
			pid = w.components("loop")["kube-scheduler"].PID
			return pid != 0 && pid != last
		})
		w.kill(pid)
		last = pid
	}
	t.Logf("killed five times within %.0f s", time.Since(began).Seconds())
	w.eventually(5*time.Second, "get clusters -o wide says CrashLoop", func() bool {
		return strings.Contains(w.ok("get", "clusters", "-o", "wide"), "CrashLoop")
	})
	if got := w.components("loop")["kube-scheduler"]; got.State != "CrashLoop" || got.Restarts < 4 {
		t.Errorf("a component that was killed five times: %+v", got)
	}
	if r := w.run("create", "cluster", "--name", "loop", "--wait", "2s"); r.code == 0 && w.status("loop") != "Ready" {
		t.Errorf("create says that a cluster is ready that is %s: %s", w.status("loop"), r.stderr)
	}
	if got := w.components("loop")["etcd"]; got.State != "Ready" || got.Restarts != 0 {
		t.Errorf("another component: %+v", got)
	}
}
