package offloader

import (
	"slices"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/internal/fair"
)

// shares is the part of a gate that shares the permits by the callers' claims: keys,
// classes and costs. A gate has none until its settings or a caller need it, and keeps it
// from then on. The gate's mutex guards it.
type shares struct {
	queue    *fair.Queue
	keyed    bool
	classes  []ClassCount // their totals; Waiting and Running are not kept here
	fallback int          // the index of the default class
	extra    int          // permits that waiters take beyond one for each, without patient ones
	first    *waiter      // permits are kept for it until there are enough, nil without one
	free     []*fair.Seat
	arranged moment
}

// countRejected counts a caller that got no permit, or did not use it.
func (g *gate) countRejected(t *Ticket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rejectedShared(t)
}

// The methods below require g.mu.

// shares reports whether the caller needs shares: if it takes several permits, or is patient.
// The ticket may be nil.
func (t *Ticket) shares() bool {
	return t != nil && (t.Patient || t.Claim != nil && t.Claim.Cost > 1)
}

// share creates the gate's shares, with one class and without keys, if it has none.
func (g *gate) share() {
	if g.shares == nil {
		g.shares = new(shares)
		g.arrange(Settings{}, g.queued)
	}
}

// configureShares applies settings.
func (g *gate) configureShares(s Settings, now moment) {
	if g.shares == nil {
		if !s.keyed() && len(s.Classes) == 0 {
			return
		}
		g.shares = new(shares)
	}
	g.arrange(s, now)
}

// arrange applies the keys and classes of s to the shares, and puts all waiters in order by
// them.
func (g *gate) arrange(s Settings, now moment) {
	h := g.shares
	h.arranged = now
	waiters := g.queue.forPermits()
	for _, w := range waiters {
		if w.seat != nil {
			g.leaveShared(w, now)
		}
	}
	rules := fair.Rules{
		Keyed: s.keyed(), PerKey: s.PerKey, QueuePerKey: s.QueuePerKey,
		Permits: boundedOrZero(g.concurrency), Places: g.queueLimit,
	}
	classes := s.Classes
	if len(classes) == 0 {
		classes = []Class{{DefaultClass, 1}}
	}
	for _, c := range classes {
		rules.Weights = append(rules.Weights, c.Weight)
	}
	if h.queue == nil {
		h.queue = fair.New(rules)
	} else {
		h.queue.Arrange(rules, func(class int) int { return indexOf(classes, h.classes[class].Name) })
	}
	h.keyed, h.fallback = rules.Keyed, max(indexOf(classes, DefaultClass), 0)
	h.count(classes)
	g.countTurns()
	for _, w := range waiters {
		g.waitShared(w, now)
	}
}

// indexOf is the index of the class of that name, or -1.
func indexOf(classes []Class, name string) int {
	return slices.IndexFunc(classes, func(c Class) bool { return c.Name == name })
}

// count creates the counters of classes. A class that was there before keeps its counters.
func (h *shares) count(classes []Class) {
	counts := make([]ClassCount, len(classes))
	for i, c := range classes {
		for _, before := range h.classes {
			if before.Name == c.Name {
				counts[i] = before
			}
		}
		counts[i].Class = c
	}
	h.classes = counts
}

// newcomer returns the key, class and cost of a caller for the fair queue. Its ticket may
// be nil.
func (h *shares) newcomer(g *gate, t *Ticket, kept bool) fair.Newcomer {
	n := fair.Newcomer{Class: h.fallback, Cost: 1, Turn: kept || t.patient(), Placeless: t.patient()}
	if t == nil || t.Claim == nil {
		return n
	}
	n.Cost = min(max(t.Claim.Cost, 1), g.concurrency)
	if h.keyed {
		n.Key = t.Claim.Key
	}
	for i := range h.classes {
		if h.classes[i].Name == t.Claim.Class {
			n.Class = i
		}
	}
	return n
}

