package controller

import (
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
)

// entry is an object that is not settled: waiting, in flight, parked, or written but not yet echoed. It has no
// pointers, so the garbage collector never looks inside.
type entry struct {
	uid        [16]byte
	seen, ours uint64 // newest version seen; version of our last write
	due        int64  // tick of the wheel
	key        uint64 // of the move it waits for
	namespace  uint32 // interned
	node       uint32 // interned name of the node a pod is bound to
	name       uint32 // offset in the arena
	body       uint32 // slot + 1
	addr       uint32 // offset in its address set, 0 for none
	set        uint16 // address set
	stage      uint16
	next, prev uint32 // in the list it stands in; itself if in none
	window     uint32 // second in which count began
	turn       uint16 // moves made since it was settled
	nameLen    uint8
	state      state
	tries      uint8
	kind       kind
	count      uint8 // moves since window
	flags      flags
}

type state uint8

const (
	free    state = iota
	parked        // its node is not ours (yet)
	waiting       // for its time, on the wheel
	ready         // for a sender
	flying        // a request is under way
	written       // the event of our write has not come yet
)

type flags uint8

const (
	again     flags = 1 << iota // a newer version came while flying
	gone                        // deleted while flying
	confirmed                   // seen in this epoch
	retry                       // what is left to do is in loop.rest
	deleted                     // our DELETE was accepted
	fetch                       // the body must come from the server, not from its cache
	due                         // the time of its move has come: whatever delays it now, it does not wait for it again
)

// table holds the entries, by uid.
type table struct {
	e     []entry
	freed uint32   // list of free entries, linked by next; 0 is none
	index []uint32 // open addressing, linear probing; 0 is empty
	live  int
	seed  maphash.Seed

	text []byte // arena of names
	dead int

	bodies   [][]byte
	bodyFree []uint32
	bodySize int

	words  []string // interned
	wordOf map[string]uint32
}

// maxBodies bounds the memory of bodies; what has none is fetched when it is needed.
const maxBodies = 16 << 20

func newTable() *table {
	return &table{e: make([]entry, 1, 256), index: make([]uint32, 256), seed: maphash.MakeSeed(), words: []string{""},
		wordOf: map[string]uint32{"": 0}}
}

// list makes the head of an empty list.
func (t *table) list() uint32 {
	i := t.alloc()
	t.e[i].next, t.e[i].prev = i, i
	return i
}

// drop gives back the head of a list.
func (t *table) dropList(i uint32) { t.release(i) }

func (t *table) alloc() uint32 {
	if i := t.freed; i != 0 {
		t.freed = t.e[i].next
		t.e[i] = entry{}
		return i
	}
	t.e = append(t.e, entry{})
	return uint32(len(t.e) - 1)
}

func (t *table) release(i uint32) {
	t.e[i] = entry{next: t.freed}
	t.freed = i
}

// push puts i at the end of a list, taking it from where it was.
func (t *table) push(list, i uint32) {
	t.unlink(i)
	last := t.e[list].prev
	t.e[i].prev, t.e[i].next = last, list
	t.e[last].next, t.e[list].prev = i, i
}

// unlink takes i from its list.
func (t *table) unlink(i uint32) {
	e := &t.e[i]
	t.e[e.prev].next, t.e[e.next].prev = e.next, e.prev
	e.next, e.prev = i, i
}

// first returns the first of a list, 0 if it is empty.
func (t *table) first(list uint32) uint32 {
	if i := t.e[list].next; i != list {
		return i
	}
	return 0
}

// parseUID turns a uid into 16 bytes: the value of a UUID, a hash of anything else.
func (t *table) parseUID(s string) (u [16]byte) {
	if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		var digits [32]byte
		n := copy(digits[:], s[:8])
		n += copy(digits[n:], s[9:13])
		n += copy(digits[n:], s[14:18])
		n += copy(digits[n:], s[19:23])
		copy(digits[n:], s[24:])
		if _, err := hex.Decode(u[:], digits[:]); err == nil {
			return u
		}
	}
	binary.LittleEndian.PutUint64(u[:], maphash.String(t.seed, s))
	binary.LittleEndian.PutUint64(u[8:], maphash.String(t.seed, s+"/"))
	return u
}

