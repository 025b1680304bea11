package offloader

import "time"

// lateShare bounds the waiters that are rejected for each permit that comes free: one,
// and this part of the queue. So the next permits can correct a wrong estimate early.
const lateShare = 32

// The methods below require g.mu.

// predictedRun is the time for which a run takes one permit, in nanoseconds: by the
// pace at which permits come free, if a queue has lasted long enough to measure it,
// else by the last runs. It is zero before a run has ended.
func (g *gate) predictedRun() float64 {
	if g.queue.len > 0 && g.pace.known() {
		return float64(g.pace.run)
	}
	return float64(g.runs.typical())
}

// drain predicts the time until that many waiters have had a turn. The configured
// concurrency counts, not the limit of a warm-up.
func (g *gate) drain(waiting int) float64 {
	return float64(waiting) * g.predictedRun() / float64(g.concurrency)
}

// rest is the least time until all waiters have had a turn: of the pace and the last
// runs it takes the faster. An error to that side lets callers wait a little longer, an
// error to the other side rejects them.
func (g *gate) rest() float64 {
	run := min(g.predictedRun(), float64(g.runs.typical()))
	return float64(g.queue.len) * run / float64(g.concurrency)
}

// healthy means that the queue, served in order, would be empty within a quarter of the
// longest wait. Beyond that, service in order makes all waiters late, while the newest
// can still be served in time.
func (g *gate) healthy() bool { return g.healthyWith(g.queue.len) }

func (g *gate) healthyWith(waiting int) bool {
	return g.fifo || g.maxWait == 0 || !g.runs.warm || g.drain(waiting) <= float64(g.maxWait)/4
}

// pick returns the waiter for the next permit. Waiters with a turn come first.
func (g *gate) pick(now moment) *waiter {
	line := &g.queue.line
	switch {
	case g.queue.kept.Len() > 0:
		return g.queue.kept.front()
	case g.healthy() || g.rescues(now):
		return line.front()
	}
	return line.back()
}

// late reports whether the oldest waiter would be too late if all others were served
// before, even at the faster of the two paces.
func (g *gate) late(now moment) bool {
	return float64(now-g.queue.line.front().arrived)+g.rest() > float64(g.maxWait)
}

// rescues reports whether the oldest waiter gets the next permit although the newest
// are served first: it would be late otherwise, and there is no overload. Overload
// means that clearly more callers come than are served, or that the queue is too long
// to be served before its newest waiter is late.
func (g *gate) rescues(now moment) bool {
	oldest, newest := float64(now-g.queue.line.front().arrived), float64(now-g.queue.line.back().arrived)
	return !g.pace.over && oldest+g.drain(g.queue.len) > float64(g.maxWait) && newest+g.rest() <= float64(g.maxWait)
}

// displaces reports whether a newcomer to a full queue takes the place of a waiter, as
// a newcomer at its turn does.
func (g *gate) displaces(kept bool) bool {
	return g.queueLimit > 0 && g.queue.line.Len() > 0 && (kept || !g.healthy())
}

// displaced is the waiter that would be served last.
func (g *gate) displaced() *waiter {
	if g.healthy() {
		return g.queue.line.back()
	}
	return g.queue.line.front()
}

// freed notes that the permit of a run comes free. With the newest served first, it
// rejects the oldest waiters that would be late. It does so only here, because a permit
// that comes free is the newest evidence. In a stall there is none, and no waiter is
// rejected before the longest wait is over.
func (g *gate) freed(now moment, out *verdicts) {
	if g.queue.len == 0 {
		return
	}
	g.pace.freed(g.running, now)
	g.rejectLate(now, out)
	if !g.pace.known() || g.maxWait == 0 {
		return
	}
	for n := 1 + g.queue.len/lateShare; n > 0 && g.queue.line.Len() > 0 && !g.healthy() && g.late(now) && !g.rescues(now); n-- {
		g.reject(g.queue.line.front(), PredictedLate, out)
	}
}

// rejectLate rejects waiters that have waited for the longest wait.
func (g *gate) rejectLate(now moment, out *verdicts) {
	for _, l := range [...]*line{&g.queue.kept, &g.queue.line} {
		for w := l.front(); w != nil && g.maxWait > 0 && time.Duration(now-w.arrived) >= g.maxWait; w = l.front() {
			g.reject(w, WaitTimeout, out)
		}
	}
	g.wakeIfIdle()
}

// due is when rejectLate is due, zero for never.
func (g *gate) due() moment {
	if g.queue.len == 0 || g.maxWait == 0 {
		return 0
	}
	return g.queue.oldest() + moment(g.maxWait)
}
