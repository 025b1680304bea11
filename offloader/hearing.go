package offloader

import "sync/atomic"

// MinTimeouts is the least number of timeouts in a row that trips a breaker,
// however few permits its pool has.
const MinTimeouts = 3

// hearing is how one run tells its breaker what happens to it. The zero value
// tells nothing.
type hearing struct {
	breaker *breaker
	settle  func(error) // of gobreaker, or of a probe
	probe   bool
	begun   bool   // the answer has begun well; set for a report
	era     uint32 // of the breaker when the run began
}

// tell settles the run. It must be called once.
func (h hearing) tell(o Outcome, timeout bool) {
	if h.breaker == nil {
		return
	}
	b, current := h.breaker, h.current()
	switch {
	case !current || o == Excluded:
	case !timeout:
		b.row.end()
	case !h.begun: // an answer that takes too long is not a backend that hangs
		b.row.length.Add(1)
	}
	if timeout && current && !h.probe {
		// gobreaker books a result at the time at which its run began. A timeout
		// counts from now on, however long the run was.
		h.settle(errExcluded)
		b.fail()
	} else {
		h.settle(o.err())
	}
	b.changes.notify()
}

// began tells of an answer that has begun well.
func (h hearing) began() {
	switch {
	case h.breaker == nil:
	case h.probe:
		h.settle(nil)
		h.breaker.changes.notify()
	case h.current():
		h.breaker.row.end()
	}
}

// current reports whether the breaker has been in one state since the run began.
// The results of other runs say nothing: gobreaker ignores them too.
func (h hearing) current() bool { return h.era == h.breaker.era.Load() }

// row counts timeouts in a row, without another result between them. A pool that
// hangs has no more timeouts than permits until the first of these come back: too
// few for the other rules.
type row struct {
	length atomic.Int32
	trips  atomic.Int32 // the length that trips, zero for none
}

// end begins a new row.
func (r *row) end() {
	if r.length.Load() != 0 {
		r.length.Store(0)
	}
}

func (r *row) ready() bool {
	most := r.trips.Load()
	return most > 0 && r.length.Load() >= most
}

// limit sets the length that trips: one timeout for each permit. Without a limit
// of permits nothing keeps timeouts from coming, and as many as the ratio rule asks
// for are enough, in however long a time.
func (r *row) limit(concurrency int, s BreakerSettings) {
	if concurrency == 0 && s.FailureRatio > 0 {
		concurrency = s.MinRequests
	}
	if concurrency > 0 {
		concurrency = max(concurrency, MinTimeouts)
	}
	r.trips.Store(int32(concurrency))
}