// cost is the number of permits that a caller takes.
func (g *gate) cost(t *Ticket) int {
	if g.shares == nil || t == nil || t.Claim == nil {
		return 1
	}
	return min(max(t.Claim.Cost, 1), g.concurrency)
}

// fits reports whether that many permits are free. During a warm-up a run that costs more
// than the limit may run alone.
func (g *gate) fits(permits int) bool {
	if g.upstreams != nil {
		return g.fitsUpstream(permits)
	}
	return g.running+permits <= g.concurrency && (g.fresh == 0 || g.fresh+permits <= g.limit)
}

// decideShared is decide for a gate with shares, if the pool's phase does not reject the
// caller.
func (g *gate) decideShared(t *Ticket, kept bool) (decision, Reason) {
	n := g.shares.newcomer(g, t, kept)
	switch q := g.shares.queue; {
	case g.capReached(t, n.Cost):
		return rejectNow, t.CappedBy
	case !g.stopped() && len(g.asking) == 0 && g.fits(n.Cost) && !q.Ready() && q.Allows(n):
		return admit, 0
	}
	return g.decideToWait(t, n)
}

// decideToWait is the decision on a newcomer that gets no permit at once.
func (g *gate) decideToWait(t *Ticket, n fair.Newcomer) (decision, Reason) {
	if t.returns() || t.patient() {
		return queueUp, 0
	}
	if g.shares.queue.KeyFull(n) {
		return rejectNow, KeyQueueFull
	}
	if g.queue.all() >= g.queueLimit {
		if w, _ := g.yields(n); w == nil {
			return rejectNow, QueueFull
		}
	}
	return queueUp, 0
}

// yields returns the waiter whose place a newcomer to a full queue takes, and why. It
// returns nil if there is none.
func (g *gate) yields(n fair.Newcomer) (*waiter, Displacer) {
	if g.queueLimit == 0 {
		return nil, NotDisplaced
	}
	q, oldest := g.shares.queue, g.healthy()
	s, by := q.LessUrgent(n), ByUrgent
	if s == nil {
		s, by = q.Greediest(n, oldest), ByFair
		if n.Turn {
			by = ByTurn
		}
	}
	if s == nil && !oldest {
		s, by = q.Own(n, oldest), ByNewer
	}
	if s == nil {
		return nil, NotDisplaced
	}
	return s.Value.(*waiter), by
}

// seat returns a seat for a caller.
func (h *shares) seat(g *gate, t *Ticket, kept bool, now moment) *fair.Seat {
	if len(h.free) == 0 {
		h.free = append(h.free, new(fair.Seat))
	}
	n := len(h.free) - 1
	s := h.free[n]
	h.free = h.free[:n]
	h.queue.Enter(s, h.newcomer(g, t, kept), int64(now))
	return s
}

func (h *shares) putSeat(s *fair.Seat) {
	s.Value = nil
	h.free = append(h.free, s)
}

// startShared enters a newcomer that gets its permits at once into the fair queue, as
// running.
func (g *gate) startShared(s *slot, t *Ticket, now moment) {
	now = max(now, g.shares.arranged) // it may have come before there were shares
	seat := g.shares.seat(g, t, false, now)
	g.shares.queue.Start(seat, int64(now))
	g.holds(s, seat)
}

// holds counts the permits of a run beyond the first one, which take has counted.
func (g *gate) holds(s *slot, seat *fair.Seat) {
	s.seat = seat
	g.running += seat.Cost - 1
	g.fresh += seat.Cost - 1
	g.mostRunning = max(g.mostRunning, g.running-g.lent)
	s.last = !g.vacant()
	g.shares.classes[seat.Class()].Admitted++
}

// endShared takes the permits of a run back.
func (g *gate) endShared(s *slot, now moment) {
	h := g.shares
	if s.unused {
		h.classes[s.seat.Class()].Admitted--
	}
	h.queue.End(s.seat, int64(now), !s.unused)
	h.putSeat(s.seat)
	s.seat = nil
}

