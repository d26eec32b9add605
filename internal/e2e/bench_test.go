package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// row is a line of the table that make bench prints.
type row struct {
	what, got, goal, floor string
}

// BenchmarkKwokctl measures what issue by issue was promised, on this machine, each beside its goal, and prints one
// table. It is not a timed test: nothing fails when a figure is missed.
func BenchmarkKwokctl(b *testing.B) {
	for range b.N {
		var rows []row
		rows = append(rows, benchStart(b)...)
		rows = append(rows, benchScale(b)...)
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "\nmeasure\tgot\tgoal\tfloor or ratio")
		for _, r := range rows {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.what, r.got, r.goal, r.floor)
		}
		t.Flush()
	}
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
	w.eventuallyCount("scale", "/api/v1/nodes", 1000, readyNodes)
	nodes := time.Since(began)
	const pods = 10000
	w.kubectl("scale", "create", "deployment", "web", "--image", "nginx", "--replicas", strconv.Itoa(pods))
	began = time.Now()
	w.eventuallyCount("scale", "/apis/apps/v1/deployments", pods, func(out string) int {
		var d struct {
			Items []struct{ Status struct{ ReadyReplicas int } }
		}
		if json.Unmarshal([]byte(out), &d) != nil || len(d.Items) == 0 {
			return 0
		}
		return d.Items[0].Status.ReadyReplicas
	})
	took := time.Since(began)
	return []row{
		{"scale node --replicas 1000, until Ready", fmt.Sprintf("%.1f s", nodes.Seconds()), "3 s", fmt.Sprintf("made after %.1f s", made.Seconds())},
		{"Deployment of 10,000 on 1,000 nodes", fmt.Sprintf("%.0f pods/s", pods/took.Seconds()), "110 pods/s", ""},
	}
}

func readyNodes(out string) int {
	var list struct {
		Items []struct {
			Status struct {
				Conditions []struct{ Type, Status string }
			}
		}
	}
	if json.Unmarshal([]byte(out), &list) != nil {
		return 0
	}
	n := 0
	for _, item := range list.Items {
		for _, c := range item.Status.Conditions {
			if c.Type == "Ready" && c.Status == "True" {
				n++
			}
		}
	}
	return n
}

// eventuallyCount waits until count of a kind's list reaches want. It asks seldom: asking costs the processors that
// are being measured.
func (w *world) eventuallyCount(name, kind string, want int, count func(string) int) {
	w.t.Helper()
	deadline := time.Now().Add(10 * time.Minute)
	for count(w.kubectl(name, "get", "--raw", kind)) < want {
		if time.Now().After(deadline) {
			w.t.Fatalf("%d of %s: not within 10 minutes", want, kind)
		}
		time.Sleep(500 * time.Millisecond)
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
