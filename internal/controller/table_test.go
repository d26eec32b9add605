package controller

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"
)

func TestTableLikeMap(t *testing.T) {
	tab, want, r := newTable(), map[[16]byte]string{}, rand.New(rand.NewPCG(1, 1))
	for n := range 30_000 {
		u := tab.parseUID(string(uid(int(r.Uint32() % 3000))))
		i := tab.find(u)
		if name, ok := want[u]; ok != (i != 0) || ok && tab.name(i) != name {
			t.Fatalf("step %d: got %v, want %q", n, i, name)
		}
		if i != 0 {
			tab.e[i].state = waiting
			tab.remove(i)
			delete(want, u)
			continue
		}
		want[u] = fmt.Sprint("pod-", n)
		i = tab.add(u, pods, "d", want[u])
		tab.e[i].state = waiting
		tab.keep(i, []byte(want[u]))
	}
	if tab.live != len(want) {
		t.Fatalf("%d entries, want %d", tab.live, len(want))
	}
}

// setBack is what the clock says at t when the wall clock was set back before. Only the first word of a time with both
// readings, seconds of the wall clock from bit 30 on, changes.
func setBack(t time.Time, by time.Duration) time.Time {
	wall := (*uint64)(unsafe.Pointer(&t))
	*wall -= uint64(by/time.Second) << 30
	return t
}

// What waits does not wait longer when the wall clock is set back.
func TestWheelIsMonotonic(t *testing.T) {
	began := time.Now()
	later := setBack(began.Add(2*time.Second), 25*time.Hour)
	if later.Sub(began) != 2*time.Second || later.Round(0).After(began.Add(-24*time.Hour).Round(0)) {
		t.Fatalf("%s is no time of a clock that was set back", later)
	}
	tab := newTable()
	w := newWheel(tab, began)
	i := tab.add(tab.parseUID(string(uid(1))), pods, "d", "x")
	w.add(i, w.tickOf(began.Add(time.Second)))
	fired := 0
	w.advance(later, func(uint32) { fired++ })
	if fired != 1 {
		t.Errorf("fired %d times", fired)
	}
	if pause := w.timeOf(w.next(idleTicks)).Sub(later); pause > idleTicks*tickLength {
		t.Errorf("the next look is %s from now", pause)
	}
}

func TestWheelFiresOnTime(t *testing.T) {
	now := time.Unix(1_000_000, 123456789)
	tab := newTable()
	w, r := newWheel(tab, now), rand.New(rand.NewPCG(1, 1))
	due := map[uint32]int64{}
	for n := range 5000 {
		i := tab.add(tab.parseUID(string(uid(n))), pods, "d", "x")
		tab.e[i].state = waiting
		d := w.tickOf(now) + 1 + r.Int64N([]int64{10, 300, 20_000, 100_000}[n%4])
		w.add(i, d)
		if n%7 == 0 {
			tab.unlink(i) // cancelled
		} else {
			due[i] = d
		}
	}
	for len(due) > 0 {
		at := w.next(idleTicks)
		if at <= w.tickOf(now) || at > w.tickOf(now)+idleTicks {
			t.Fatalf("the next look is %d ticks from now", at-w.tickOf(now))
		}
		now = w.timeOf(at)
		w.advance(now, func(i uint32) {
			d, ok := due[i]
			if !ok || d != at {
				t.Fatalf("fired %d ticks off (known: %v)", w.tickOf(now)-d, ok)
			}
			delete(due, i)
		})
		if now.Unix() > 1_030_000 {
			t.Fatalf("%d never fired", len(due))
		}
	}
}

func TestAddressSets(t *testing.T) {
	a := newAddresses()
	for _, tt := range []struct {
		cidrs []string
		first string
		room  int
	}{
		{[]string{"10.0.0.0/30"}, "[10.0.0.1]", 2},
		{[]string{"10.1.0.0/29", "2001:db8::/64"}, "[10.1.0.1 2001:db8::1]", 6},
		{[]string{"10.2.0.4/29"}, "[10.2.0.5]", 2},
		{[]string{"rubbish"}, "", 0},
		{[]string{"10.3.0.0/32"}, "", 0},
	} {
		set := a.set(tt.cidrs)
		n := 0
		for {
			off, err := a.alloc(set)
			if err != nil {
				break
			}
			got := fmt.Sprint(a.texts(set, off))
			if n++; n == 1 && got != tt.first {
				t.Errorf("%v: first is %s, want %s", tt.cidrs, got, tt.first)
			}
			for i, c := range a.sets[set] {
				if addr := c.at(off); !c.prefix.Contains(addr) || c.offset(addr) != off {
					t.Errorf("%v %d: %s is outside or not its own offset", tt.cidrs, i, addr)
				}
			}
		}
		if n != tt.room {
			t.Errorf("%v: room for %d, want %d", tt.cidrs, n, tt.room)
		}
	}
}

func TestExitStatus(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
	}{
		{[]string{"--no-such-flag"}, 2},
		{[]string{"--manage-all-nodes", "--manage-single-node=x"}, 2},
		{[]string{"--manage-all-nodes", "--v=LOUD"}, 2},
		{[]string{"--manage-all-nodes", "--node-ip=here"}, 2},
		{[]string{"--manage-all-nodes", "--server-address=10247"}, 2},
		{[]string{"--manage-all-nodes", "--config=/nonexistent"}, 1},
		{[]string{"--version"}, 0},
		{[]string{"--help"}, 0},
	} {
		t.Setenv("KWOK_WORKDIR", t.TempDir())
		if code := Main(t.Context(), tt.args, discard{}, discard{}); code != tt.code {
			t.Errorf("%v: exit %d, want %d", tt.args, code, tt.code)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
