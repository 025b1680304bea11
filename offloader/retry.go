package offloader

import (
	"math/rand/v2"
	"time"
)

// Limits of the advice to retry.
const (
	minRetry = time.Second
	maxRetry = time.Minute
	// closedRetry is the advice of a pool that ends: about the time that a new process
	// or a new configuration takes.
	closedRetry = 5 * time.Second
	retryJitter = 0.2
	// turnShare is the part of the pool's rate for which turns are announced. The rest
	// makes up for clients that come late.
	turnShare = 0.9
)

// virtualLine counts rejected callers that will come back, as if they stood in a line
// that drains at the rate of the pool. Advising each caller its place in the line
// spreads them over just the time that it takes to serve them.
type virtualLine struct {
	length float64
	at     moment
}

// join takes the next place and returns the length of the line, at a drain rate per
// nanosecond.
func (l *virtualLine) join(now moment, rate float64) float64 {
	l.length = max(0, l.length-float64(now-l.at)*rate) + 1
	l.at = now
	return l.length
}

// leave removes a caller that was served before its turn.
func (l *virtualLine) leave() { l.length = max(0, l.length-1) }

// jitter spreads d by a fifth to both sides, so that callers that were rejected
// together do not come back together.
func jitter(d time.Duration) time.Duration {
	spread := 1 + retryJitter*(2*rand.Float64()-1)
	return time.Duration(float64(d) * spread)
}

// wholeSeconds rounds up to whole seconds, the unit of a Retry-After field.
func wholeSeconds(d time.Duration) time.Duration {
	d = min(max(d, minRetry), maxRetry)
	return (d + time.Second - 1).Truncate(time.Second)
}

// nextRetry advises a rejected caller; t is nil for a caller that the pool will not
// recognize.
func (p *Pool) nextRetry(r Reason, t *Ticket) time.Duration {
	switch r {
	case BreakerOpen:
		if b := p.breaker.Load(); b != nil {
			// Up to a second more, so that callers do not all come back at once.
			return wholeSeconds(wholeSeconds(b.restOfCoolDown()) + time.Duration(rand.IntN(2))*time.Second)
		}
	case Draining, Closed:
		return wholeSeconds(jitter(closedRetry))
	}
	c := clientOf(t)
	return p.gate.advise(t, &c, p.now())
}

// advise returns when a rejected caller should come back, and keeps that turn for it. A
// client that has a turn gets the time of that turn again.
func (g *gate) advise(t *Ticket, c *Client, now moment) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.countTurns()
	if c.unknown() {
		return wholeSeconds(jitter(g.expectedWait(now)))
	}
	k := g.turns.find(c, now)
	g.turns.count(c, -1)
	switch {
	case t.kept: // its turn was in vain
		t.kept = false
		return g.keepTurn(c, g.turnOfKept(), now)
	case k.due != 0: // it was rejected before it could use its turn
		g.turns.remove(k.due)
		return g.keepTurn(c, g.turnOfKept(), now)
	case k.own != 0:
		return g.turns.again(k.own, now)
	case k.returns(now):
		return g.turns.again(k.early, now)
	}
	d := g.expectedWait(now)
	if k.n >= turnsOfOne {
		return wholeSeconds(jitter(d))
	}
	return g.keepTurn(c, d, now)
}

// The methods below require g.mu.

func (g *gate) keepTurn(c *Client, wait time.Duration, now moment) time.Duration {
	d := g.book(wait, now)
	g.turns.add(c, now+moment(d), now)
	return d
}

// book returns about that time in whole seconds, at which there is room for one more.
func (g *gate) book(wait time.Duration, now moment) time.Duration {
	run := g.runOrAge(now)
	if run == 0 || g.concurrency == unlimited {
		return wholeSeconds(jitter(wait))
	}
	second := float64(g.concurrency) * float64(time.Second) / run
	atOnce := min(second, float64(g.concurrency+g.queueLimit))
	if g.maxWait > 0 { // part of it may be used by then
		atOnce = min(atOnce, second*g.maxWait.Seconds()*3/4)
	}
	atOnce = max(atOnce, second/float64(perSecond), 1)
	return g.calendar.book(now, wholeSeconds(jitter(wait)), capacity{int(atOnce), int(max(second*turnShare+0.5, 1))})
}

// arrives counts a call, and reports whether it comes at its client's turn.
func (g *gate) arrives(c *Client, now moment) bool {
	if g.turns.len == 0 {
		return false
	}
	g.turns.count(c, 1)
	return g.takesTurn(c, now)
}

// takesTurn reports whether a caller comes at its turn.
func (g *gate) takesTurn(c *Client, now moment) bool {
	return g.turns.len > 0 && !c.unknown() && g.turns.find(c, now).due != 0
}

// useTurn puts a caller that comes at its turn before the line.
func (g *gate) useTurn(w *waiter, c *Client, now moment) {
	g.turns.remove(g.turns.find(c, now).due)
	g.countTurns()
	w.kept, w.ticket.kept = true, true
}

// served removes one turn of a caller that gets a permit, its own if that is known. It
// removes an early turn too, which was not needed.
func (g *gate) served(c *Client, now moment) {
	if g.turns.len == 0 || c.unknown() {
		return
	}
	k := g.turns.find(c, now)
	g.turns.count(c, -1)
	switch {
	case k.due != 0:
		g.turns.remove(k.due)
	case k.own != 0:
		g.turns.remove(k.own)
		g.line.leave()
	case k.returns(now):
		g.turns.remove(k.early)
		g.line.leave()
	}
	g.countTurns()
}

// countTurns publishes the number of turns, which callers read without the lock.
func (g *gate) countTurns() { g.turned.Store(int32(g.turns.len)) }

// expectedWait adds a rejected caller to the virtual line behind the queue, and returns
// when its turn should be.
func (g *gate) expectedWait(now moment) time.Duration {
	run, age := g.runOrAge(now), g.age(now)
	if run == 0 || g.concurrency == unlimited {
		return minRetry
	}
	rate := float64(g.concurrency) / run
	wait := (float64(g.queue.len) + g.line.join(now, rate)) / rate
	if age >= run {
		// All runs take longer than usual. The best guess is that they take as long
		// again.
		wait = max(wait, age)
	} else {
		wait -= age / float64(g.concurrency)
	}
	return time.Duration(min(wait, float64(maxRetry)))
}

// runOrAge is how long a run takes. If none has ended, it is at least the time that
// runs have taken so far. It is zero without runs.
func (g *gate) runOrAge(now moment) float64 {
	if g.runs.n > 0 || g.pace.known() {
		return max(g.predictedRun(), 1)
	}
	return g.age(now)
}

// turnOfKept is when the waiters that came at their turn have been served.
func (g *gate) turnOfKept() time.Duration {
	if g.concurrency == unlimited {
		return minRetry
	}
	return time.Duration(min(float64(g.queue.kept.Len()+1)*g.predictedRun()/float64(g.concurrency), float64(maxRetry)))
}

// age is the time that the youngest run has taken, in nanoseconds, if no permit is
// free.
func (g *gate) age(now moment) float64 {
	if g.vacant() || g.running == 0 {
		return 0
	}
	return float64(max(now-moment(g.lastBegan.Load()), 0))
}
