package offloader

import (
	"slices"
	"time"
)

const (
	// roundsKept is the number of last rounds that count.
	roundsKept = 8
	// roundsNeeded is the least number of rounds for an estimate. Of two rounds the shorter
	// one counts, so a single stall does not make runs look long.
	roundsNeeded = 2
	// roundAtLeast is the least number of permits that come free in a round. With
	// fewer, chance prevails.
	roundAtLeast = 8
	// overShare defines overload: more callers arrive than are served, by more than one
	// overShare-th of the served callers. A smaller difference may be chance.
	overShare = 4
)

// pace measures how fast permits come free while callers wait. A round ends when as many
// permits have come free as are in use: by then each permit has served one run on average,
// for any mix of runs, and even if some permits never come free.
//
// The measurement starts again with each queue that forms. The first round is not measured,
// since its runs began before the queue.
type pace struct {
	permits int    // taken while the round goes on
	left    int    // permits to come free in this round
	since   moment // start of the round
	came    int    // callers that joined in it
	counts  bool   // it is not the first round

	last    [roundsKept]round // a ring
	n, next int               // number of entries, and the index of the next one
	run     time.Duration     // the median of last, zero without any
	over    bool              // clearly more callers joined in last than were served
}

// round is the measurement of one round.
type round struct {
	run          time.Duration // of one permit, on average
	came, served int
}

// roundSize is the number of permits that come free in a round, the unit of the
// measurement. It is a multiple of all permits, so that runs that begin and end together do
// not distort it.
func roundSize(permits int) int {
	permits = max(permits, 1)
	return permits * ((roundAtLeast-1)/permits + 1)
}

// begin starts the measurement again, when the first caller joins an empty queue.
func (p *pace) begin(permits int, now moment) {
	*p = pace{permits: permits, left: roundSize(permits), since: now}
}

// freed counts n permits that come free while callers wait. permits is the number that was
// in use; if it has changed, the round starts again.
func (p *pace) freed(n, permits int, now moment) {
	if permits != p.permits {
		p.permits, p.left, p.since, p.came = permits, roundSize(permits), now, 0
		return
	}
	if p.left -= n; p.left > 0 {
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

// known reports whether enough rounds were measured since this queue formed. Until then the
// fields run and over have no meaning.
func (p *pace) known() bool { return p.n >= roundsNeeded }
