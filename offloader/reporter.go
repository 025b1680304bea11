package offloader

import (
	"sync/atomic"
	"time"
)

// MinTimeouts is the least number of timeouts in a row that trips a breaker, for pools
// with fewer permits.
const MinTimeouts = 3

// reporter reports the events of one run to the breaker. The zero value reports nothing.
type reporter struct {
	bucket     *bucket // in which the run began
	since      moment  // the begin of the run
	begun      bool    // the response has begun well; set for a report
	unanswered bool    // the backend has not answered
}

// breaker is that of the run, nil without one.
func (r reporter) breaker() *breaker {
	if r.bucket == nil {
		return nil
	}
	return r.bucket.breaker
}

// slow reports whether the response had not begun after the time of the rule for slow runs.
func (r reporter) slow(now moment) bool {
	s := r.bucket.breaker.settings
	return s.SlowRatio > 0 && !r.begun && time.Duration(now-r.since) > s.SlowAfter
}

// ended reports the outcome of the run at that moment. It must be called once.
func (r reporter) ended(o Outcome, timeout bool, now moment) {
	k := r.bucket
	if k == nil {
		return
	}
	b, slow := k.breaker, o != Excluded && r.slow(now)
	if o != Failure && !slow && k.counts(o, now) {
		return
	}
	current := k.sameState()
	if current && o != Excluded {
		r.count(o, timeout)
	}
	switch {
	case k.probe && slow:
		k.settle(errFailure)
	case k.probe:
		k.settle(o.err())
	case timeout && current:
		// gobreaker books a result at the time at which its run began. A timeout counts
		// from now on, however long the run was.
		b.fail()
	default:
		k.book(o)
	}
	if slow && !k.probe && k.sameState() {
		b.ranSlowly(now)
	}
	b.changes.notify()
}

// count counts a result in the rows of the breaker.
func (r reporter) count(o Outcome, timeout bool) {
	b := r.bucket.breaker
	switch {
	case !timeout:
		b.row.end()
	case !r.begun: // a long response is not a backend that hangs
		b.row.length.Add(1)
	}
	if o == Failure && r.unanswered {
		b.lost.length.Add(1)
	} else {
		b.lost.end()
	}
}

// began reports a response that has begun well at that moment.
func (r reporter) began(now moment) {
	k := r.bucket
	switch {
	case k == nil:
	case k.probe && r.slow(now):
		k.settle(errFailure)
		k.breaker.changes.notify()
	case k.probe:
		k.settle(nil)
		k.breaker.changes.notify()
	case k.sameState():
		k.breaker.row.end()
		k.breaker.lost.end()
		if r.slow(now) {
			k.breaker.ranSlowly(now)
			k.breaker.changes.notify()
		}
	}
}

// row counts consecutive timeouts. While a backend hangs, a pool has at most one timeout
// for each of its permits, which is too few for the other rules of the breaker.
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

// limit sets how many consecutive timeouts trip the breaker: one for each permit, at least
// MinTimeouts. A pool without a limit of permits uses MinRequests, if the ratio rule is on.
func (r *row) limit(concurrency int, s BreakerSettings) {
	if concurrency == 0 && s.FailureRatio > 0 {
		concurrency = s.MinRequests
	}
	if concurrency > 0 {
		concurrency = max(concurrency, MinTimeouts)
	}
	r.trips.Store(int32(concurrency))
}
