package offloader

import "sync/atomic"

// MinTimeouts is the least number of timeouts in a row that trips a breaker, for pools
// with fewer permits.
const MinTimeouts = 3

// reporter passes what happens to one run on to its breaker. The zero value passes
// nothing on.
type reporter struct {
	breaker *breaker
	settle  func(error) // of gobreaker, or of a probe
	probe   bool
	begun   bool   // the response has begun well; set for a report
	era     uint32 // of the breaker when the run began
}

// ended reports the outcome of the run. It must be called once.
func (r reporter) ended(o Outcome, timeout bool) {
	if r.breaker == nil {
		return
	}
	b, current := r.breaker, r.sameState()
	switch {
	case !current || o == Excluded:
	case !timeout:
		b.row.end()
	case !r.begun: // a long response is not a backend that hangs
		b.row.length.Add(1)
	}
	if timeout && current && !r.probe {
		// gobreaker books a result at the time at which its run began. A timeout counts
		// from now on, however long the run was.
		r.settle(errExcluded)
		b.fail()
	} else {
		r.settle(o.err())
	}
	b.changes.notify()
}

// began reports a response that has begun well.
func (r reporter) began() {
	switch {
	case r.breaker == nil:
	case r.probe:
		r.settle(nil)
		r.breaker.changes.notify()
	case r.sameState():
		r.breaker.row.end()
	}
}

// sameState reports whether the breaker has been in one state since the run began.
// Results of other runs are ignored, as gobreaker does.
func (r reporter) sameState() bool { return r.era == r.breaker.era.Load() }

// row counts timeouts in a row, without another result between them. A pool that hangs
// produces no more timeouts than it has permits until the first permits come back,
// which is too few for the other rules.
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

// limit sets the length that trips: one timeout for each permit. Without a limit of
// permits, timeouts are not bounded, and the number that the ratio rule asks for is
// enough, in any time.
func (r *row) limit(concurrency int, s BreakerSettings) {
	if concurrency == 0 && s.FailureRatio > 0 {
		concurrency = s.MinRequests
	}
	if concurrency > 0 {
		concurrency = max(concurrency, MinTimeouts)
	}
	r.trips.Store(int32(concurrency))
}
