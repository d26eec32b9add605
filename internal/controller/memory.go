package controller

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// leastMemory, in bytes, is enough for 5,000 nodes and 150,000 pods at rest.
const leastMemory = 80 << 20

// boundMemory makes the collector work harder from leastMemory on, so that bursts of garbage do not stay with us as
// resident memory. When more than that is in use the bound grows with it: the collector would run without end. A
// limit that the user has set is left alone.
func boundMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	bound := int64(leastMemory)
	debug.SetMemoryLimit(bound)
	afterCollection(func() {
		want := memoryBound(liveHeap())
		if change := want - bound; change > bound/16 || -change > bound/16 { // setting it stops the world
			bound = want
			debug.SetMemoryLimit(bound)
		}
	})
}

// memoryBound leaves half of what is in use for garbage.
func memoryBound(live int64) int64 { return max(leastMemory, live+live/2) }

func liveHeap() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// afterCollection calls f after each run of the collector: it finds an object that nobody needs.
func afterCollection(f func()) {
	type nobody struct{ _ [16]byte } // not so small that it shares its memory with others
	var arm func()
	arm = func() {
		runtime.SetFinalizer(&nobody{}, func(*nobody) {
			f()
			arm()
		})
	}
	arm()
}
