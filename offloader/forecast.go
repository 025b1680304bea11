package offloader

import "time"

// Forecast is what a pool predicts for a caller that would join its queue.
type Forecast struct {
	// Wait is the time until the caller gets a permit.
	Wait time.Duration
	// Run is the predicted length of the caller's run: the median of the last runs.
	Run time.Duration
}

// Forecast predicts the wait and the run of the ticket's caller, as if it called Acquire
// now. ok is false if it would not wait, or if the pool cannot predict: for preflights,
// while the pool is paused, and until a run has ended that began after another one had
// ended. Only the caller may call Forecast, before Acquire.
func (t *Ticket) Forecast() (f Forecast, ok bool) {
	n := newcomer{ticket: t}
	t.Pool.recognize(&n)
	return t.Pool.gate.forecast(&n)
}

func (g *gate) forecast(n *newcomer) (f Forecast, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.runs.warm || g.stopped() || n.ticket.Preflight {
		return f, false
	}
	kept := g.takesTurn(&n.client, n.came)
	if a, _ := g.decide(n.ticket, kept); a != queueUp {
		return f, false
	}
	return Forecast{g.predict(g.ahead(kept)), g.runs.typical()}, true
}
