package requests

import (
	"cmp"
	"slices"
	"sync"
)

// Bounds of the list for `explain`.
const (
	DefaultExplain = 1024
	MaxExplain     = 100_000
)

// Explanations are the explanations of the last requests, for the command "explain": a ring
// of the requests that were not served as usual, and some served ones of each pool. Adding
// one allocates nothing.
type Explanations struct {
	served servedLists

	mu   sync.Mutex // guards the rest
	size int
	ring []Explanation // allocated by the first entry
	next int           // in the ring
	len  int
}

// NewExplanations returns a ring for that many.
func NewExplanations(size int) *Explanations {
	l := &Explanations{size: size}
	l.served.off.Store(size == 0)
	return l
}

// Served returns the list of served requests of a pool. The list exists as long as a route
// uses it.
func (l *Explanations) Served(pool string) *Served { return l.served.of(pool) }

// Resize changes the size and keeps the newest explanations that fit. With size zero,
// served requests are not recorded either.
func (l *Explanations) Resize(size int) {
	l.served.off.Store(size == 0)
	l.mu.Lock()
	defer l.mu.Unlock()
	if size == l.size {
		return
	}
	kept := l.newest(size)
	l.size, l.ring, l.next, l.len = size, nil, 0, 0
	for _, e := range slices.Backward(kept) {
		*l.slot() = e
	}
}

// Add records the end of a request.
func (l *Explanations) Add(e *Explanation, who *Identity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size == 0 {
		return
	}
	slot := l.slot()
	*slot = *e
	slot.Who.write(who)
}

// slot returns the next entry to be written. It requires l.mu.
func (l *Explanations) slot() *Explanation {
	if l.ring == nil {
		l.ring = make([]Explanation, l.size)
	}
	e := &l.ring[l.next]
	l.next = (l.next + 1) % l.size
	l.len = min(l.len+1, l.size)
	return e
}

// Last returns the newest entries, at most n, the newest first.
func (l *Explanations) Last(n int) []Explanation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest(n)
}

func (l *Explanations) newest(n int) []Explanation {
	all := make([]Explanation, min(n, l.len))
	for i := range all {
		all[i] = l.ring[(l.next-1-i+l.size)%l.size]
	}
	return all
}

// Slowest returns the slowest requests that the pools have served in the last minutes, at
// most n, the slowest first.
func (l *Explanations) Slowest(n int) []Explanation {
	all := []Explanation{}
	for _, s := range l.served.living() {
		all = s.lastSlowest(all)
	}
	slices.SortFunc(all, func(a, b Explanation) int { return cmp.Compare(b.Total(), a.Total()) })
	return all[:min(n, len(all))]
}

// Find returns the newest explanation of a request. Of nested pools the outermost one has
// added the newest. A request that was served is found only if no pool has an explanation
// of another end.
func (l *Explanations) Find(id WantedID) (Explanation, bool) {
	if e, ok := l.findUnserved(id); ok {
		return e, true
	}
	var newest Explanation
	found := false
	for _, s := range l.served.living() {
		if e, ok := s.find(id); ok && (!found || e.At.After(newest.At)) {
			newest, found = e, true
		}
	}
	return newest, found
}

func (l *Explanations) findUnserved(id WantedID) (Explanation, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.len {
		if e := &l.ring[(l.next-1-i+l.size)%l.size]; id.Of(e.ID) {
			return *e, true
		}
	}
	return Explanation{}, false
}
