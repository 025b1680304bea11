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
	for seed := range uint64(*modelSeeds) {
		r := newRig(t, seed)
		r.play(60)
		if seed%100 == 0 {
			r = newRig(t, seed)
			r.crowded(900)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
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
		}
		r.check("an end")
	}
	if n := r.gate.inFlight(); n != 0 {
		r.t.Fatalf("%d in flight at the end", n)
	}
}

// crowded plays a queue that lasts, long enough for predictions to reject callers.
func (r *rig) crowded(steps int) {
	r.maxWait = time.Duration(200 + r.rnd.IntN(1000))
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

// numbered is a caller without a client.
type numbered int

func (numbered) Client() Client { return Client{} }

// arrive lets a caller enter and, at times after something else has happened,
// queue up.
func (r *rig) arrive(id int) {
	ticket := r.uploads[id]
	delete(r.uploads, id)
	answered := r.model.enter(id, r.now)
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
	id, ticket := r.newcomer(), &Ticket{}
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
		deadline = r.now + moment(r.rnd.IntN(100)) + 1
	}
	r.model.join(id, r.now, deadline)
	if ticket == nil {
		ticket = new(Ticket)
	}
	ticket.Caller = numbered(id)
	w := &waiter{arrived: r.now, deadline: deadline, ticket: ticket}
	a, reason, out := r.gate.wait(w, &newcomer{ticket: ticket}, r.now)
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
		if r.model.running[id].lingering == lingering {
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
		delete(r.model.running, id)
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
	r.model.freed(r.now)
	delete(r.slots, id)
	delete(r.model.running, id)
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
	r.model.freed(r.now)
	delete(r.slots, id)
	delete(r.model.running, id)
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
	if w := r.waiting[id]; !r.gate.leave(w, &newcomer{}) || r.gate.leave(w, &newcomer{}) {
		r.t.Fatalf("waiter %d could not leave once", id)
	}
	delete(r.waiting, id)
	r.model.remove(id)
}

// cancel rejects a waiter, which works once.
func (r *rig) cancel() {
	id, ok := oneOf(r.rnd, r.waiting)
	if !ok {
		return
	}
	ticket := r.waiting[id].ticket
	out, ok := r.gate.cancel(ticket)
	r.collect(out)
	if _, again := r.gate.cancel(ticket); !ok || again {
		r.t.Fatalf("waiter %d could not be cancelled once", id)
	}
	r.model.remove(id)
	r.model.say(id, "cancelled")
}

// checkArrival checks the queue that a waiter found on arrival, if it still waits.
func (r *rig) checkArrival(id int, got *Ticket) {
	r.t.Helper()
	for _, w := range r.model.queue {
		if w.id == id && (int(got.ahead) != w.ahead || got.predicted != w.predicted) {
			r.t.Fatalf("waiter %d found %d ahead and a wait of %d, want %d and %d",
				id, got.ahead, got.predicted, w.ahead, w.predicted)
		}
	}
}

// pass lets time pass, often just up to the moment at which a waiter is to be
// rejected, or to shortly before: predictions have fractions.
func (r *rig) pass() {
	before, due := r.now, r.gate.nextDue()
	r.now += moment(r.rnd.IntN(30))
	early := due > before+2 && r.rnd.IntN(3) == 0
	if early {
		r.now = due - 2*moment(r.rnd.IntN(2))
	}
	r.model.dropLate(r.now)
	next, out := r.gate.expire(r.now)
	r.collect(out)
	r.wantDue(next)
	if next != 0 && next <= r.now {
		r.t.Fatalf("asked to look again at %d, at %d", next, r.now)
	}
	if early && (len(r.log) > 0) != (r.now == due) {
		r.t.Fatalf("at %d, when %d was due: %v", r.now, due, r.log)
	}
}

// wantDue checks the time at which the gate must be looked at again.
func (r *rig) wantDue(due moment) {
	r.t.Helper()
	if due != r.gate.nextDue() || (due == 0) != (len(r.model.queue) == 0 || r.model.maxWait == 0) {
		r.t.Fatalf("asked to look again at %d, to be at %d", due, r.gate.nextDue())
	}
}

func (r *rig) resize() {
	s := Settings{
		Concurrency: 1 + r.rnd.IntN(4), Queue: r.rnd.IntN(8),
		MaxWait: time.Duration(r.rnd.IntN(3)) * 50, Order: Order(r.rnd.IntN(2)),
	}
	if r.maxWait > 0 {
		s.MaxWait, s.Queue, s.Order = r.maxWait, 8+r.rnd.IntN(80), OrderAuto
	}
	r.model.configure(s, r.now)
	r.collect(r.gate.configure(s, r.now))
}

func (r *rig) ramp() {
	if r.rnd.IntN(3) > 0 {
		r.model.startRamp(r.now)
		out, due := r.gate.startRamp(modelStep, r.now)
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
		r.model.refuseAll("closed")
		r.collect(r.gate.rejectAll(Closed))
	case r.rnd.IntN(3) == 0:
		r.model.refuseAll("breaker_open")
		r.collect(r.gate.rejectAll(BreakerOpen))
	}
}

func (r *rig) enter(to Phase) {
	r.model.setPhase(to, r.now)
	r.collect(r.gate.setPhase(to, r.now))
}

func (r *rig) check(step string) {
	r.t.Helper()
	if !slices.Equal(r.log, r.model.log) {
		r.t.Fatalf("after %s:\ngate  %v\nmodel %v", step, r.log, r.model.log)
	}
	g, m := &r.gate, &r.model
	if got, want := [...]int{g.running, g.fresh, g.queue.len, g.limit, g.lingering, g.abandoned, g.announced, g.inFlight()},
		[...]int{len(m.running), m.fresh(), len(m.queue), m.limit, m.lingering(), m.abandoned(), len(m.uploading), m.inFlight()}; got != want {
		r.t.Fatalf("after %s: running, fresh, waiting, limit, lingering, abandoned, uploading, in flight are %v, want %v", step, got, want)
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
	r.t.Helper()
	var got []int
	for _, w := range r.gate.waiters(r.now) {
		got = append(got, int(w.Ticket.Caller.(numbered)))
	}
	if want := r.model.order(); !slices.Equal(got, want) {
		r.t.Fatalf("after %s: to be served in the order %v, want %v", step, got, want)
	}
}

// checkIdle checks that a caller that waits until nothing is in flight is woken.
// While newcomers may come in that may have been the case for a moment.
func (r *rig) checkIdle(step string) {
	r.t.Helper()
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
