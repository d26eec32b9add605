package controller

import (
	"runtime"
	"testing"
)

func TestMemoryBound(t *testing.T) {
	for live, want := range map[int64]int64{0: leastMemory, 50 << 20: leastMemory, 100 << 20: 150 << 20} {
		if got := memoryBound(live); got != want {
			t.Errorf("%d MiB in use: %d MiB, want %d", live>>20, got>>20, want>>20)
		}
	}
}

func TestAfterCollection(t *testing.T) {
	ran, done := make(chan int64), t.Context().Done()
	afterCollection(func() {
		select {
		case ran <- liveHeap():
		case <-done:
		}
	})
	kept := make([]byte, 32<<20)
	for times := 0; times < 3; {
		runtime.GC()
		select {
		case live := <-ran:
			if times++; live < int64(len(kept)) {
				t.Errorf("%d MiB in use, want %d at least", live>>20, len(kept)>>20)
			}
		default: // it is called by another goroutine
		}
	}
	runtime.KeepAlive(kept)
}
