package journal

import (
	"slices"
	"time"
)

// MostInside returns the highest number of runs that were inside one process at the same
// time.
func MostInside(entries []Entry) int {
	inside, most := 0, 0
	for _, e := range entries {
		switch e.Kind {
		case Serves:
			inside = 0 // the runs of the earlier process are over
		case Arrived:
			inside++
			most = max(most, inside)
		case Left:
			inside--
		}
	}
	return most
}

// Idle returns for how long each of the upstream's permits was idle between two runs, if
// there are always waiters. A run takes the permit that has been idle for the longest time.
// While the upstream is not in service no permit is idle, and none is idle before the first
// run after that.
func Idle(entries []Entry, permits int) []time.Duration {
	var (
		gaps   []time.Duration
		since  []time.Time // of the idle permits
		inside int
		ill    bool
	)
	for _, e := range entries {
		switch e.Kind {
		case Serves, Killed:
			since, inside, ill = nil, 0, false
		case Ill:
			since, ill = nil, true
		case Well:
			ill = false
		case Left:
			inside--
			// Fewer are free if there were more runs than permits.
			if !ill && inside+len(since) < permits {
				since = append(since, e.At)
			}
		case Arrived:
			inside++
			if len(since) > 0 {
				gaps = append(gaps, e.At.Sub(since[0]))
				since = since[1:]
			}
		}
	}
	return gaps
}

// InService reports whether the upstream was in service for all of the time from d before
// a moment to the moment: its last health check was good, and it has not been killed since.
func InService(entries []Entry, at time.Time, d time.Duration) bool {
	in := false
	for _, e := range entries {
		if e.At.After(at) {
			break
		}
		switch e.Kind {
		case Well:
			in = in || !e.At.After(at.Add(-d))
		case Serves, Killed, Ill:
			in = false
		}
	}
	return in
}

// Times returns how often each request has reached a kind, by its number. Requests without
// a number are left out.
func Times(entries []Entry, kind Kind) map[int]int {
	times := make(map[int]int)
	for _, e := range entries {
		if e.Kind == kind && e.Number != 0 {
			times[e.Number]++
		}
	}
	return times
}

// Last returns the time of the last entry of a kind, and false without one.
func Last(entries []Entry, kind Kind) (time.Time, bool) {
	for _, e := range slices.Backward(entries) {
		if e.Kind == kind {
			return e.At, true
		}
	}
	return time.Time{}, false
}
