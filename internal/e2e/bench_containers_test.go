package e2e

import (
	"fmt"
	"testing"
	"time"

	"kwokctl/runtimes/docker"
)

// BenchmarkContainers measures clusters in containers beside the same ones as processes, in turn. It takes about seven
// minutes.
func BenchmarkContainers(b *testing.B) {
	for range b.N {
		printRows(benchContainers(b))
	}
}

func benchContainers(b *testing.B) (rows []row) {
	const starts, loads = 7, 5
	engines := []string{docker.Docker, docker.Podman}
	worlds := map[string]*world{"binary": newWorld(b)}
	first := map[string]time.Duration{}
	create := func(name string) time.Duration {
		w := worlds[name]
		took := w.timed("create", "cluster", "--name", "bench", "--wait", "60s")
		w.ok("delete", "cluster", "--name", "bench")
		return took
	}
	for _, name := range engines {
		worlds[name] = newWorldOn(b, name)
		worlds[name].ok("delete", "cluster", "--all", "--purge")
		first[name] = create(name)
	}
	started, loaded := map[string][]time.Duration{}, map[string][]time.Duration{}
	for range starts {
		for name := range worlds {
			started[name] = append(started[name], create(name))
		}
	}
	const nodes, pods = 300, 3000
	for range loads {
		for name, w := range worlds {
			w.create("bench")
			w.ok("scale", "node", "--replicas", fmt.Sprint(nodes), "--name", "bench")
			loaded[name] = append(loaded[name], w.deploy("bench", pods))
			w.ok("delete", "cluster", "--name", "bench")
		}
	}
	rate := func(name string) float64 { return pods / median(loaded[name]).Seconds() }
	for _, name := range engines {
		usual := median(started[name])
		rows = append(rows,
			row{"create cluster --wait on " + name, show(started[name]), "2.0 x", fmt.Sprintf("as processes: %s (%.2f x)", show(started["binary"]), usual.Seconds()/median(started["binary"]).Seconds())},
			row{"the first one, which makes the image", fmt.Sprintf("%.2f s", first[name].Seconds()), "1.5 s more", fmt.Sprintf("%.2f s more", (first[name] - usual).Seconds())},
			row{fmt.Sprintf("Deployment of %d on %d nodes, on %s", pods, nodes, name), fmt.Sprintf("%.0f pods/s", rate(name)), "0.9 x", fmt.Sprintf("as processes: %.0f pods/s (%.2f x)", rate("binary"), rate(name)/rate("binary"))},
		)
	}
	return rows
}
