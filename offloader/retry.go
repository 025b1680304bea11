package offloader

import (
	"math/rand/v2"
	"time"
)

// Limits of the advice to retry.
const (
	minRetry = time.Second
	maxRetry = time.Minute
	// closedRetry is the advice of a draining or closed pool: about the time that a new
	// process or a new configuration takes.
	closedRetry = 5 * time.Second
	retryJitter = 0.2
	// turnShare is the part of the pool's throughput for which rejected clients get turns,
	// the times to come back. The rest makes up for clients that come late.
	turnShare = 0.9
)

// virtualLine counts the rejected callers that are expected back, as if they stood in a
// line that the pool serves at its rate. Each caller is advised to come back when its place
// in the line would be served, so callers come as fast as the pool can serve them.
type virtualLine struct {
	length float64
	at     moment
}

// join adds a caller to the line and returns the new length. rate is the number of callers
// that the pool serves in a nanosecond.
func (l *virtualLine) join(now moment, rate float64) float64 {
	l.length = max(0, l.length-float64(now-l.at)*rate) + 1
	l.at = now
	return l.length
}

// leave removes a caller that was served before its turn.
func (l *virtualLine) leave() { l.length = max(0, l.length-1) }

// Retry is when a rejected caller should come back. An answer in HTTP says it twice:
//
//   - Retry-After-Ms is Turn in milliseconds, rounded up.
//   - Retry-After is Seconds, for the clients that know nothing else.
type Retry struct {
	// Turn is the time until the turn of the caller, from a second to a minute. No two
	// callers that a pool recognizes get the same turn.
	Turn time.Duration
	// Seconds is a whole number of seconds for callers that cannot come back at Turn: from
	// 1 to 60, never before Turn. It is later if more callers would come back in that
	// second than the pool has room for. The pool keeps the turn until then, and a minute
	// more.
	Seconds int
}

// whole returns the advice in whole seconds as a duration.
func (r Retry) whole() time.Duration { return time.Duration(r.Seconds) * time.Second }

// retryAround returns advice to come back after about d, with jitter. It books no turn.
func retryAround(d time.Duration) Retry { return retryBy(wholeSeconds(jitter(d)), minRetry) }

// retryBy returns advice with whole as Seconds and, as Turn, a random time within the
// second before, but not before least.
func retryBy(whole, least time.Duration) Retry {
	return retryWith(max(whole-rand.N(time.Second), least), whole)
}

func retryWith(d, whole time.Duration) Retry {
	return Retry{Turn: advisable(d), Seconds: int(whole / time.Second)}
}

// advisable limits d to the range of advice, from minRetry to maxRetry.
func advisable(d time.Duration) time.Duration { return min(max(d, minRetry), maxRetry) }

// jitter spreads d by a fifth to both sides, so that callers that were rejected
// together do not come back together.
func jitter(d time.Duration) time.Duration {
	spread := 1 + retryJitter*(2*rand.Float64()-1)
	return time.Duration(float64(d) * spread)
}

// wholeSeconds rounds advice up to whole seconds.
func wholeSeconds(d time.Duration) time.Duration {
	return (advisable(d) + time.Second - 1).Truncate(time.Second)
}

// nextRetry advises a rejected caller; t is nil for a caller that the pool will not
// recognize.
func (p *Pool) nextRetry(r Reason, t *Ticket) Retry {
	switch r {
	case BreakerOpen:
		if b := p.breaker.Load(); b != nil {
			// Up to a second more, so that callers do not all come back at once.
			rest := b.restOfCoolDown()
			return retryBy(wholeSeconds(wholeSeconds(rest)+time.Duration(rand.IntN(2))*time.Second), rest)
		}
	case Draining, Closed:
		return retryAround(closedRetry)
	}
	c := clientOf(t)
	return p.gate.advise(t, &c, p.now())
}

// advise returns when a rejected caller should come back, its turn, and keeps the turn for
// its client. A client that has a turn gets the time of that turn again.
func (g *gate) advise(t *Ticket, c *Client, now moment) Retry {
	g.mu.Lock()
	defer g.unlock()
	defer g.countTurns()
	if c.unknown() {
		return retryAround(g.expectedWait(now))
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
		return retryAround(d)
	}
	return g.keepTurn(c, d, now)
}

