package applet

import (
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forgetStart unmaps the pages of this binary that were only needed to start, code and constants: nine tenths of
// them. They stay in the page cache, and what is needed again is mapped again when it is touched. Nothing that was
// ever written to is dropped.
func forgetStart() {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line) // address perms offset device inode path
		if len(f) < 6 || f[5] != self || strings.Contains(f[1], "w") {
			continue
		}
		from, to, _ := strings.Cut(f[0], "-")
		begin, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 != nil || err2 != nil {
			continue
		}
		// The address is that of a mapping of ours, which lives as long as the process.
		pages := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), begin)), end-begin)
		_ = unix.Madvise(pages, unix.MADV_DONTNEED) // it only saves memory
	}
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var use unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &use) != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}
