package stage

import "math/rand/v2"

// Dice make every choice a function of a seed and of the object, not of the order in which objects come.
type Dice struct {
	seed   uint64
	source *rand.PCG
	rand   *rand.Rand
}

// NewDice returns the dice of a seed.
func NewDice(seed uint64) *Dice {
	source := rand.NewPCG(seed, 0)
	return &Dice{seed, source, rand.New(source)}
}

// Roll returns the choices of an object's move, whose number counts from the last time the object was at rest. They
// are good until the next Roll.
func (d *Dice) Roll(m *Meta, move uint16) *rand.Rand {
	const prime = 1099511628211 // FNV-1a
	h := uint64(14695981039346656037)
	for _, part := range [...]string{m.Kind, m.Namespace, m.Name} {
		for i := range len(part) {
			h = (h ^ uint64(part[i])) * prime
		}
		h = (h ^ '/') * prime
	}
	d.source.Seed(d.seed, h^uint64(move)*0x9e3779b97f4a7c15)
	return d.rand
}
