package requestbody

import (
	"sync/atomic"
	"time"
)

const (
	// RateAfter is how long a run has to wait for its client before that can be too
	// slow. It is as long as an upload into the spool is safe from others.
	RateAfter = 5 * time.Second

	// RateCheck is how often it is looked after that.
	RateCheck = 250 * time.Millisecond
)

// Rate measures how fast a client's body comes. Only the time counts in which it is
// waited for: a backend that takes it slowly is not the client's fault. One goroutine
// writes, any may read.
type Rate struct {
	taken  atomic.Int64 // bytes
	waited atomic.Int64 // in reads that have ended
	began  atomic.Int64 // the read under way, after the run's arrival; 0 without
}

// Begin notes that a read begins, at a time after the arrival of the run.
func (r *Rate) Begin(now time.Duration) { r.began.Store(max(int64(now), 1)) }

// End notes that a read has returned n bytes.
func (r *Rate) End(n int, now time.Duration) {
	r.waited.Add(int64(now) - r.began.Swap(0))
	r.taken.Add(int64(n))
}

// TooSlow reports whether a read waits for a client that has brought less than so many
// bytes a second.
func (r *Rate) TooSlow(least int64, now time.Duration) bool {
	began := r.began.Load()
	waited := time.Duration(r.waited.Load() + int64(now) - began)
	return began != 0 && waited >= RateAfter && float64(r.taken.Load()) < float64(least)*waited.Seconds()
}
