package password

import (
	"errors"
	"math/bits"
	"time"
)

// A Cost is what [Calibrate] found.
type Cost struct {
	Config Config        // what it was given, with the cost set
	Took   time.Duration // for one hash on this machine
}

// Calibrate returns cfg with the cost at which a hash takes about target on this
// machine, but no less than what cfg says and the floor of the algorithm, whatever
// that takes: compare Took with target. With argon2id and PBKDF2 it raises
// Iterations, with scrypt Memory, which can only double, and with bcrypt
// BcryptCost, each of which doubles the time; within the limits of cfg.
//
// It is for a tool that is run once on a machine like those of production, while
// that does nothing else, and whose result is written into the configuration. A
// service that calibrated itself as it starts would choose another cost on a busy
// day. It takes some ten times the target. A quarter of a second is a good target.
//
// It returns an error if target is not positive, or cfg is none that [New] takes.
func Calibrate(cfg Config, target time.Duration) (Cost, error) {
	return calibrate(cfg, target, measure)
}

// measure returns how long one hash takes: the least of three, since whatever else
// the machine does only makes it longer.
func measure(h *Hasher) (time.Duration, error) {
	least := time.Duration(1<<63 - 1)
	for range 3 {
		start := time.Now()
		if _, err := h.maker.hash("correct horse battery staple"); err != nil {
			return 0, err
		}
		least = min(least, time.Since(start))
	}
	return least, nil
}

func calibrate(cfg Config, target time.Duration, measure func(*Hasher) (time.Duration, error)) (Cost, error) {
	if target <= 0 {
		return Cost{}, errors.New("password: the target of Calibrate is not positive")
	}
	h, err := New(cfg)
	if err != nil {
		return Cost{}, err
	}
	k := h.knob()
	if m, ok := h.plainMaker().(params); ok {
		cfg.Memory = m.memory // that of fewer passes is more
	}
	at := func(n uint32) (Cost, error) {
		next := cfg
		k.set(&next, n)
		h, err := New(next)
		if err != nil {
			return Cost{}, err
		}
		took, err := measure(h)
		return Cost{next, took}, err
	}
	n := k.least
	best, err := at(n)
	if err != nil {
		return Cost{}, err
	}
	if k.doubles {
		for n++; n <= k.most && best.Took < target; n++ {
			next, err := at(n)
			if err != nil {
				return Cost{}, err
			}
			if next.Took > target {
				break
			}
			best = next
		}
		return best, nil
	}
	for range 2 { // the second time from close by
		more := float64(n) * float64(target) / float64(max(best.Took, 1))
		more = max(float64(k.least), min(more, float64(k.most)))
		n = uint32(more)
		if best, err = at(n); err != nil {
			return Cost{}, err
		}
	}
	return best, nil
}

// A knob is the one number of a Config that the cost of a hash grows with.
type knob struct {
	least, most uint32
	set         func(*Config, uint32)
	doubles     bool // one more is twice the cost, not one part more
}

// plainMaker is what makes the hashes, without the pepper.
func (h *Hasher) plainMaker() maker {
	if p, ok := h.maker.(pepperedMaker); ok {
		return p.maker
	}
	return h.maker
}

func (h *Hasher) knob() knob {
	setIterations := func(c *Config, n uint32) { c.Iterations = n }
	switch m := h.plainMaker().(type) {
	case params:
		return knob{m.passes, min(maxPasses, maxRounds*h.limits.memory/m.memory), setIterations, false}
	case pbkdf2Params:
		return knob{m.iterations, h.limits.iterations, setIterations, false}
	case scryptParams:
		most := min(h.limits.memory, maxRounds*h.limits.memory/m.p)
		return knob{m.logN, uint32(bits.Len32(most) - 1), func(c *Config, n uint32) { c.Memory = 1 << n }, true} //nolint:gosec // at least 1
	case bcryptCost:
		return knob{uint32(m), uint32(h.limits.bcryptCost), func(c *Config, n uint32) { c.BcryptCost = int(n) }, true} //nolint:gosec // at most 20
	}
	panic("password: a maker without a knob")
}
