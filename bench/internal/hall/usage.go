package hall

import (
	"slices"
	"time"
)

// Usage has the results of one party.
type Usage struct {
	Waits []float64 // of served and rejected requests, in seconds
	runs  []span    // in order of their ends
}

// span is the time of one run.
type span struct{ from, to time.Duration }

// PermitTime returns the permit-time of the runs between two times, in seconds.
func (u *Usage) PermitTime(from, to time.Duration) float64 {
	var sum time.Duration
	for _, r := range u.runs {
		sum += max(0, min(r.to, to)-max(r.from, from))
	}
	return sum.Seconds()
}

// Share returns the part of the first party in the permit-time of all, 0 to 1.
func Share(used []Usage, from, to time.Duration) float64 {
	all := 0.0
	for i := range used {
		all += used[i].PermitTime(from, to)
	}
	return used[0].PermitTime(from, to) / all
}

// LongestGap returns the longest time of a span without a run.
func (u *Usage) LongestGap(from, to time.Duration) time.Duration {
	var longest time.Duration
	busy := from
	for _, r := range byStart(u.runs) {
		if r.from >= to {
			break
		}
		longest = max(longest, r.from-busy)
		busy = max(busy, r.to)
	}
	return max(longest, to-busy)
}

func byStart(runs []span) []span {
	sorted := slices.Clone(runs)
	slices.SortFunc(sorted, func(a, b span) int { return int(a.from - b.from) })
	return sorted
}
