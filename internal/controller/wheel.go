package controller

import "time"

// tickLength is how finely the wheel tells times apart.
const tickLength = 10 * time.Millisecond

const (
	levels = 4
	slots  = 256
)

// wheel holds the waiting entries, linked through the table. Adding, cancelling and firing take constant time. Its ticks
// are counted from its beginning on the monotonic clock, so that nothing waits longer when the wall clock is set back.
type wheel struct {
	t     *table
	heads [levels][slots]uint32
	began time.Time
	now   int64 // tick up to which everything has fired
}

func newWheel(t *table, now time.Time) *wheel {
	w := &wheel{t: t, began: now}
	for l := range w.heads {
		for s := range w.heads[l] {
			w.heads[l][s] = t.list()
		}
	}
	return w
}

func (w *wheel) tickOf(t time.Time) int64 { return int64(t.Sub(w.began) / tickLength) }

func (w *wheel) timeOf(tick int64) time.Time { return w.began.Add(time.Duration(tick) * tickLength) }

// add puts an entry where it will be found at the tick it is due.
func (w *wheel) add(i uint32, due int64) {
	w.t.e[i].due = due
	w.place(i, max(due, w.now+1))
}

func (w *wheel) place(i uint32, due int64) {
	left := due - w.now
	for l := range levels {
		if left < 1<<(8*(l+1)) || l == levels-1 {
			left = min(left, 1<<(8*levels)-1)
			w.t.push(w.heads[l][((w.now+left)>>(8*l))&(slots-1)], i)
			return
		}
	}
}

// next is the tick at which an entry may be due, or the last of so many when none is.
func (w *wheel) next(ticks int64) int64 {
	at := w.now + 1
	for ; at < w.now+ticks; at++ {
		if at&(slots-1) == 0 || w.t.first(w.heads[0][at&(slots-1)]) != 0 { // a coarser slot is looked into
			break
		}
	}
	return at
}

// advance calls fire with each entry that is due by now, unlinked.
func (w *wheel) advance(now time.Time, fire func(i uint32)) {
	for to := w.tickOf(now); w.now < to; {
		w.now++
		for l := 1; l < levels && w.now&(1<<(8*l)-1) == 0; l++ {
			w.cascade(l)
		}
		head := w.heads[0][w.now&(slots-1)]
		for i := w.t.first(head); i != 0; i = w.t.first(head) {
			w.t.unlink(i)
			fire(i)
		}
	}
}

// cascade moves a slot of level l, whose time has come near, to finer levels.
func (w *wheel) cascade(l int) {
	head := w.heads[l][(w.now>>(8*l))&(slots-1)]
	moved := w.t.list()
	for i := w.t.first(head); i != 0; i = w.t.first(head) {
		w.t.push(moved, i)
	}
	for i := w.t.first(moved); i != 0; i = w.t.first(moved) {
		w.t.unlink(i)
		w.place(i, max(w.t.e[i].due, w.now))
	}
	w.t.dropList(moved)
}
