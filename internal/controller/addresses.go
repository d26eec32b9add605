package controller

import (
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
)

// addresses says which pod addresses are taken: one bit each, per CIDR.
type addresses struct {
	cidrs map[string]*cidr
	sets  []addressSet
	setOf map[string]uint16
	// foreign, unless nil, tells the blocks of 64 that another controller takes addresses from. Only when there is
	// no other left do we.
	foreign func(block uint32) bool
}

// cidr is a range of addresses. The first one given out is base + 1; the last of IPv4 is kept for broadcast.
type cidr struct {
	prefix netip.Prefix
	base   netip.Addr
	size   uint32 // offsets 1 … size are usable
	bits   []uint64
	fresh  []uint64 // bits confirmed in the epoch under way
	hint   uint32
}

// addressSet is the CIDRs of a node, one per family: one offset serves them all.
type addressSet []*cidr

// maxOffset bounds the bitmap of a huge CIDR: 2 MiB.
const maxOffset = 1 << 24

func newAddresses() *addresses {
	return &addresses{cidrs: map[string]*cidr{}, sets: []addressSet{nil}, setOf: map[string]uint16{"": 0}}
}

// set returns the number of an address set, 0 if no CIDR can be read.
func (a *addresses) set(list []string) uint16 {
	key := strings.Join(list, ",")
	if n, ok := a.setOf[key]; ok {
		return n
	}
	var s addressSet
	for _, text := range list {
		if c := a.cidr(text); c != nil {
			s = append(s, c)
		}
	}
	n := uint16(0)
	if len(s) > 0 && len(a.sets) < 1<<16-1 {
		n = uint16(len(a.sets))
		a.sets = append(a.sets, s)
	}
	a.setOf[key] = n
	return n
}

func (a *addresses) cidr(text string) *cidr {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return nil
	}
	if c := a.cidrs[p.String()]; c != nil {
		return c
	}
	c := &cidr{prefix: p.Masked(), base: p.Addr()}
	host := p.Addr().BitLen() - p.Bits()
	room := new(big.Int).Lsh(big.NewInt(1), uint(host))
	room.Sub(room, big.NewInt(2))
	if !p.Addr().Is4() {
		room.Add(room, big.NewInt(1))
	}
	skip := new(big.Int).Sub(number(p.Addr()), number(c.prefix.Addr()))
	room.Sub(room, skip)
	if room.Sign() > 0 {
		c.size = maxOffset
		if room.IsInt64() && room.Int64() < maxOffset {
			c.size = uint32(room.Int64())
		}
	}
	a.cidrs[p.String()] = c
	return c
}

func number(a netip.Addr) *big.Int { return new(big.Int).SetBytes(a.AsSlice()) }

// at returns the address at an offset.
func (c *cidr) at(offset uint32) netip.Addr {
	b := c.base.AsSlice()
	for i, carry := len(b)-1, offset; i >= 0 && carry > 0; i-- {
		carry += uint32(b[i])
		b[i] = byte(carry)
		carry >>= 8
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// offset returns the offset of an address, 0 if it is none of the range.
func (c *cidr) offset(a netip.Addr) uint32 {
	if a.BitLen() != c.base.BitLen() || !c.prefix.Contains(a) || a.Less(c.base) {
		return 0
	}
	from, to := c.base.As16(), a.As16()
	n := uint64(0)
	for i := range 16 {
		if n = n<<8 + uint64(to[i]) - uint64(from[i]); i < 8 && n != 0 {
			return 0
		}
	}
	if n > uint64(c.size) {
		return 0
	}
	return uint32(n)
}

func has(bits []uint64, n uint32) bool { return int(n/64) < len(bits) && bits[n/64]&(1<<(n%64)) != 0 }

func put(bits []uint64, n uint32) []uint64 {
	for int(n/64) >= len(bits) {
		bits = append(bits, make([]uint64, max(16, len(bits)))...)
	}
	bits[n/64] |= 1 << (n % 64)
	return bits
}

func (c *cidr) take(n uint32) {
	if n == 0 || n > c.size {
		return
	}
	c.bits = put(c.bits, n)
	if c.fresh != nil {
		c.fresh = put(c.fresh, n)
	}
}

func (c *cidr) give(n uint32) {
	if n == 0 {
		return
	}
	if has(c.bits, n) {
		c.bits[n/64] &^= 1 << (n % 64)
	}
	if has(c.fresh, n) {
		c.fresh[n/64] &^= 1 << (n % 64)
	}
}

// alloc takes an offset that is free in all CIDRs of a set. Addresses go round, so that one just given back is
// not the next one out.
func (a *addresses) alloc(set uint16) (uint32, error) {
	s := a.sets[set]
	if len(s) == 0 {
		return 0, errors.New("no CIDR")
	}
	size := s[0].size
	for _, c := range s {
		size = min(size, c.size)
	}
	if a.foreign != nil {
		if at := a.search(s, size, a.foreign); at != 0 {
			return at, nil
		}
	}
	if at := a.search(s, size, nil); at != 0 {
		return at, nil
	}
	ranges := make([]string, len(s))
	for i, c := range s {
		ranges[i] = c.prefix.String()
	}
	return 0, fmt.Errorf("no free address in %s", strings.Join(ranges, ", "))
}

// search takes the next free offset, 0 if there is none but in the blocks to skip.
func (a *addresses) search(s addressSet, size uint32, skip func(block uint32) bool) uint32 {
	at := s[0].hint
	for tried := uint32(0); tried < size; tried++ {
		if at++; at > size {
			at = 1
		}
		if skip != nil && (tried == 0 || at == 1 || at%64 == 0) && skip(at/64) {
			tried += 63 - at%64
			at |= 63
			continue
		}
		if at%64 == 0 && size-at > 64 && int(at/64) < len(s[0].bits) && s[0].bits[at/64] == ^uint64(0) {
			at += 63
			continue
		}
		taken := false
		for _, c := range s {
			taken = taken || has(c.bits, at)
		}
		if !taken {
			for _, c := range s {
				c.take(at)
			}
			s[0].hint = at
			return at
		}
	}
	return 0
}

// free gives an offset of a set back.
func (a *addresses) free(set uint16, offset uint32) {
	for _, c := range a.sets[set] {
		c.give(offset)
	}
}

// take marks an offset of a set as taken.
func (a *addresses) take(set uint16, offset uint32) {
	for _, c := range a.sets[set] {
		c.take(offset)
	}
}

// texts returns the addresses at an offset of a set.
func (a *addresses) texts(set uint16, offset uint32) []any {
	var list []any
	for _, c := range a.sets[set] {
		list = append(list, c.at(offset).String())
	}
	return list
}

// each calls f with the CIDR and offset of those addresses that are of the set.
func (a *addresses) each(set uint16, ips []string, f func(c *cidr, offset uint32)) {
	for _, ip := range ips {
		addr, err := netip.ParseAddr(ip)
		if err != nil {
			continue
		}
		for _, c := range a.sets[set] {
			if n := c.offset(addr); n != 0 {
				f(c, n)
			}
		}
	}
}

// begin starts to collect what is confirmed; end forgets what was not.
func (a *addresses) begin() {
	for _, c := range a.cidrs {
		c.fresh = make([]uint64, 0, len(c.bits))
	}
}

func (a *addresses) end() {
	for _, c := range a.cidrs {
		if c.fresh != nil {
			c.bits, c.fresh = c.fresh, nil
		}
	}
}
