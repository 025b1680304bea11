package offloader

import (
	"slices"
	"time"
)

// runsKept is the number of last runs in the estimate: few enough to follow a change
// within some rounds.
const runsKept = 16

// runTimes estimates how long a run takes, by the median of the last runs. So up to half of
// them may be untypical, such as streams or runs that a stall has prolonged. The zero value
// has no estimate.
//
// The runs of the first round, which began before any had ended, are not typical: a
// backend that has just started loads its code, its connections, its model. They count
// only until a later run has ended.
type runTimes struct {
	last     [runsKept]time.Duration // a ring
	n, next  int                     // number of entries, and the index of the next one
	firstEnd moment
	warm     bool // the first round does not count

	median time.Duration
	sorted bool // median is current
}

// add counts a run that ends now.
func (r *runTimes) add(run time.Duration, now moment) {
	later := r.n > 0 && now-moment(run) >= r.firstEnd
	switch {
	case r.n == 0:
		r.firstEnd = now
	case later && !r.warm:
		r.n, r.next, r.warm = 0, 0, true
	case !later && r.warm:
		return
	}
	r.last[r.next] = run
	r.next = (r.next + 1) % runsKept
	r.n = min(r.n+1, runsKept)
	r.sorted = false
}

// typical returns the median of the last runs, zero before a run has ended. It sorts only
// when it is called, because runs end more often.
func (r *runTimes) typical() time.Duration {
	if r.sorted || r.n == 0 {
		return r.median
	}
	last := r.last
	slices.Sort(last[:r.n])
	r.median, r.sorted = last[(r.n-1)/2], true
	return r.median
}
