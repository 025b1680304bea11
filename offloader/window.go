package offloader

import (
	"sync"
	"sync/atomic"
	"time"
)

// windowBuckets is the resolution of the rolling window.
const windowBuckets = 10

// bucketPeriod is the time of one bucket of a rolling window.
func bucketPeriod(window time.Duration) time.Duration { return window / windowBuckets }

// window counts the successes of a closed breaker that gobreaker does not book. It has the
// same buckets as gobreaker's rolling window.
//
// Of the results in a closed breaker, gobreaker has to book the failures, and the
// successes that end a row of failures. All other successes change nothing but their
// number, which only readyToTrip reads, and which it gets from here. Excluded results
// change nothing at all.
//
// gobreaker moves its window only when it is called. Therefore the first run that begins or
// ends in the time of a bucket goes to gobreaker. The callback that gobreaker returns for
// that run serves all runs of the bucket, since it only holds the generation and the
// bucket.
type window struct {
	period  time.Duration          // of a bucket
	current atomic.Pointer[bucket] // nil until a run begins in a closed breaker
	began   moment                 // the first bucket; guarded by breaker.mu

	// booking is held while a closed breaker's gobreaker is called, before its mutex.
	booking sync.Mutex
	last    []*bucket // a ring, by age, with buckets of earlier eras; guarded by booking
}

// bucket is one time slice of a closed breaker's window. The outcome of a run counts in the
// bucket in which the run began. A probe has a separate bucket, outside of the window.
type bucket struct {
	breaker *breaker
	probe   bool
	era     uint32 // of the breaker
	age     int64  // the number of buckets before it in its era
	until   moment
	settle  func(error) // of gobreaker, for each run of the bucket, or of a probe

	_ [64]byte // keeps state, which runs write, off the cache line of the fields that they read

	// state is twice the number of counted successes, plus one if gobreaker has to book
	// the next success of the bucket: it may have booked a failure since the last one.
	state atomic.Uint64
}

// booksNext is the lowest bit of bucket.state.
const booksNext = 1

// count counts a success of the bucket, unless gobreaker has to book it.
func (k *bucket) count() bool {
	for {
		state := k.state.Load()
		if state&booksNext != 0 {
			return false
		}
		if k.state.CompareAndSwap(state, state+2) {
			return true
		}
	}
}

// counts reports whether gobreaker need not book an outcome, which is no failure: it is
// counted here, or changes nothing.
func (k *bucket) counts(o Outcome, now moment) bool {
	b := k.breaker
	if current := b.window.at(now); current == nil || current.era != k.era {
		return false
	}
	if o == Excluded {
		return true
	}
	b.row.end()
	b.lost.end()
	return k.count()
}

// book makes gobreaker book the outcome of a run.
func (k *bucket) book(o Outcome) {
	b := k.breaker
	b.window.booking.Lock()
	defer b.window.booking.Unlock()
	if b.State() == StateOpen { // gobreaker would ignore it, and begin to probe
		return
	}
	if o == Failure {
		b.window.failing()
	}
	k.settle(o.err())
	if o == Success {
		k.state.And(^uint64(booksNext))
	}
}

// sameState reports whether the breaker has not changed its state since the run began. If it
// has, the run's result is ignored, as in gobreaker.
func (k *bucket) sameState() bool { return k.era == k.breaker.era.Load() }

func (k *bucket) successes() int { return int(k.state.Load() / 2) }

// begin starts the first era, the time between two changes of the state. gobreaker's
// buckets begin a little earlier, so a run never begins in an earlier bucket of gobreaker's
// than here.
func (w *window) begin(length time.Duration, now moment) {
	w.period, w.began = bucketPeriod(length), now
	if w.period > 0 { // else each run has its own bucket, and gobreaker books all
		w.last = make([]*bucket, (length+w.period-1)/w.period)
	}
}

// at returns the bucket of a run that begins at that moment, nil if gobreaker must be
// asked first.
func (w *window) at(now moment) *bucket {
	if k := w.current.Load(); k != nil && now < k.until {
		return k
	}
	return nil
}

// failing is called before gobreaker books a failure: from then on gobreaker has to book
// the next success of each bucket too. The caller holds w.booking until the failure is
// booked.
func (w *window) failing() {
	for _, k := range w.last {
		if k != nil {
			k.state.Or(booksNext)
		}
	}
}

// The methods below require b.window.booking.

// open makes k the bucket of the runs that begin from now on, unless the breaker's state
// has changed. The time now was read before gobreaker was asked.
func (b *breaker) open(k *bucket, now moment) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k.state.Store(booksNext)
	if w := &b.window; w.period > 0 && !b.closed && b.era.Load() == k.era {
		k.age = w.ageAt(now)
		k.until = w.began + moment(k.age+1)*moment(w.period)
		w.last[k.age%int64(len(w.last))] = k
		w.current.Store(k)
	}
}

// ageAt is the age of a bucket that is open at that moment. It requires b.mu.
func (w *window) ageAt(now moment) int64 {
	return int64(max(now-w.began, 0)) / int64(w.period)
}

// successes is the number of successes in the window that gobreaker has not booked.
func (b *breaker) successes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	w, n := &b.window, 0
	if w.period == 0 {
		return 0
	}
	age := w.ageAt(b.clock.now())
	for _, k := range w.last {
		if k != nil && k.era == b.era.Load() && age-k.age < int64(len(w.last)) {
			n += k.successes()
		}
	}
	return n
}
