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

	loadShare = 6 // so much of the free memory may be taken while many objects are read: by three programs, half of it
)

// settle paces the collector of a program. The supervisor's environment turns it off (see components.environment), which
// makes the start a third shorter. A cluster with so many objects that its heap stays at the limit of a start would
// only collect from then on: there all of them are read before it runs again, if memory allows it. What the user has
// set stays. A program that bounds its memory itself has no other limit.
func settle(bounded bool) {
	paced := os.Getenv("GOGC") == "off"
	limit := func(int64) {}
	if paced && !bounded && os.Getenv("GOMEMLIMIT") == "" {
		limit = func(bytes int64) { debug.SetMemoryLimit(bytes) }
	}
	limit(startMemory)
	go func() {
		began, grown, most := time.Now(), false, uint64(startGCs)
		for at := range time.Tick(lookTime) {
			switch count, live := collections(); {
			case !paced || !grown && count <= most && live < startMemory/2:
			case !grown:
				grown, most = true, count+1 // it may be running now
				limit(max(startMemory, int64(files.FreeMemory()/loadShare)))
			case count > most: // that was not enough
				most = math.MaxUint64
				debug.SetGCPercent(busyGC)
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

// collections is how often the collector has run, and the bytes that it left the last time.
func collections() (count, live uint64) {
	sample := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64(), sample[1].Value.Uint64()
}

// giveBack frees what only work that is over has needed.
func giveBack() {
	debug.FreeOSMemory()
	forgetStart()
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
		if threads {
			runtime.GOMAXPROCS(1)
		}
	}
	work()
	working, calm, started := true, 0, false
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
			if !started {
				started = true
				giveBack()
				before = processorTime() // without what that took
			}
			rest()
		}
	}
}
