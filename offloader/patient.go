package offloader

// A patient caller, one with Ticket.Patient, is work that is stored elsewhere until it gets a
// permit. It takes its part of the permits by its class and key, as others do. The bounds and
// the predictions of the queue are for callers whose clients wait, so they leave it out.

// patient reports whether the caller of a ticket, which may be nil, is patient.
func (t *Ticket) patient() bool { return t != nil && t.Patient }

// apart reports whether the caller of a ticket, which may be nil, waits apart from those that
// take a place for a permit.
func (t *Ticket) apart() bool { return t.preflight() || t.patient() }

// rejectFor returns the error for a caller that is rejected, which may have no ticket. A
// patient one is not counted: it comes again and again.
func (p *Pool) rejectFor(t *Ticket, r Reason) error {
	if t.patient() {
		return &p.rejections[r]
	}
	return p.reject(r)
}

// joinPatient queues a patient waiter. It requires g.mu.
func (g *gate) joinPatient(w *waiter, now moment) {
	w.breaksCalm = false
	g.noteJoin(w, now)
	g.enqueue(w)
	g.waitShared(w, now)
}