// The methods below require g.mu.

func (g *gate) keepTurn(c *Client, wait time.Duration, now moment) Retry {
	r := g.book(wait, now)
	g.turns.add(c, r, now)
	return r
}

// book returns the first free turn after wait. As Seconds it returns the first whole second
// from that turn on that has room for one more caller.
func (g *gate) book(wait time.Duration, now moment) Retry {
	run := g.runOrAge(now)
	if run == 0 || g.concurrency == unlimited {
		return retryAround(wait)
	}
	second := float64(g.concurrency) * float64(time.Second) / run
	turn := jitter(wait)
	spacing := min(float64(time.Second)/(second*turnShare), float64(time.Second))
	if at, ok := g.schedule.book(now+moment(advisable(wait)), now+moment(maxRetry), moment(spacing)); ok {
		turn = time.Duration(at - now)
	}
	atOnce := min(second, float64(g.concurrency+g.queueLimit))
	if g.maxWait > 0 { // part of it may be used by then
		atOnce = min(atOnce, second*g.maxWait.Seconds()*3/4)
	}
	atOnce = max(atOnce, second/float64(perSecond), 1)
	room := capacity{int(atOnce), int(max(second*turnShare+0.5, 1))}
	return retryWith(turn, g.calendar.book(now, wholeSeconds(turn), room))
}

// arrives counts a newcomer of client c, and reports whether it comes back at its turn.
func (g *gate) arrives(c *Client, now moment) bool {
	if g.turns.len == 0 {
		return false
	}
	g.turns.count(c, 1)
	return g.takesTurn(c, now)
}

// takesTurn reports whether client c has a turn whose time has come.
func (g *gate) takesTurn(c *Client, now moment) bool {
	return g.turns.len > 0 && !c.unknown() && g.turns.find(c, now).due != 0
}

// useTurn ends the turn of client c, and puts its waiter in front of the waiters without
// turns.
func (g *gate) useTurn(w *waiter, c *Client, now moment) {
	g.turns.remove(g.turns.find(c, now).due)
	g.countTurns()
	w.kept, w.ticket.kept = true, true
}

// served removes one turn of client c, which gets a permit: preferably a turn whose time
// has come, otherwise an early one, which is not needed now.
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
func (g *gate) countTurns() {
	n := int32(g.turns.len)
	if n == 0 && g.shares != nil {
		n = needsTime
	}
	g.turned.Store(n)
}

// expectedWait adds a rejected caller to the virtual line behind the queue, and returns the
// time until its turn.
func (g *gate) expectedWait(now moment) time.Duration {
	run, age := g.runOrAge(now), g.age(now)
	if run == 0 || g.concurrency == unlimited {
		return minRetry
	}
	rate := float64(g.concurrency) / run
	wait := (float64(g.load()) + g.line.join(now, rate)) / rate
	if age >= run {
		// All runs take longer than usual. The best guess is that they take as long
		// again.
		wait = max(wait, age)
	} else {
		wait -= age / float64(g.concurrency)
	}
	return time.Duration(min(wait, float64(maxRetry)))
}

// runOrAge is how long a run takes, in nanoseconds. Before a run has ended, it is the time
// that the youngest run has taken so far. It is zero without runs.
func (g *gate) runOrAge(now moment) float64 {
	if g.runs.n > 0 || g.pace.known() {
		return max(g.predictedRun(), 1)
	}
	return g.age(now)
}

// turnOfKept is the time until the waiters that came back at their turns are served.
func (g *gate) turnOfKept() time.Duration {
	if g.concurrency == unlimited {
		return minRetry
	}
	return time.Duration(min(float64(g.queue.before()+1)*g.predictedRun()/float64(g.concurrency), float64(maxRetry)))
}

// age is the time that the youngest run has taken, in nanoseconds, if no permit is
// free.
func (g *gate) age(now moment) float64 {
	if g.vacant() || g.running == 0 {
		return 0
	}
	return float64(max(now-moment(g.lastBegan.Load()), 0))
}
