package offloader

import "time"

// lateShare bounds how many waiters are rejected as late when a permit comes free: one, and
// one more for each lateShare waiters in the queue. So the next permits can correct a wrong
// estimate early.
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

// load is the number of permits that all waiters take.
func (g *gate) load() int {
	if g.shares == nil {
		return g.queue.len
	}
	return g.queue.len + g.shares.extra
}

// drain predicts the nanoseconds until waiters that need that many permits in all have got
// them. It assumes the configured concurrency, which a warm-up reduces for a while.
func (g *gate) drain(waiting int) float64 {
	return float64(waiting) * g.predictedRun() / float64(g.concurrency)
}

// rest predicts the least time in nanoseconds until all waiters have permits, by the
// shorter estimate of a run. If the prediction is too short, callers wait a little longer;
// if it were too long, they would be rejected.
func (g *gate) rest() float64 { return float64(g.load()) * g.leastRun() / float64(g.concurrency) }

// leastRun is the shorter of the two estimates of a run: predictedRun, and the median of
// the last runs.
func (g *gate) leastRun() float64 { return min(g.predictedRun(), float64(g.runs.typical())) }

// healthy means that the queue, served in order, would be empty within a quarter of the
// longest wait. Beyond that, service in order makes all waiters late, while the newest
// can still be served in time.
func (g *gate) healthy() bool { return g.healthyWith(g.load()) }

func (g *gate) healthyWith(waiting int) bool {
	return g.fifo || g.maxWait == 0 || !g.runs.warm || g.drain(waiting) <= float64(g.maxWait)/4
}

// pick returns the waiter for the next permit. Waiters that came back at their turn come
// first.
func (g *gate) pick(now moment) *waiter {
	line := &g.queue.line
	switch {
	case g.queue.before() > 0:
		return g.queue.first()
	case g.healthy() || g.rescues(now):
		return line.front()
	}
	return line.back()
}

// late reports whether the oldest waiter would exceed the longest wait if all others were
// served before it, even by the shorter estimate of a run.
func (g *gate) late(now moment) bool {
	return float64(now-g.queue.line.front().arrived)+g.rest() > float64(g.maxWait)
}

// rescues reports whether the oldest waiter gets the next permit although the newest
// are served first: it would be late otherwise, and there is no overload. Overload
// means that clearly more callers come than are served, or that the queue is too long
// to be served before its newest waiter is late.
func (g *gate) rescues(now moment) bool {
	oldest, newest := float64(now-g.queue.line.front().arrived), float64(now-g.queue.line.back().arrived)
	return !g.pace.over && oldest+g.drain(g.load()) > float64(g.maxWait) && newest+g.rest() <= float64(g.maxWait)
}

// displaces reports whether a newcomer to a full queue takes the place of a waiter: if it
// comes back at its turn (kept), or if the newest are served first.
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

// freed measures the pace when the permits of a run come free. While the newest are served
// first, it also rejects the oldest waiters that would be late. No other event rejects
// them: while the backend stalls, there is no new evidence, and each waiter keeps its
// longest wait. The queue must not be empty.
func (g *gate) freed(permits int, now moment, out *verdicts) {
	g.pace.freed(permits, g.running, now)
	g.rejectLate(now, out)
	if !g.pace.known() || g.maxWait == 0 {
		return
	}
	for n := 1 + g.queue.len/lateShare; n > 0 && g.queue.line.Len() > 0 && !g.healthy() && g.late(now) && !g.rescues(now); n-- {
		g.reject(g.queue.line.front(), PredictedLate, now, out)
	}
}

// rejectLate rejects waiters that have waited for the longest wait.
func (g *gate) rejectLate(now moment, out *verdicts) {
	for _, l := range g.queue.lines() {
		for w := l.front(); w != nil && g.maxWait > 0 && time.Duration(now-w.arrived) >= g.maxWait; w = l.front() {
			g.reject(w, WaitTimeout, now, out)
		}
	}
	g.wakeIfIdle()
}

// due is when rejectLate is due, zero for never.
func (g *gate) due() moment {
	if g.queue.all() == 0 || g.maxWait == 0 {
		return 0
	}
	return g.queue.oldest() + moment(g.maxWait)
}
