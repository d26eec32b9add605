package controller

import "math/rand/v2"

// dice make every choice a function of a seed and of the object, not of the order in which objects come.
type dice struct {
	seed   uint64
	source *rand.PCG
	rand   *rand.Rand
}

func newDice(seed uint64) dice {
	source := rand.NewPCG(seed, 0)
	return dice{seed, source, rand.New(source)}
}

// roll returns the choices of the turn-th move of an object.
func (d *dice) roll(kind, namespace, name string, turn uint16) *rand.Rand {
	const prime = 1099511628211 // FNV-1a
	h := uint64(14695981039346656037)
	for _, part := range [...]string{kind, namespace, name} {
		for i := range len(part) {
			h = (h ^ uint64(part[i])) * prime
		}
		h = (h ^ '/') * prime
	}
	d.source.Seed(d.seed, h^uint64(turn)*0x9e3779b97f4a7c15)
	return d.rand
}
