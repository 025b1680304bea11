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
	// turnShare is the part of what the pool can do that turns are announced for. The
	// rest makes up for clients that come a little later than others.
	turnShare = 0.9
)

// virtualLine counts callers that were refused and will come back, as if they
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

// leave gives back the place of a caller that was served before its turn.
func (l *virtualLine) leave() { l.length = max(0, l.length-1) }

// jitter spreads d by a fifth to both sides, so that callers that were refused
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

// nextRetry advises a rejected caller; t is nil for a caller that the pool will not
// recognize.
func (p *Pool) nextRetry(r Reason, t *Ticket) time.Duration {
	switch r {
	case BreakerOpen:
		if b := p.breaker.Load(); b != nil {
			// Up to a second more, so that not all come back in one moment.
			return wholeSeconds(wholeSeconds(b.restOfCoolDown()) + time.Duration(rand.IntN(2))*time.Second)
		}
	case Draining, Closed:
		return wholeSeconds(jitter(closedRetry))
	}
	c := clientOf(t)
	return p.gate.advise(t, &c, p.now())
}

// advise tells a refused caller when to come back, and keeps that turn for it. A client
// that has a turn already is told of that.
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
	case t.kept: // it has had its turn, in vain
		t.kept = false
		return g.keepTurn(c, g.turnOfKept(), now)
	case k.due != 0: // it was refused before it could take it
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

// book returns about that time in whole seconds, when there is room for one more.
func (g *gate) book(wait time.Duration, now moment) time.Duration {
	run := g.runOrAge(now)
	if run == 0 || g.concurrency == unlimited {
		return wholeSeconds(jitter(wait))
	}
	second := float64(g.concurrency) * float64(time.Second) / run
	atOnce := min(second, float64(g.concurrency+g.queueLimit))
	if g.maxWait > 0 { // and some of it may be taken by then
		atOnce = min(atOnce, second*g.maxWait.Seconds()*3/4)
	}
	atOnce = max(atOnce, second/float64(perSecond), 1)
	return g.calendar.book(now, wholeSeconds(jitter(wait)), capacity{int(atOnce), int(max(second*turnShare+0.5, 1))})
}

// arrives counts a request, and reports whether it comes at its client's turn.
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

// useTurn lets a caller that comes at its turn wait before the line.
func (g *gate) useTurn(w *waiter, c *Client, now moment) {
	g.turns.remove(g.turns.find(c, now).due)
	g.countTurns()
	w.kept, w.ticket.kept = true, true
}

// served forgets one turn of a caller that gets a permit, its own if that is known. Also
// an early one, which was not needed.
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

// countTurns lets callers know without the lock whether there are turns.
func (g *gate) countTurns() { g.turned.Store(int32(g.turns.len)) }

// expectedWait gives a refused caller a place in the virtual line behind the queue,
// and returns when that place should have its turn.
func (g *gate) expectedWait(now moment) time.Duration {
	run, age := g.runOrAge(now), g.age(now)
	if run == 0 || g.concurrency == unlimited {
		return minRetry
	}
	rate := float64(g.concurrency) / run
	wait := (float64(g.queue.len) + g.line.join(now, rate)) / rate
	if age >= run {
		// All runs take longer than usual. What has lasted so long lasts as long again,
		// for all that is known.
		wait = max(wait, age)
	} else {
		wait -= age / float64(g.concurrency)
	}
	return time.Duration(min(wait, float64(maxRetry)))
}

// runOrAge is how long a run takes, at least as long as runs have taken by now if none
// has ended. It is zero if there is none.
func (g *gate) runOrAge(now moment) float64 {
	if g.runs.n > 0 || g.pace.known() {
		return max(g.predictedRun(), 1)
	}
	return g.age(now)
}

// turnOfKept is when the callers have had their turns that wait at theirs already.
func (g *gate) turnOfKept() time.Duration {
	if g.concurrency == unlimited {
		return minRetry
	}
	return time.Duration(min(float64(g.queue.kept.len+1)*g.predictedRun()/float64(g.concurrency), float64(maxRetry)))
}

// age is how long the youngest run has lasted if no permit is free, in nanoseconds.
func (g *gate) age(now moment) float64 {
	if g.vacant() || g.running == 0 {
		return 0
	}
	return float64(max(now-moment(g.lastBegan.Load()), 0))
}
