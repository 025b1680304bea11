package offloader

import (
	"sync"
	"sync/atomic"
	"time"
)

// slowRuns counts the slow runs of a closed breaker in its rolling window. gobreaker has no
// rule for them.
type slowRuns struct {
	tripping atomic.Bool // the next failure trips

	mu     sync.Mutex
	period time.Duration // of a bucket
	last   [windowBuckets]int
	age    int64 // of the current bucket
}

// begin sets the length of the window.
func (s *slowRuns) begin(window time.Duration) { s.period = bucketPeriod(window) }

// ready reports whether too many runs are slow.
func (s *slowRuns) ready() bool { return s.tripping.Load() }

// add counts a slow run, and returns the number of those in the window.
func (s *slowRuns) add(now moment) (all int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := int64(now) / max(int64(s.period), 1)
	if age-s.age >= windowBuckets {
		s.last = [windowBuckets]int{}
	}
	for ; s.age < age; s.age = min(s.age+1, age) {
		s.last[(s.age+1)%windowBuckets] = 0
	}
	s.last[age%windowBuckets]++
	for _, n := range s.last {
		all += n
	}
	return all
}

// end begins an empty window.
func (s *slowRuns) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = [windowBuckets]int{}
}

// ranSlowly counts a slow run of a closed breaker, which trips if the share of them is too
// large. A run counts as soon as it is known to be slow, and its result later.
func (b *breaker) ranSlowly(now moment) {
	slow := b.slow.add(now)
	c := b.two.Counts()
	results := max(int(c.TotalSuccesses)+int(c.TotalFailures)+b.successes(), slow)
	if results < b.settings.MinRequests || float64(slow) < b.settings.SlowRatio*float64(results) {
		return
	}
	b.slow.tripping.Store(true)
	defer b.slow.tripping.Store(false)
	b.fail()
}
