package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BenchmarkMemory measures the controller with the most nodes and pods that are promised, and how it comes back to
// them after a kill. It takes about ten minutes.
func BenchmarkMemory(b *testing.B) {
	for range b.N {
		printRows(benchLarge(b))
	}
}

// benchLarge has rows B6 and B10, of the controller as a program of its own, which make bench has built.
func benchLarge(b *testing.B) []row {
	kwok, err := filepath.Abs("../../bin/kwok")
	if err != nil {
		b.Fatal(err)
	}
	l := newLab(b, "etcd,kube-apiserver,"+engine, "--kwok-controller-binary", kwok)
	defer l.delete()
	l.makeNodes(largeNodes)
	began := time.Now()
	grow := func(prefix string, n int) {
		done := l.tally(n, func(p *corev1.Pod) bool { return strings.HasPrefix(p.Name, prefix) && readyPod(p) })
		l.makePods(prefix, n, largeNodes)
		<-done
	}
	grow("p", catchPods)

	const some = 1000
	l.ok("stop", "component", engine, "--name", l.name)
	stopped := time.Now()
	l.makePods("q", some, largeNodes)
	l.write(some, func(ctx context.Context, i int) error {
		return l.client.CoreV1().Pods("default").Delete(ctx, benchPod("p", i*(catchPods/some)).Name, metav1.DeleteOptions{})
	})
	verbs, _ := l.requests("pods")
	ready := l.tally(some, func(p *corev1.Pod) bool { return p.Name[0] == 'q' && readyPod(p) })
	gone := l.tally(some, nil)
	restarted := time.Now()
	l.ok("start", "component", engine, "--name", l.name)
	settled := max((<-ready).last.Sub(restarted), (<-gone).last.Sub(restarted))
	time.Sleep(20 * time.Second) // whatever else it would write, it has written
	after, _ := l.requests("pods")
	extra := after["PUT"] + after["PATCH"] - verbs["PUT"] - verbs["PATCH"] - some
	began = began.Add(time.Since(stopped))

	grow("r", largePods-catchPods)
	rate := float64(largePods-some) / time.Since(began).Seconds()
	grown := l.memory("VmHWM")
	l.ok("stop", "component", engine, "--name", l.name)
	l.makePods("s", 1, largeNodes)
	ready = l.tally(1, func(p *corev1.Pod) bool { return p.Name[0] == 's' && readyPod(p) })
	l.ok("start", "component", engine, "--name", l.name)
	<-ready
	return []row{
		{"150,000 bound pods on 5,000 nodes", fmt.Sprintf("%.0f pods/s", rate), "", ""},
		{"B6 controller memory, VmHWM: grown, started on them", fmt.Sprintf("%d MB, %d MB", grown, l.memory("VmHWM")), "100 MB", ""},
		{"B10 restart: 98,000 pods are settled, 1,000 wait, 1,000 are being deleted", fmt.Sprintf("%.1f s", settled.Seconds()), "10 s",
			fmt.Sprintf("%d writes to the settled", extra)},
	}
}
