package offloader

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var modelSeeds = flag.Int("model.seeds", 20_000, "how many random histories the model test plays")

// The gate agrees with the model on random histories. Continuous integration
// plays 100,000 of them.
func TestGateAgreesWithModel(t *testing.T) {
	t.Parallel()
	var seed uint64
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	for seed = range uint64(*modelSeeds) {
		r := newRig(t, seed)
		r.play(60)
		if seed%200 == 0 || seed%200 == 101 { // without and with shares
			r = newRig(t, seed)
			r.crowded(900)
		}
	}
}

func FuzzGateAgreesWithModel(f *testing.F) {
	f.Add(uint64(1), uint8(60))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint8) { newRig(t, seed).play(int(steps)) })
}

// rig drives gate and model with the same history.
type rig struct {
	t       *testing.T
	rnd     *rand.Rand
	gate    gate
	model   model
	now     moment
	nextID  int
	slots   map[int]*slot
	waiting map[int]*waiter
	uploads map[int]*Ticket
	shared  bool            // callers have claims
	maxWait time.Duration   // of a crowded queue, zero for any
	idle    <-chan struct{} // of a caller that waits until nothing is in flight
	log     []string
}

func newRig(t *testing.T, seed uint64) *rig {
	r := &rig{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)), now: 1,
		slots: map[int]*slot{}, waiting: map[int]*waiter{}, uploads: map[int]*Ticket{},
	}
	r.gate.limit, r.gate.concurrency = unlimited, unlimited
	r.model.limit, r.model.concurrency = unlimited, unlimited
	r.model.running, r.model.uploading = map[int]modelRun{}, map[int]bool{}
	r.model.asks, r.model.preflights = map[int]bool{}, map[int]bool{}
	r.model.claims, r.model.unit = map[int]Claim{}, 1
	if r.shared = seed%2 == 1; r.shared { // permit-time counts in microseconds
		r.model.unit = moment(10 * time.Millisecond)
	}
	r.resize()
	r.check("the first settings")
	return r
}

func (r *rig) play(steps int) {
	for range steps {
		r.step()
	}
	r.enter(PhaseOpen)
	r.check("the end of a pause")
	for len(r.slots)+len(r.uploads) > 0 {
		if id, ok := oneOf(r.rnd, r.uploads); ok {
			r.dropUpload(id)
		} else if id, ok := r.pick(false); ok {
			r.end(id)
		} else if id, ok := r.pick(true); ok {
			r.lingered(id)
		} else {
			r.endPreflight()
		}
		r.check("an end")
	}
	if n := r.gate.inFlight(); n != 0 {
		r.t.Fatalf("%d in flight at the end", n)
	}
}

// crowded plays a queue that lasts, long enough for predictions to reject callers.
func (r *rig) crowded(steps int) {
	if r.shared {
		r.model.unit = moment(time.Millisecond) // no key is forgotten in so short a time
	}
	r.maxWait = time.Duration(200+r.rnd.IntN(1000)) * time.Duration(r.model.unit)
	r.resize()
	for i := range steps {
		arrivals := 50
		if i/150%2 == 1 {
			arrivals = 38 // about as many as come free: the overload is over
		}
		switch n := r.rnd.IntN(100); {
		case n < arrivals:
			r.arrive(r.newcomer())
		case n == 50:
			r.leave()
		case n < 55:
			if id, ok := r.pick(true); ok {
				r.lingered(id)
			}
		case n < 58:
			r.endPreflight()
		case n < 85:
			r.release()
		default:
			r.pass()
		}
		r.check("a step of a crowd")
	}
	r.play(0)
}

func (r *rig) step() {
	what := "a change of phase"
	switch n := r.rnd.IntN(100); {
	case n < 30:
		what = "an arrival"
		r.arrive(r.newcomer())
	case n < 35:
		what = "an upload began"
		r.beginUpload()
	case n < 39:
		what = "an upload is over"
		if id, ok := oneOf(r.rnd, r.uploads); ok {
			r.arrive(id)
		}
	case n < 40:
		what = "an upload failed"
		if id, ok := oneOf(r.rnd, r.uploads); ok {
			r.dropUpload(id)
		}
	case n < 44:
		what = "the end of a preflight"
		r.endPreflight()
	case n < 62:
		what = "a release"
		r.release()
	case n < 66:
		what = "a release by somebody who lingered"
		if id, ok := r.pick(true); ok {
			r.lingered(id)
		}
	case n < 70:
		what = "a run was abandoned"
		r.abandonRun()
	case n < 75:
		what = "a report"
		r.report()
	case n < 80:
		what = "a waiter left"
		r.leave()
	case n < 82:
		what = "a waiter was cancelled"
		r.cancel()
	case n < 93:
		what = "time passed"
		r.pass()
	case n < 94:
		what = "a limit that has held for its time"
		r.warm()
	case n < 96:
		what = "a resize"
		r.resize()
	case n < 98:
		what = "a ramp"
		r.ramp()
	default:
		r.changePhase()
	}
	r.check(what)
}

