package fair

import "github.com/caddy-offload/caddy-offload/internal/list"

// Seat is one caller in the queue, while it waits and while it runs.
type Seat struct {
	// Value is the caller's own, for the user of the package.
	Value any
	// Cost is the number of permits that the caller takes, at least one.
	Cost int
	// Turn: the caller came back at its turn. It is served before callers of its key
	// without a turn, and is not displaced.
	Turn bool
	// Placeless: the caller takes no place of its key while it waits.
	Placeless bool

	class   *class
	key     *key
	flow    *flow
	granted int64
	charge  int64 // permit-time

	served  list.Element[*Seat] // in its flow, or of those that stand aside with its key
	ofFlow  list.Element[*Seat] // by arrival, without those at a turn
	ofClass list.Element[*Seat] // by arrival, without those at a turn
	aside   bool
}

// Class is the index of the caller's class.
func (s *Seat) Class() int { return s.class.index }

// Key is the caller's key, empty without one.
func (s *Seat) Key() string { return s.key.name }

// flow is the line of one key in one class.
type flow struct {
	account
	class *class
	run   estimate

	turns, line list.List[*Seat] // that may get a permit
	all         list.List[*Seat] // by arrival, without those at a turn
	sameLength  list.Element[*flow]

	tag int64 // a lower bound of its virtual time, in the heap
	seq uint64
	pos int // in the heap
}

func (f *flow) ready() int { return f.turns.Len() + f.line.Len() }

// first returns the flow's seat that is served next.
func (f *flow) first(oldest bool) *Seat {
	switch {
	case f.turns.Len() > 0:
		return f.turns.Front().Value
	case oldest:
		return f.line.Front().Value
	}
	return f.line.Back().Value
}

func (f *flow) lineOf(s *Seat) *list.List[*Seat] {
	if s.Turn {
		return &f.turns
	}
	return &f.line
}

// heap holds the flows of a class that have waiters which may get a permit, the lowest tag
// first.
type heap []*flow

func (h heap) before(i, j int) bool {
	return h[i].tag < h[j].tag || (h[i].tag == h[j].tag && h[i].seq < h[j].seq)
}

func (h heap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}

func (h *heap) push(f *flow) {
	f.pos = len(*h)
	*h = append(*h, f)
	h.up(f.pos)
}

func (h *heap) remove(f *flow) {
	i, last := f.pos, len(*h)-1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	if i < last {
		h.fix((*h)[i])
	}
}

// fix moves a flow to its place in the heap after the flow's tag, its place in the order of
// service, has changed.
func (h heap) fix(f *flow) {
	h.up(f.pos)
	h.down(f.pos)
}

func (h heap) up(i int) {
	for i > 0 && h.before(i, (i-1)/2) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (h heap) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h.before(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
