package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"kwokctl/internal/files"
)

// mostTurn is how long a start keeps others waiting: what takes longer does not wait for a processor.
const mostTurn = 15 * time.Second

// turn waits until fewer clusters start than the machine has processors, and returns how to give the turn back. Twenty
// at once get in each other's way: each takes the processors from those that are nearly ready, until all are late.
func (h Home) turn(ctx context.Context) (done func(), err error) {
	all, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	locks := make(chan *files.Lock) // nil: it could not be had
	errs := make([]error, max(2, runtime.NumCPU()))
	for i := range errs {
		go func() {
			path := filepath.Join(h.Dir, "locks", fmt.Sprintf(".start-%d.lock", i))
			var lock *files.Lock
			lock, errs[i] = files.Acquire(all, path, "kwokctl", func(holder string, since time.Time) {
				if i == 0 && h.Waiting != nil && time.Since(began) > time.Second { // one tells, when it takes long
					h.Waiting("its turn to start", holder, since)
				}
			})
			locks <- lock
		}()
	}
	var own *files.Lock
	for range errs {
		lock := <-locks
		if own == nil && lock != nil {
			own, lock = lock, nil
			cancel()
		}
		_ = lock.Release()
	}
	if own == nil {
		return nil, errs[0]
	}
	release := sync.OnceFunc(func() { _ = own.Release() }) // whatever became of the file, the next one finds another
	timer := time.AfterFunc(mostTurn, release)
	return func() { timer.Stop(); release() }, nil
}
