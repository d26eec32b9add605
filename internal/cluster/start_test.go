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
	var now, top atomic.Int32
	var all sync.WaitGroup
	for range 10 * most {
		all.Go(func() {
			done, err := h.turn(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if n := now.Add(1); n > top.Load() {
				top.Store(n)
			}
			runtime.Gosched()
			now.Add(-1)
			done()
			done() // twice is no harm
		})
	}
	all.Wait()
	if top.Load() > most {
		t.Errorf("%d at once, of %d allowed", top.Load(), most)
	}
	var held []func()
	for range most {
		done, err := h.turn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, done)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.turn(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one too many: %v", err)
	}
	for _, done := range held {
		done()
	}
	if left, err := os.ReadDir(filepath.Join(h.Dir, "locks")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
