package applet

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	settleTime = 4 * time.Second // after its start a component counts as settled
	paceTime   = 2 * time.Second // between looks at how busy it is

	// The collector's settings, in per cent of the live heap. Clusters idle more than they work, and memory is what
	// limits how many fit on a laptop; at work, processor time is what everybody waits for.
	idleGC = 75
	busyGC = 200
)

// settle gives back, once the start is over, what only the start needed, and from then on paces the collector. The
// supervisor's environment turns the collector off (see components.environment), which makes the start a third
// shorter.
func settle() {
	time.AfterFunc(settleTime, func() {
		paced := os.Getenv("GOGC") == "off" // else it is the user's own setting
		if paced {
			debug.SetMemoryLimit(math.MaxInt64)
			debug.SetGCPercent(idleGC)
		}
		debug.FreeOSMemory()
		forgetStart()
		if paced {
			pace()
		}
	})
}

// pace chooses between the two settings of the collector for ever, by the share of a processor that the process
// takes.
func pace() {
	const busy = 0.3
	before, working := processorTime(), false
	for range time.Tick(paceTime) {
		now, was := processorTime(), working
		working = (now - before).Seconds() > busy*paceTime.Seconds()
		before = now
		switch {
		case working && !was:
			debug.SetGCPercent(busyGC)
		case was && !working:
			debug.SetGCPercent(idleGC)
			runtime.GC()
		}
	}
}
