package offloader

import (
	"slices"
	"time"
)

// runsKept is how many of the last runs tell how long a run takes: few enough to
// follow a change within some rounds.
const runsKept = 16

// runTimes tells how long a run takes, by the median of the last runs: up to half of
// them may be anything, such as streams or runs that a stall has prolonged. The zero
// value knows nothing yet.
//
// The first round, the runs that began before any had ended, says little of the
// others: a backend that has just started loads its code, its connections, its
// model. So it counts only until a later run has ended.
type runTimes struct {
	last     [runsKept]time.Duration // a ring
	n, next  int                     // how many, and the place of the next one
	firstEnd moment
	warm     bool // the first round no longer counts

	median time.Duration
	sorted bool // median is that of last
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

// typical returns the median, the shorter of two, and zero before any run has ended.
// Runs end more often than their number is asked for, so it is found here.
func (r *runTimes) typical() time.Duration {
	if r.sorted || r.n == 0 {
		return r.median
	}
	last := r.last
	slices.Sort(last[:r.n])
	r.median, r.sorted = last[(r.n-1)/2], true
	return r.median
}
