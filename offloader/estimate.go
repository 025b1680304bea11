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
