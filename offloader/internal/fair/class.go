package fair

import "github.com/caddy-offload/caddy-offload/internal/list"

// class is one of the classes, with the flows of its keys.
type class struct {
	account
	index   int
	virtual int64 // the tag of the last grant
	run     estimate
	seq     uint64
	active  int // flows that wait or run
	bucket  *flow
	backlog heap
	all     list.List[*Seat] // by arrival, without those at a turn
	lengths []list.List[*flow]
	longest int // the largest index of lengths that is not empty
	waiting int
}

// busy reports whether the class holds permits, or has waiters that may get some.
func (c *class) busy() bool { return len(c.backlog) > 0 || c.held > 0 }

// charge predicts the permit-time of a run of the flow, by the measured runs of the flow or
// of its class.
func (c *class) charge(f *flow, cost int) int64 {
	run := int64(firstCharge)
	switch {
	case f.run > 0:
		run = int64(f.run)
	case c.run > 0:
		run = int64(c.run)
	}
	return run * int64(cost)
}

// lengthen changes the number of waiters of the flow that can be displaced.
func (c *class) lengthen(f *flow, by int) {
	n := f.all.Len()
	if n > 0 {
		c.lengths[n].Remove(&f.sameLength)
	}
	n += by
	for len(c.lengths) <= n {
		c.lengths = append(c.lengths, list.List[*flow]{})
	}
	if n > 0 {
		f.sameLength.Value = f
		c.lengths[n].Push(&f.sameLength)
	}
	c.longest = max(c.longest, n)
	for c.longest > 0 && c.lengths[c.longest].Len() == 0 {
		c.longest--
	}
}

// next returns the flow with the lowest virtual time among those with waiters that may get
// a permit.
func (c *class) next(now int64) *flow {
	for {
		f := c.backlog[0]
		at := f.at(now)
		if at <= f.tag {
			return f
		}
		f.tag = at
		c.backlog.down(0)
	}
}
