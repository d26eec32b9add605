package applet

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"kwokctl/internal/files"
)

const (
	startMemory = 200 << 20              // bytes; more than that is not needed to start, and the heap stays dense
	settleTime  = 4 * time.Second        // after its start a component counts as settled
	grownTime   = 20 * time.Second       // and one with a large heap after this
	lookTime    = 100 * time.Millisecond // between looks at how often the collector ran
	startGCs    = 4                      // more often than that it does not run in a start with few objects
	paceTime    = 200 * time.Millisecond // between looks at how busy it is
	calmLooks   = 15                     // after as many of them without work it counts as idle again

	// The collector's settings, in per cent of the live heap. Clusters idle more than they work, and memory is what
	// limits how many fit on a laptop; at work, processor time is what everybody waits for.
	idleGC = 75
	busyGC = 200
	loadGC = 400 // while all objects are read, which takes the collector a sixth of the time

	loadMemory = 8 << 30 // bytes that must be free for that
)

// settle paces the collector of a program. The supervisor's environment turns it off (see components.environment), which
// makes the start a third shorter. A cluster with so many objects that its heap stays at the limit of a start would
// only collect from then on: there the collector gets room at once. What the user has set stays. A program that bounds
// its memory itself has no other limit.
func settle(bounded bool) {
	paced := os.Getenv("GOGC") == "off"
	limit := func(int64) {}
	if paced && !bounded && os.Getenv("GOMEMLIMIT") == "" {
		limit = func(bytes int64) { debug.SetMemoryLimit(bytes) }
	}
	limit(startMemory)
	go func() {
		began, grown := time.Now(), false
		for at := range time.Tick(lookTime) {
			if paced && !grown && collections() > startGCs {
				grown = true
				percent := busyGC
				if files.FreeMemory() > loadMemory {
					percent = loadGC
				}
				debug.SetGCPercent(percent)
				limit(math.MaxInt64)
			}
			if start := at.Sub(began); start > settleTime && (!grown || start > grownTime) {
				break
			}
		}
		limit(math.MaxInt64)
		if paced {
			pace()
		} else {
			giveBack()
		}
	}()
}

// giveBack frees what only work that is over has needed.
func giveBack() {
	debug.FreeOSMemory()
	forgetStart()
}

// collections is how often the collector has run.
func collections() uint64 {
	sample := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// pace chooses for ever between idling and working, by the share of a processor that the process takes. Work is noticed
// at once, its end only when it has lasted. One that idles has one thread for Go: every timer that fires would wake
// others to look for more to do, and with twenty clusters that alone takes a sixth of two processors.
func pace() {
	const busy = 0.3
	threads := os.Getenv("GOMAXPROCS") == ""
	work := func() {
		debug.SetGCPercent(busyGC)
		if threads {
			runtime.SetDefaultGOMAXPROCS()
		}
	}
	rest := func() {
		debug.SetGCPercent(idleGC)
		giveBack()
		if threads {
			runtime.GOMAXPROCS(1)
		}
	}
	work()
	working, calm := true, 0
	before := processorTime()
	for range time.Tick(paceTime) {
		now := processorTime()
		if (now - before).Seconds() > busy*paceTime.Seconds() {
			calm = 0
		} else {
			calm++
		}
		before = now
		switch {
		case calm == 0 && !working:
			working = true
			work()
		case calm >= calmLooks && working:
			working = false
			rest()
			before = processorTime() // without what that took
		}
	}
}
