package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestTurn: no more start at once than there are processors, all get their turn, and none keeps it for ever.
func TestTurn(t *testing.T) {
	t.Parallel()
	h := Home{Dir: t.TempDir()}
	if err := h.prepare(); err != nil {
		t.Fatal(err)
	}
	most := int32(max(2, runtime.NumCPU()))
	var now atomic.Int32
	var all sync.WaitGroup
	for range 10 * most {
		all.Go(func() {
			done, err := h.turn(t.Context(), time.Hour)
			if err != nil {
				t.Error(err)
				return
			}
			if n := now.Add(1); n > most {
				t.Errorf("%d at once, of %d allowed", n, most)
			}
			runtime.Gosched()
			now.Add(-1)
			done()
			done() // twice is no harm
		})
	}
	all.Wait()
	var held []func()
	for range most {
		done, err := h.turn(t.Context(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, done)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.turn(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one too many: %v", err)
	}
	for _, done := range held {
		done()
	}
	for range 2 * most { // those who never give it back
		if _, err := h.turn(t.Context(), time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	for range most { // all have been given back when each can be had again
		done, err := h.turn(t.Context(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		defer done()
	}
}

// TestTurnLeavesNothing: a lock file that stays would be one that the user wonders about.
func TestTurnLeavesNothing(t *testing.T) {
	t.Parallel()
	h := Home{Dir: t.TempDir()}
	if err := h.prepare(); err != nil {
		t.Fatal(err)
	}
	done, err := h.turn(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	done()
	if left, err := os.ReadDir(filepath.Join(h.Dir, "locks")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