func (r *rig) note(id int, what string) { r.log = append(r.log, fmt.Sprintf("%d %s", id, what)) }

// collect notes the verdicts in their order.
func (r *rig) collect(out verdicts) {
	for w := out.first; w != nil; {
		next := w.next
		id := -1
		for i, other := range r.waiting {
			if other == w {
				id = i
			}
		}
		delete(r.waiting, id)
		if w.slot != nil {
			r.slots[id] = w.slot
			r.note(id, "admitted")
		} else {
			r.note(id, w.reason.String())
		}
		w.next = nil
		w = next
	}
}

// claim lets a caller come with a claim, at times.
func (r *rig) claim(id int, t *Ticket) *Ticket {
	if !r.shared || (t != nil && t.Claim != nil) || r.rnd.IntN(4) == 0 {
		return t
	}
	c := Claim{
		Key:   []string{"", "a", "b", "c"}[r.rnd.IntN(4)],
		Class: []string{"", "interactive", "normal", "batch"}[r.rnd.IntN(4)],
		Cost:  max(1, r.rnd.IntN(8)-2),
	}
	if t == nil {
		t = new(Ticket)
	}
	t.Claim, r.model.claims[id] = &c, c
	return t
}

// shareOut adds settings of keys and classes, or none.
func (r *rig) shareOut(s *Settings) {
	if r.rnd.IntN(4) > 0 {
		s.Fair, s.PerKey, s.QueuePerKey = r.rnd.IntN(2) == 0, r.rnd.IntN(4), r.rnd.IntN(4)
	}
	classes := []Class{{"interactive", 1 + r.rnd.IntN(4)}, {"normal", 2}, {"batch", 1}}
	if n := r.rnd.IntN(5); n < 3 {
		s.Classes = classes[:n+1]
	}
}

// numbered is a caller without a client.
type numbered int

func (numbered) Client() Client { return Client{} }

// arrive lets a caller enter and, at times after something else has happened,
// queue up.
func (r *rig) arrive(id int) {
	ticket := r.uploads[id]
	delete(r.uploads, id)
	if ticket == nil && r.rnd.IntN(5) == 0 {
		ticket = &Ticket{Preflight: true}
		r.model.asks[id] = true
	}
	ticket = r.claim(id, ticket)
	answered := r.model.enter(id, r.now)
	if ticket.shares() {
		r.gate.share()
	}
	n := &newcomer{ticket: ticket, came: r.now}
	room := r.gate.admissible(n)
	s, a, reason := r.gate.enter(n)
	if room != reason {
		r.t.Fatalf("admissible says %s, enter %s", room, reason)
	}
	if a == queueUp && !answered {
		r.check("an arrival")
		for r.maxWait == 0 && r.rnd.IntN(4) == 0 {
			r.step()
		}
		s, a, reason = r.join(id, ticket)
	}
	switch a {
	case admit:
		s.started = r.now
		r.slots[id] = s
		r.note(id, "admitted")
	case rejectNow:
		if ticket != nil {
			r.gate.withdraw(ticket)
		}
		r.note(id, reason.String())
	}
}

func (r *rig) newcomer() int {
	r.nextID++
	return r.nextID
}

// beginUpload lets a caller in, if one that arrived now would not be rejected.
func (r *rig) beginUpload() {
	id := r.newcomer()
	ticket := r.claim(id, new(Ticket))
	want := r.model.upload(id)
	got := r.gate.announce(&newcomer{ticket: ticket, came: r.now})
	if (got == 0) != (want == "") || (got != 0 && got.String() != want) {
		r.t.Fatalf("an upload is refused for '%s', want '%s'", got, want)
	}
	if got == 0 {
		r.uploads[id] = ticket
	}
}

