package requests

import (
	"slices"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Bounds of the list for `explain`.
const (
	DefaultExplain = 1024
	MaxExplain     = 100_000
)

// explained remembers the last requests that were not served as usual, of all
// pools of the process.
var (
	Explained     = newExplanations(DefaultExplain)
	ExplainLeases = pools.Leases[int]{Apply: Explained.resize}
)

// Decision is the end of a request.
type Decision uint8

const (
	// DecidedRejected: a pool did not admit it.
	DecidedRejected Decision = iota + 1
	// DecidedTimedOut: its run took too long.
	DecidedTimedOut
	// DecidedCancelled: an operator has cancelled it.
	DecidedCancelled
	// DecidedLeft: its client left, which ended it.
	DecidedLeft
	// DecidedAbandoned: its client left, and its run went on to the end.
	DecidedAbandoned

	decisionCount
)

var decisionNames = [decisionCount]string{"", "rejected", "timed_out", "cancelled", "left", "abandoned"}

// String returns the decision's word.
func (d Decision) String() string { return decisionNames[d] }

// Explanation describes the end of one request. It holds no string of the request, each of
// which would keep all of its head in memory.
type Explanation struct {
	ID                   ID
	At                   time.Time
	Pool                 string
	Who                  note
	Decision             Decision
	Reason               offloader.Reason
	Unspooled            string // the kind of a body that is passed on as it comes, empty without
	Upload, Waited, Took time.Duration
	Sends                int32
	Ahead                int
	Predicted            time.Duration
	Pressure             offloader.Gauges // of the pool when it was decided
}

// explanations are a ring of the last of them. Adding one allocates nothing.
type explanations struct {
	mu   sync.Mutex
	size int
	ring []Explanation // allocated by the first entry
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

// Add remembers the end of a request.
func (l *explanations) Add(e *Explanation, who *Identity) {
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
func (l *explanations) slot() *Explanation {
	if l.ring == nil {
		l.ring = make([]Explanation, l.size)
	}
	e := &l.ring[l.next]
	l.next = (l.next + 1) % l.size
	l.len = min(l.len+1, l.size)
	return e
}

// Last returns the newest entries, at most n, the newest first.
func (l *explanations) Last(n int) []Explanation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest(n)
}

func (l *explanations) newest(n int) []Explanation {
	all := make([]Explanation, min(n, l.len))
	for i := range all {
		all[i] = l.ring[(l.next-1-i+l.size)%l.size]
	}
	return all
}

// Find returns the newest entry for an id: of nested pools the outermost one has
// the last word.
func (l *explanations) Find(id WantedID) (Explanation, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.len {
		if e := &l.ring[(l.next-1-i+l.size)%l.size]; id.Of(e.ID) {
			return *e, true
		}
	}
	return Explanation{}, false
}