func (t *table) slot(u [16]byte) uint32 {
	h := binary.LittleEndian.Uint64(u[:]) ^ binary.LittleEndian.Uint64(u[8:])*0x9e3779b97f4a7c15
	return uint32(h>>32^h) & uint32(len(t.index)-1)
}

// find returns the entry of a uid, 0 if there is none.
func (t *table) find(u [16]byte) uint32 {
	for s := t.slot(u); t.index[s] != 0; s = (s + 1) & uint32(len(t.index)-1) {
		if t.e[t.index[s]].uid == u {
			return t.index[s]
		}
	}
	return 0
}

// add makes an entry.
func (t *table) add(u [16]byte, k kind, namespace, name string) uint32 {
	if t.live*2 >= len(t.index) {
		t.grow()
	}
	i := t.alloc()
	e := &t.e[i]
	e.uid, e.kind, e.next, e.prev = u, k, i, i
	e.namespace = t.intern(namespace)
	e.name, e.nameLen = uint32(len(t.text)), uint8(len(name))
	t.text = append(t.text, name...)
	t.insert(i)
	t.live++
	return i
}

func (t *table) insert(i uint32) {
	s := t.slot(t.e[i].uid)
	for t.index[s] != 0 {
		s = (s + 1) & uint32(len(t.index)-1)
	}
	t.index[s] = i
}

func (t *table) grow() {
	old := t.index
	t.index = make([]uint32, 2*len(old))
	for _, i := range old {
		if i != 0 {
			t.insert(i)
		}
	}
}

// remove forgets an entry.
func (t *table) remove(i uint32) {
	e := &t.e[i]
	t.unlink(i)
	t.dropBody(i)
	mask := uint32(len(t.index) - 1)
	s := t.slot(e.uid)
	for t.index[s] != i {
		s = (s + 1) & mask
	}
	// Close the gap, so that no probe ends too early.
	for next := (s + 1) & mask; t.index[next] != 0; next = (next + 1) & mask {
		home := t.slot(t.e[t.index[next]].uid)
		if (next-home)&mask >= (next-s)&mask {
			t.index[s] = t.index[next]
			s = next
		}
	}
	t.index[s] = 0
	t.dead += int(e.nameLen)
	t.release(i)
	t.live--
	if t.dead > 1<<16 && t.dead > len(t.text)/2 {
		t.compact()
	}
}

// compact rewrites the arena of names without the dead ones.
func (t *table) compact() {
	text := make([]byte, 0, len(t.text)-t.dead+1<<12)
	for i := range t.e {
		if e := &t.e[i]; e.state != free {
			at := uint32(len(text))
			text = append(text, t.text[e.name:e.name+uint32(e.nameLen)]...)
			e.name = at
		}
	}
	t.text, t.dead = text, 0
}

func (t *table) name(i uint32) string {
	e := &t.e[i]
	return string(t.text[e.name : e.name+uint32(e.nameLen)])
}

// intern returns a number for a string; there are few different ones.
func (t *table) intern(s string) uint32 {
	if n, ok := t.wordOf[s]; ok {
		return n
	}
	n := uint32(len(t.words))
	t.words = append(t.words, s)
	t.wordOf[s] = n
	return n
}

// keep stores the bytes of an object's newest version, if there is room.
func (t *table) keep(i uint32, body []byte) {
	t.dropBody(i)
	if t.bodySize+len(body) > maxBodies {
		return
	}
	t.bodySize += len(body)
	if n := len(t.bodyFree); n > 0 {
		s := t.bodyFree[n-1]
		t.bodyFree = t.bodyFree[:n-1]
		t.bodies[s] = body
		t.e[i].body = s + 1
		return
	}
	t.bodies = append(t.bodies, body)
	t.e[i].body = uint32(len(t.bodies))
}

func (t *table) body(i uint32) []byte {
	if s := t.e[i].body; s != 0 {
		return t.bodies[s-1]
	}
	return nil
}

func (t *table) dropBody(i uint32) {
	s := t.e[i].body
	if s == 0 {
		return
	}
	t.bodySize -= len(t.bodies[s-1])
	t.bodies[s-1] = nil
	t.bodyFree = append(t.bodyFree, s-1)
	t.e[i].body = 0
}