// dropUpload ends an upload of a caller that does not come, which works once.
func (r *rig) dropUpload(id int) {
	r.gate.withdraw(r.uploads[id])
	r.gate.withdraw(r.uploads[id])
	delete(r.uploads, id)
	delete(r.model.uploading, id)
}

func (r *rig) join(id int, ticket *Ticket) (*slot, decision, Reason) {
	var deadline moment
	if r.rnd.IntN(4) == 0 {
		deadline = r.now + moment(r.rnd.IntN(100))*r.model.unit + 1
	}
	r.model.join(id, r.now, deadline)
	if ticket == nil {
		ticket = new(Ticket)
	}
	ticket.Caller = numbered(id)
	w := &waiter{arrived: r.now, deadline: deadline, ticket: ticket}
	a, reason, out := r.gate.wait(w, &newcomer{ticket: ticket, record: newRecord()}, r.now)
	if a == queueUp {
		r.waiting[id] = w
		r.checkArrival(id, w.ticket)
	}
	r.collect(out)
	return w.slot, a, reason
}

// pick takes one of the runs that linger, or do not.
func (r *rig) pick(lingering bool) (int, bool) {
	those := map[int]*slot{}
	for id, s := range r.slots {
		if !r.model.preflights[id] && r.model.running[id].lingering == lingering {
			those[id] = s
		}
	}
	return oneOf(r.rnd, those)
}

func (r *rig) release() {
	id, ok := r.pick(false)
	if !ok {
		return
	}
	s := r.slots[id]
	switch r.rnd.IntN(8) {
	case 0: // the breaker changed its mind
		s.release(s.generation(), Success)
		delete(r.slots, id)
		r.model.endShared(id, r.now, false)
		r.model.serve(r.now)
		r.collect(r.gate.putBack(s, r.now))
	case 1:
		r.linger(id)
	default:
		r.end(id)
	}
}

func (r *rig) end(id int) {
	s, run := r.slots[id], r.model.running[id]
	o, _, _ := s.release(s.generation(), Outcome(r.rnd.IntN(int(outcomeCount))))
	r.model.ran(run, r.now, o)
	r.model.freed(r.model.running[id].cost, r.now)
	delete(r.slots, id)
	r.model.endShared(id, r.now, true)
	r.model.serve(r.now)
	out, due := r.gate.release(s, time.Duration(r.now-s.started), o, r.now)
	r.collect(out)
	r.wantDue(due)
}

// endPreflight ends a preflight that runs, if there is one, after reports about it.
func (r *rig) endPreflight() {
	id, ok := oneOf(r.rnd, r.model.preflights)
	if !ok {
		return
	}
	s := r.slots[id]
	r.gate.untimed(s, s.generation())
	r.collect(r.gate.abandon(s, s.generation(), r.now))
	_, out := r.gate.began(s, s.generation(), r.now)
	r.collect(out)
	o, _, _ := s.release(s.generation(), Outcome(r.rnd.IntN(int(outcomeCount))))
	delete(r.slots, id)
	delete(r.model.preflights, id)
	r.model.serve(r.now)
	out, due := r.gate.release(s, time.Duration(r.now-s.started), o, r.now)
	r.collect(out)
	r.wantDue(due)
}

func (r *rig) linger(id int) {
	s, run := r.slots[id], r.model.running[id]
	o, _, _ := s.release(s.generation(), Outcome(r.rnd.IntN(int(outcomeCount))))
	s.cancelled = true
	run.untimed = true
	r.model.ran(run, r.now, o)
	run.lingering, run.abandoned = true, false
	r.model.running[id] = run
	r.model.serve(r.now)
	out, due := r.gate.linger(s, time.Duration(r.now-s.started), o, r.now)
	r.collect(out)
	r.wantDue(due)
}

func (r *rig) lingered(id int) {
	s := r.slots[id]
	r.model.freed(r.model.running[id].cost, r.now)
	delete(r.slots, id)
	r.model.endShared(id, r.now, true)
	r.model.serve(r.now)
	r.collect(r.gate.endLinger(s, r.now))
}

// abandonRun marks a run, at times with a permit that is no longer valid.
func (r *rig) abandonRun() {
	id, ok := r.pick(false)
	if !ok {
		return
	}
	s, stale := r.slots[id], uint64(r.rnd.IntN(2))*generationStep
	out := r.gate.abandon(s, s.generation()-stale, r.now)
	if stale == 0 {
		r.model.abandon(id, r.now)
	}
	r.collect(out)
}