// waitShared enters a waiter of the gate's queue into the fair queue.
func (g *gate) waitShared(w *waiter, now moment) {
	w.seat = g.shares.seat(g, w.ticket, w.comesFirst(), now)
	w.seat.Value = w
	g.shares.queue.Wait(w.seat, int64(now))
	g.shares.load(w, 1)
}

// load counts the permits of a waiter beyond the first one, times by.
func (h *shares) load(w *waiter, by int) {
	if !w.ticket.patient() {
		h.extra += by * (w.seat.Cost - 1)
	}
}

// leaveShared removes a waiter that gets no permit from the fair queue.
func (g *gate) leaveShared(w *waiter, now moment) {
	h := g.shares
	h.load(w, -1)
	h.queue.Leave(w.seat, int64(now))
	h.putSeat(w.seat)
	w.seat = nil
	if h.first == w {
		h.first = nil
	}
}

// handOutShared gives free permits to waiters. If the next waiter needs more than are free,
// it stays the next one, and the free permits are kept for it.
func (g *gate) handOutShared(now moment, out *verdicts) {
	h := g.shares
	for len(g.asking) == 0 && g.vacant() && !g.stopped() {
		w := g.pickShared(now)
		switch {
		case w == nil:
			return
		case w.deadline != 0 && w.deadline <= now:
			g.reject(w, WaitTimeout, now, out)
			continue
		case g.capReached(w.ticket, w.seat.Cost):
			g.reject(w, w.ticket.CappedBy, now, out)
			continue
		case !g.fits(w.seat.Cost) || !g.claim(w.seat.Cost):
			h.first = w
			return
		}
		h.first = nil
		h.load(w, -1)
		h.queue.Grant(w.seat, int64(now))
		g.queue.remove(w)
		w.slot = g.take(w.seat.Cost)
		w.slot.started = now
		g.holds(w.slot, w.seat)
		w.seat.Value, w.seat = nil, nil
		g.beginCapped(w.slot, w.ticket)
		out.add(w)
	}
}

// pickShared returns the waiter for the next permits, nil if none may get one.
func (g *gate) pickShared(now moment) *waiter {
	if w := g.shares.first; w != nil {
		return w
	}
	oldest := g.healthy() || g.queue.line.Len() == 0 || g.rescues(now)
	s := g.shares.queue.Next(int64(now), oldest)
	if s == nil {
		return nil
	}
	return s.Value.(*waiter)
}

// noteClaim records the claim of a caller as the pool counts it.
func (g *gate) noteClaim(n *record, t *Ticket) {
	if h := g.shares; h != nil {
		n.Claim = h.counted(h.newcomer(g, t, false))
	}
}

// rejectedShared counts a caller that got no permit.
func (g *gate) rejectedShared(t *Ticket) {
	if h := g.shares; h != nil && !t.patient() {
		h.classes[h.newcomer(g, t, false).Class].Rejected++
	}
}

// counted is a claim as it is counted.
func (h *shares) counted(n fair.Newcomer) Claim {
	return Claim{Key: n.Key, Class: h.classes[n.Class].Name, Cost: n.Cost}
}

// aheadShared estimates how many waiters will be served before a newcomer, and its wait.
func (g *gate) aheadShared(t *Ticket, kept bool) (int, time.Duration) {
	n := g.shares.newcomer(g, t, kept)
	ahead := g.shares.queue.Ahead(n, g.healthyWith(g.load()+n.Cost))
	permits := ahead
	if g.queue.len > 0 {
		permits = ahead * g.load() / g.queue.len
	}
	return ahead, time.Duration(g.drain(permits + n.Cost))
}

// classCounts returns the numbers of all classes, nil without shares.
func (g *gate) classCounts() []ClassCount {
	if g.shares == nil {
		return nil
	}
	counts := slices.Clone(g.shares.classes)
	for i := range counts {
		counts[i].Waiting, counts[i].Running = g.shares.queue.Count(i)
	}
	return counts
}
