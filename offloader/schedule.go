package offloader

import (
	"math/rand/v2"
	"time"
)

// secondsAhead is the number of seconds in a schedule: a bit more than maxRetry.
const secondsAhead = 64

// schedule holds the booked turns, the moments at which recognized callers shall come back,
// spaced so that each finds a free permit. The calendar does the same for callers that wait
// for whole seconds. The zero value is empty.
type schedule struct{ booked [secondsAhead]span } // a ring of seconds

// span is the booked part of one second: from its first turn to the end of its last one,
// which may lie in the next second.
type span struct{ first, end moment }

// book takes the first free moment from at on, and returns it with jitter that keeps the
// spacing, which is a second at most. It reports false if none is free until the end.
func (s *schedule) book(at, end, spacing moment) (moment, bool) {
	for n := second(at); at <= end; n++ {
		if m, ok := s.in(n, at, spacing); ok && m <= end {
			jitter := moment(float64(spacing) * (1 - turnShare) * rand.Float64())
			return min(m+jitter, end), true
		}
		at = max(at, startOf(n+1))
	}
	return 0, false
}

// in books the first free moment of a second from at on.
func (s *schedule) in(n int64, at, spacing moment) (moment, bool) {
	this, next := s.of(n), *s.of(n + 1)
	at = max(at, s.of(n-1).end)
	limit := startOf(n + 1)
	if next.first >= limit && next.first-limit < moment(time.Second) {
		limit = next.first
	} else {
		limit += spacing // nothing is booked there
	}
	empty := this.first < startOf(n)
	switch {
	case empty:
	case at+spacing <= this.first:
		this.first = at
		return at, true
	default:
		at = max(at, this.end)
	}
	if at+spacing > limit || at >= startOf(n+1) {
		return 0, false
	}
	if empty {
		this.first = at
	}
	this.end = at + spacing
	return at, true
}

func (s *schedule) of(n int64) *span { return &s.booked[(n+secondsAhead)%secondsAhead] }

// second returns the number of the second, since the pool's epoch, that a moment is in.
func second(m moment) int64 { return int64(m) / int64(time.Second) }

func startOf(n int64) moment { return moment(n * int64(time.Second)) }