// report reports on a run, at times with a permit that is no longer valid.
func (r *rig) report() {
	id, ok := r.pick(false)
	if !ok {
		return
	}
	s, run := r.slots[id], r.model.running[id]
	stale := r.rnd.IntN(4) == 0
	generation := s.generation()
	if stale {
		generation -= generationStep
	}
	o, out := Outcome(r.rnd.IntN(int(outcomeCount))), verdicts{}
	switch r.rnd.IntN(3) {
	case 0:
		r.gate.untimed(s, generation)
		run.untimed = run.untimed || !stale
	case 1:
		_, out = r.gate.began(s, generation, r.now)
		if !stale && !run.reported {
			r.model.good(&run, r.now)
		}
	default:
		_, first := r.gate.report(s, generation, o)
		if want := !stale && !run.reported; first != want {
			r.t.Fatalf("a report of run %d counts: %v, want %v", id, first, want)
		}
		if first {
			run.reported = true
			r.model.judge(&run, r.now, o)
			out = r.gate.reported(s, generation, o, r.now)
		}
	}
	r.model.running[id] = run
	r.model.serve(r.now)
	r.collect(out)
}

func (r *rig) leave() {
	id, ok := oneOf(r.rnd, r.waiting)
	if !ok {
		return
	}
	w := r.waiting[id]
	delete(r.waiting, id)
	var out verdicts
	left := r.gate.leave(w, &newcomer{}, r.now, &out)
	r.collect(out)
	if again := r.gate.leave(w, &newcomer{}, r.now, &out); !left || again {
		r.t.Fatalf("waiter %d could not leave once", id)
	}
	r.model.remove(id, r.now)
	r.model.makeRoom(r.now)
}

// cancel rejects a waiter, which works once.
func (r *rig) cancel() {
	id, ok := oneOf(r.rnd, r.waiting)
	if !ok {
		return
	}
	ticket := r.waiting[id].ticket
	out, ok := r.gate.cancel(ticket, r.now)
	r.collect(out)
	if _, again := r.gate.cancel(ticket, r.now); !ok || again {
		r.t.Fatalf("waiter %d could not be cancelled once", id)
	}
	r.model.say(id, "cancelled")
	r.model.remove(id, r.now)
	r.model.makeRoom(r.now)
}

// checkArrival checks the queue that a waiter found on arrival, if it still waits.
func (r *rig) checkArrival(id int, got *Ticket) {
	for _, w := range slices.Concat(r.model.queue, r.model.asking) {
		if w.id == id && (got.Ahead() != w.ahead || got.PredictedWait() != w.predicted) {
			r.t.Fatalf("waiter %d found %d ahead and a wait of %d, want %d and %d",
				id, got.Ahead(), got.PredictedWait(), w.ahead, w.predicted)
		}
	}
}

// pass lets time pass, often just up to the moment at which a waiter is to be
// rejected, or to shortly before: predictions have fractions.
func (r *rig) pass() {
	before, due := r.now, r.gate.nextDue()
	r.now += moment(r.rnd.IntN(30)) * r.model.unit
	early := due > before+2 && r.rnd.IntN(3) == 0
	if early {
		r.now = due - 2*moment(r.rnd.IntN(2))
	}
	r.model.dropLate(r.now)
	r.model.makeRoom(r.now)
	next, out := r.gate.expire(r.now)
	r.collect(out)
	r.wantDue(next)
	if next != 0 && next <= r.now {
		r.t.Fatalf("asked to look again at %d, at %d", next, r.now)
	}
	// With shares, permits may be kept for a waiter whose deadline has passed meanwhile.
	if early && r.gate.shares == nil && (len(r.log) > 0) != (r.now == due) {
		r.t.Fatalf("at %d, when %d was due: %v", r.now, due, r.log)
	}
}

// wantDue checks the time at which the gate must be looked at again.
func (r *rig) wantDue(due moment) {
	if due != r.gate.nextDue() || (due == 0) != (r.model.waiting() == 0 || r.model.maxWait == 0) {
		r.t.Fatalf("asked to look again at %d, to be at %d", due, r.gate.nextDue())
	}
}

func (r *rig) resize() {
	s := Settings{
		Concurrency: 1 + r.rnd.IntN(4), Queue: r.rnd.IntN(8),
		MaxWait: time.Duration(r.rnd.IntN(3)) * 50 * time.Duration(r.model.unit), Order: Order(r.rnd.IntN(2)),
	}
	if r.maxWait > 0 {
		s.MaxWait, s.Queue, s.Order = r.maxWait, 8+r.rnd.IntN(80), OrderAuto
	}
	if r.shared {
		r.shareOut(&s)
	}
	r.model.configure(s, r.now)
	r.collect(r.gate.configure(s, r.now))
}

