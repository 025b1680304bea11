package caddymodule

import (
	"slices"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// Bounds of what is remembered for `explain`.
const (
	defaultExplain = 1024
	maxExplain     = 100_000
)

// explained remembers the last requests that were not served as usual, of all
// pools of the process.
var (
	explained     = newExplanations(defaultExplain)
	explainLeases = leases[int]{apply: explained.resize}
)

// decision is what has become of a request.
type decision uint8

const (
	// decidedRejected: a pool did not admit it.
	decidedRejected decision = iota + 1
	// decidedTimedOut: its run took too long.
	decidedTimedOut
	// decidedCancelled: an operator has cancelled it.
	decidedCancelled
	// decidedLeft: its client left, which ended it.
	decidedLeft
	// decidedAbandoned: its client left, and its run went on to the end.
	decidedAbandoned

	decisionCount
)

var decisionNames = [decisionCount]string{"", "rejected", "timed_out", "cancelled", "left", "abandoned"}

// String returns the decision's word.
func (d decision) String() string { return decisionNames[d] }

// explanation is what is remembered of one request. It holds no string of the
// request, each of which would keep all of its head in memory.
type explanation struct {
	id                   requestID
	at                   time.Time
	pool                 string
	who                  note
	decision             decision
	reason               offloader.Reason
	unspooled            string // a word of bodyKinds, empty if its body is not passed on
	upload, waited, took time.Duration
	sends                int32
	ahead                int
	predicted            time.Duration
	pressure             offloader.Gauges // of the pool when it was decided
}

// explanations are a ring of the last of them. Adding one allocates nothing.
type explanations struct {
	mu   sync.Mutex
	size int
	ring []explanation // allocated by the first entry
	next int           // in the ring
	len  int
}

func newExplanations(size int) *explanations { return &explanations{size: size} }

// resize keeps the newest that fit.
func (l *explanations) resize(size int) {
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

// add remembers what has become of a request.
func (l *explanations) add(e *explanation, who *identity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size == 0 {
		return
	}
	slot := l.slot()
	*slot = *e
	slot.who.write(who)
}

// slot returns the next entry to be written. It requires l.mu.
func (l *explanations) slot() *explanation {
	if l.ring == nil {
		l.ring = make([]explanation, l.size)
	}
	e := &l.ring[l.next]
	l.next = (l.next + 1) % l.size
	l.len = min(l.len+1, l.size)
	return e
}

// last returns the newest entries, at most n, the newest first.
func (l *explanations) last(n int) []explanation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest(n)
}

func (l *explanations) newest(n int) []explanation {
	all := make([]explanation, min(n, l.len))
	for i := range all {
		all[i] = l.ring[(l.next-1-i+l.size)%l.size]
	}
	return all
}

// find returns the newest entry for an id: of nested pools the outermost one has
// the last word.
func (l *explanations) find(id wantedID) (explanation, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.len {
		if e := &l.ring[(l.next-1-i+l.size)%l.size]; id.of(e.id) {
			return *e, true
		}
	}
	return explanation{}, false
}
