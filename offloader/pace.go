package offloader

import (
	"slices"
	"time"
)

const (
	// roundsKept is how many of the last rounds count.
	roundsKept = 8
	// roundsNeeded is how many rounds make evidence: the shorter of two counts, so
	// that one stall makes none.
	roundsNeeded = 2
	// roundAtLeast is the least number of permits that come free in a round. Fewer
	// would not tell a trend from chance.
	roundAtLeast = 8
	// overShare is the part of the served callers by which the callers that come have
	// to exceed them in an overload. Less is chance.
	overShare = 4
)

// pace measures how fast permits come free while callers wait. All permits are taken
// then. So once as many have come free as there are, a round, each of them has served
// one run on average: whatever mix the runs are, and also if some of the permits do not
// come free at all.
//
// It begins anew with each queue that forms. The first round is not measured, since its
// runs began before the queue.
type pace struct {
	permits int    // taken while the round goes on
	left    int    // permits to come free until the round is over
	since   moment // when the round began
	came    int    // callers that have begun to wait in it
	counts  bool   // it is not the first

	last    [roundsKept]round // a ring
	n, next int               // how many, and the place of the next one
	run     time.Duration     // the median of last, zero without any
	over    bool              // clearly more callers came in last than were served
}

// round is one measured round.
type round struct {
	run          time.Duration // of one permit, on average
	came, served int
}

// roundSize is how many permits have to come free in a round: a multiple of those that
// there are, so that runs that begin and end together do not matter.
func roundSize(permits int) int {
	permits = max(permits, 1)
	return permits * ((roundAtLeast-1)/permits + 1)
}

// begin starts anew, when the first caller begins to wait.
func (p *pace) begin(permits int, now moment) {
	*p = pace{permits: permits, left: roundSize(permits), since: now}
}

// freed counts a permit that comes free while callers wait. permits are those that
// were taken until now; if their number has changed the round begins again.
func (p *pace) freed(permits int, now moment) {
	if permits != p.permits {
		p.permits, p.left, p.since, p.came = permits, roundSize(permits), now, 0
		return
	}
	if p.left--; p.left > 0 {
		return
	}
	served := roundSize(permits)
	if p.counts {
		turns := served / max(permits, 1)
		p.add(round{time.Duration(now-p.since) / time.Duration(turns), p.came, served})
	}
	p.left, p.since, p.came, p.counts = served, now, 0, true
}

func (p *pace) add(r round) {
	p.last[p.next] = r
	p.next = (p.next + 1) % roundsKept
	p.n = min(p.n+1, roundsKept)
	var runs [roundsKept]time.Duration
	came, served := 0, 0
	for i, r := range p.last[:p.n] {
		runs[i] = r.run
		came, served = came+r.came, served+r.served
	}
	slices.Sort(runs[:p.n])
	p.run, p.over = runs[(p.n-1)/2], came > served+served/overShare
}

// known reports whether there is evidence from this queue.
func (p *pace) known() bool { return p.n >= roundsNeeded }
