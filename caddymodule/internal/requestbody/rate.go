package requestbody

import (
	"sync/atomic"
	"time"
)

const (
	// rateAfter is how long a run has to wait for its client before the client can count as
	// too slow. It equals the time in which a spooled upload cannot lose its place.
	rateAfter = 5 * time.Second

	// rateCheck is the interval of the checks after that.
	rateCheck = 250 * time.Millisecond
)

// rate measures how fast a client sends its body. Only the time of reads that wait for the
// client counts, since a backend that reads slowly is not the client's fault. One goroutine
// writes the fields, any may read them.
type rate struct {
	taken  atomic.Int64 // bytes
	waited atomic.Int64 // in reads that have ended
	began  atomic.Int64 // the read under way, since the body began; 0 without
}

// begin records that a read begins, as the time since the begin of the body.
func (r *rate) begin(now time.Duration) { r.began.Store(max(int64(now), 1)) }

// end notes that a read has returned n bytes.
func (r *rate) end(n int, now time.Duration) {
	r.waited.Add(int64(now) - r.began.Swap(0))
	r.taken.Add(int64(n))
}

// tooSlow reports whether a read waits for a client that has sent fewer than least bytes a
// second.
func (r *rate) tooSlow(least int64, now time.Duration) bool {
	began := r.began.Load()
	waited := time.Duration(r.waited.Load() + int64(now) - began)
	return began != 0 && waited >= rateAfter && float64(r.taken.Load()) < float64(least)*waited.Seconds()
}