func (r *rig) ramp() {
	if r.rnd.IntN(3) > 0 {
		r.model.startRamp(r.now)
		out, due := r.gate.startRamp(time.Duration(r.model.step()), r.now)
		r.collect(out)
		r.wantWarmDue(due)
		return
	}
	r.model.limit = r.model.concurrency
	r.model.serve(r.now)
	r.collect(r.gate.stopRamp(r.now))
}

func (r *rig) warm() {
	r.model.warm(r.now)
	out, due := r.gate.warm(r.now)
	r.collect(out)
	r.wantWarmDue(due)
	if due != 0 && due <= r.now {
		r.t.Fatalf("asked to warm up again at %d, at %d", due, r.now)
	}
}

func (r *rig) wantWarmDue(due moment) {
	r.t.Helper()
	if want := r.model.warmDue(); due != want {
		r.t.Fatalf("asked to warm up at %d, want %d", due, want)
	}
}

func (r *rig) changePhase() {
	to := Phase(r.rnd.IntN(4))
	r.enter(to)
	switch {
	case to == PhaseClosed:
		r.model.refuseAll("closed", r.now)
		r.collect(r.gate.rejectAll(Closed, r.now))
	case r.rnd.IntN(3) == 0:
		r.model.refuseAll("breaker_open", r.now)
		r.collect(r.gate.rejectAll(BreakerOpen, r.now))
	}
}

func (r *rig) enter(to Phase) {
	r.model.setPhase(to, r.now)
	r.collect(r.gate.setPhase(to, r.now))
}

func (r *rig) check(step string) {
	if !slices.Equal(r.log, r.model.log) {
		r.t.Fatalf("after %s:\ngate  %v\nmodel %v", step, r.log, r.model.log)
	}
	g, m := &r.gate, &r.model
	if got, want := [...]int{g.running, g.fresh, g.queue.len, g.preflights, g.queue.preflights.Len(), g.limit, g.lingering, g.abandoned, g.announced, g.inFlight()},
		[...]int{m.permits(), m.fresh(), len(m.queue), len(m.preflights), len(m.asking), m.limit, m.lingering(), m.abandoned(), len(m.uploading), m.inFlight()}; got != want {
		r.t.Fatalf("after %s: running, fresh, waiting, preflights, waiting preflights, limit, lingering, abandoned, uploading, in flight are %v, want %v", step, got, want)
	}
	i := 0
	for e := g.queue.line.Front(); e != nil; e = e.Next() {
		if r.waiting[m.queue[i].id] != e.Value || (e.Next() != nil && e.Next().Prev() != e) {
			r.t.Fatalf("after %s: place %d of the queue differs", step, i)
		}
		i++
	}
	r.checkOrder(step)
	r.checkIdle(step)
	r.log, r.model.log = r.log[:0], r.model.log[:0]
}

// checkOrder checks in which order the waiters are listed.
func (r *rig) checkOrder(step string) {
	var got []int
	for _, w := range r.gate.waiters(r.now) {
		got = append(got, int(w.Ticket.Caller.(numbered)))
	}
	if want := r.model.order(r.now); !slices.Equal(got, want) {
		r.t.Fatalf("after %s: to be served in the order %v, want %v", step, got, want)
	}
}

// checkIdle checks that a caller that waits until nothing is in flight is woken.
// While newcomers may come in that may have been the case for a moment.
func (r *rig) checkIdle(step string) {
	if r.idle != nil {
		select {
		case <-r.idle:
			if r.model.inFlight() != 0 && r.model.phase != PhaseOpen && r.model.phase != PhasePaused {
				r.t.Fatalf("after %s: idle with %d in flight", step, r.model.inFlight())
			}
			r.idle = nil
		default:
			if r.model.inFlight() == 0 {
				r.t.Fatalf("after %s: nobody heard that nothing is in flight", step)
			}
		}
	}
	if r.idle == nil && r.model.inFlight() > 0 {
		r.idle = r.gate.whenIdle()
	}
}

func oneOf[V any](rnd *rand.Rand, m map[int]V) (int, bool) {
	if len(m) == 0 {
		return 0, false
	}
	ids := make([]int, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids[rnd.IntN(len(ids))], true
}
