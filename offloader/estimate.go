package offloader

import (
	"math/rand/v2"
	"time"
)

// Limits of the advice to retry. Seconds, because Retry-After knows no less.
const (
	minRetry = time.Second
	maxRetry = time.Minute
	// closedRetry is advised by a pool that ends: about the time a new process
	// or a new configuration takes.
	closedRetry = 5 * time.Second
	retryJitter = 0.2
)

// meanWeight is the share of a new run in the mean: about the last 16 runs
// count, so that the estimate follows a change within a few rounds.
const meanWeight = 1.0 / 16

// meanRun is a moving mean of run times. The zero value knows nothing yet.
//
// The first round, the runs that began before any had ended, says little of the
// others: a backend that has just started loads its code, its connections, its
// model. So it counts only until a later run has ended.
type meanRun struct {
	ns       float64
	n        int
	firstEnd moment
	warm     bool // the first round no longer counts
}

// add counts a run that ends now.
func (m *meanRun) add(run time.Duration, now moment) {
	later := m.n > 0 && now-moment(run) >= m.firstEnd
	switch {
	case m.n == 0:
		m.firstEnd = now
	case later && !m.warm:
		m.n, m.warm = 0, true
	case !later && m.warm:
		return
	}
	m.n++
	weight := max(meanWeight, 1/float64(m.n))
	m.ns += (float64(run) - m.ns) * weight
}

// virtualLine counts callers who were sent away and will come back, as if they
// stood in a line that drains at the rate the pool works at. Advising each its
// place in that line spreads them over just the time that serving them takes.
type virtualLine struct {
	length float64
	at     moment
}

// join takes the next place and returns how many stand there, at a drain rate
// per nanosecond.
func (l *virtualLine) join(now moment, rate float64) float64 {
	l.length = max(0, l.length-float64(now-l.at)*rate) + 1
	l.at = now
	return l.length
}

// jitter spreads d by a fifth to both sides, so that callers who were refused
// together do not come back together.
func jitter(d time.Duration) time.Duration {
	spread := 1 + retryJitter*(2*rand.Float64()-1)
	return time.Duration(float64(d) * spread)
}

// wholeSeconds rounds up to what a Retry-After field can say.
func wholeSeconds(d time.Duration) time.Duration {
	d = min(max(d, minRetry), maxRetry)
	return (d + time.Second - 1).Truncate(time.Second)
}
