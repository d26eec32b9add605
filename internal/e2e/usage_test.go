package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Nodes answer what Metrics and usages in files and in the cluster say, and tell Prometheus where.
func TestUsage(t *testing.T) { inProcessesAndContainers(t, testUsage) }

func testUsage(t *testing.T, w *world) {
	args := []string{"--enable-crds", "ResourceUsage", "--controller-port", freePort(t)} // in containers it is published then
	for _, bundle := range []string{"resource", "usage"} {
		dir, err := filepath.Abs("../../kustomize/metrics/" + bundle)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, "-c", dir)
	}
	w.create("usage", args...)
	w.ok("scale", "node", "--replicas", "1", "--name", "usage")
	w.ok("scale", "pod", "--replicas", "2", "--name", "usage")
	const path = "/metrics/nodes/node-000000/metrics/resource"
	port := ""
	w.eventually(time.Minute, "the node has a port", func() bool {
		port = w.kubectl("usage", "get", "node", "node-000000", "-o", "jsonpath={.status.daemonEndpoints.kubeletEndpoint.Port}")
		return port != "" && port != "0"
	})
	base := "http://127.0.0.1:" + port
	value := func(series string) string {
		_, page := fetch(t, base+path)
		found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(page)
		if found == nil {
			return ""
		}
		return found[1]
	}
	memory := func(pod int) string {
		return value(fmt.Sprintf(`pod_memory_working_set_bytes{namespace="default",pod="pod-%06d"}`, pod))
	}
	w.eventually(30*time.Second, "a pod uses a little", func() bool { return memory(0) == "1.048576e+06" && memory(1) == "1.048576e+06" })
	w.kubectl("usage", "annotate", "pod", "pod-000000", "kwok.x-k8s.io/usage-cpu=100", "kwok.x-k8s.io/usage-memory=100Mi")
	w.eventually(30*time.Second, "it uses what its annotations say", func() bool { return memory(0) == "1.048576e+08" })
	const cpu = `container_cpu_usage_seconds_total{container="container-0",namespace="default",pod="pod-000000"}`
	was := value(cpu)
	w.eventually(30*time.Second, "its CPU time grows", func() bool { now := value(cpu); return now != was && len(now) > 1 })
	w.apply("usage", `
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ResourceUsage
metadata: {name: pod-000001, namespace: default}
spec: {usages: [{usage: {memory: {expression: 'Quantity("2") * 3'}}}]}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ResourceUsage
metadata: {name: pod-000000, namespace: default}
spec: {usages: [{usage: {memory: {expression: pod.nothing}}}]}
`)
	w.eventually(30*time.Second, "a usage in the cluster takes effect", func() bool { return memory(1) == "6" })
	w.eventually(30*time.Second, "a bad one says so", func() bool {
		return strings.HasPrefix(w.kubectl("usage", "get", "resourceusage", "pod-000000", "-o", "jsonpath={.status.conditions[0].message}"),
			"spec.usages[0].usage.memory.expression: cel")
	})
	if got := memory(0); got != "1.048576e+08" {
		t.Errorf("and what there was goes on: %s", got)
	}
	if _, got := fetch(t, base+"/discovery/prometheus"); !strings.Contains(got, `"__metrics_path__":"`+path+`"`) || strings.Count(got, "targets") != 1 {
		t.Errorf("prometheus finds %s", got)
	}
}
