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

// model is the gate as a newcomer would write it: slices, no reuse, no links.
// The gate must agree with it after every step of every random history.
type model struct {
	phase       phase
	concurrency int
	places      int
	maxWait     time.Duration
	fifo        bool
	queue       []modelWaiter
	running     map[int]moment
	mean        meanRun
	log         []string
}

type modelWaiter struct {
	id                int
	arrived, deadline moment
}

func (m *model) rest() float64 {
	return float64(len(m.queue)) * m.mean.ns / float64(m.concurrency)
}

func (m *model) healthy() bool {
	return m.fifo || m.maxWait == 0 || m.rest() <= float64(m.maxWait)/4
}

func (m *model) say(id int, what string) { m.log = append(m.log, fmt.Sprintf("%d %s", id, what)) }

func (m *model) dropLate(now moment) {
	for len(m.queue) > 0 && m.maxWait > 0 {
		first := m.queue[0]
		waited := time.Duration(now - first.arrived)
		switch {
		case waited >= m.maxWait:
			m.say(first.id, "wait_timeout")
		case !m.healthy() && float64(waited)+m.rest() > float64(m.maxWait):
			m.say(first.id, "predicted_late")
		default:
			return
		}
		m.queue = m.queue[1:]
	}
}

func (m *model) serve(now moment) {
	if len(m.running) < m.concurrency {
		m.dropLate(now)
	}
	for len(m.running) < m.concurrency && len(m.queue) > 0 {
		i := 0
		if !m.healthy() {
			i = len(m.queue) - 1
		}
		w := m.queue[i]
		m.queue = slices.Delete(m.queue, i, i+1)
		if w.deadline != 0 && w.deadline <= now {
			m.say(w.id, "wait_timeout")
			continue
		}
		m.running[w.id] = now
		m.say(w.id, "admitted")
	}
}

func (m *model) arrive(id int, now, deadline moment) {
	switch {
	case m.phase == phaseDraining:
		m.say(id, "draining")
		return
	case m.phase == phaseClosed:
		m.say(id, "closed")
		return
	case len(m.running) < m.concurrency && len(m.queue) == 0:
		m.running[id] = now
		m.say(id, "admitted")
		return
	}
	full := len(m.queue) >= m.places
	displaces := m.places > 0 && len(m.queue) > 0 && !m.healthy()
	if full && !displaces { // refused before the clock is read
		m.say(id, "queue_full")
		return
	}
	m.dropLate(now)
	if len(m.queue) >= m.places {
		if m.places == 0 || len(m.queue) == 0 || m.healthy() {
			m.say(id, "queue_full")
			return
		}
		m.say(m.queue[0].id, "queue_full")
		m.queue = m.queue[1:]
	}
	m.queue = append(m.queue, modelWaiter{id, now, deadline})
	m.dropLate(now)
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
	log     []string
}

func newRig(t *testing.T, seed uint64) *rig {
	r := &rig{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)), now: 1,
		slots: map[int]*slot{}, waiting: map[int]*waiter{},
	}
	r.gate.limit, r.gate.concurrency = unlimited, unlimited
	r.model.running = map[int]moment{}
	r.resize()
	return r
}

// collect notes the verdicts that were told, in their order.
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
			r.log = append(r.log, fmt.Sprintf("%d admitted", id))
		} else {
			r.log = append(r.log, fmt.Sprintf("%d %s", id, w.reason))
		}
		w.next = nil
		w = next
	}
}

func (r *rig) arrive() {
	id := r.nextID
	r.nextID++
	var deadline moment
	if r.rnd.IntN(4) == 0 {
		deadline = r.now + moment(r.rnd.IntN(100)) + 1
	}
	r.model.arrive(id, r.now, deadline)
	s, a, reason := r.gate.enter()
	if a == queueUp {
		w := &waiter{arrived: r.now, deadline: deadline}
		var out verdicts
		a, reason, out = r.gate.wait(w, r.now)
		if a == queueUp {
			r.waiting[id] = w
		}
		r.collect(out)
		s = w.slot
	}
	switch a {
	case admit:
		s.started = r.now
		r.slots[id] = s
		r.log = append(r.log, fmt.Sprintf("%d admitted", id))
	case refuse:
		r.log = append(r.log, fmt.Sprintf("%d %s", id, reason))
	}
}

func (r *rig) release() {
	id, ok := oneOf(r.rnd, r.slots)
	if !ok {
		return
	}
	s := r.slots[id]
	delete(r.slots, id)
	run := time.Duration(r.now - s.started)
	r.model.mean.add(run)
	delete(r.model.running, id)
	r.model.serve(r.now)
	r.collect(r.gate.leave(s, run, Success, r.now))
}

func (r *rig) leave() {
	id, ok := oneOf(r.rnd, r.waiting)
	if !ok {
		return
	}
	if !r.gate.abandon(r.waiting[id]) {
		r.t.Fatalf("waiter %d could not leave", id)
	}
	delete(r.waiting, id)
	r.model.queue = slices.DeleteFunc(r.model.queue, func(w modelWaiter) bool { return w.id == id })
}

func (r *rig) pass() {
	r.now += moment(r.rnd.IntN(30))
	r.model.dropLate(r.now)
	due, out := r.gate.expire(r.now)
	if due != 0 && due <= r.now {
		r.t.Fatalf("asked to look again at %d, at %d", due, r.now)
	}
	r.collect(out)
}

func (r *rig) resize() {
	s := Settings{
		Concurrency: 1 + r.rnd.IntN(4), Queue: r.rnd.IntN(8),
		MaxWait: time.Duration(r.rnd.IntN(3)) * 50, Order: Order(r.rnd.IntN(2)),
	}
	m := &r.model
	m.concurrency, m.places, m.maxWait, m.fifo = s.Concurrency, s.Queue, s.MaxWait, s.Order == OrderFIFO
	m.serve(r.now)
	m.dropLate(r.now)
	r.collect(r.gate.configure(s, r.now))
}

func (r *rig) changePhase() {
	to := phase(r.rnd.IntN(3))
	if r.model.phase != phaseClosed {
		r.model.phase = to
	}
	r.gate.setPhase(to)
	if to == phaseClosed {
		for _, w := range r.model.queue {
			r.model.say(w.id, "closed")
		}
		r.model.queue = nil
		r.collect(r.gate.refuseAll(Closed))
	}
}

func (r *rig) check(step string) {
	r.t.Helper()
	if !slices.Equal(r.log, r.model.log) {
		r.t.Fatalf("after %s:\ngate  %v\nmodel %v", step, r.log, r.model.log)
	}
	if r.gate.running != len(r.model.running) || r.gate.queue.len != len(r.model.queue) {
		r.t.Fatalf("after %s: %d running, %d waiting, want %d and %d", step,
			r.gate.running, r.gate.queue.len, len(r.model.running), len(r.model.queue))
	}
	i := 0
	for w := r.gate.queue.front; w != nil; w = w.next {
		if r.waiting[r.model.queue[i].id] != w {
			r.t.Fatalf("after %s: place %d of the queue differs", step, i)
		}
		i++
	}
	r.log, r.model.log = r.log[:0], r.model.log[:0]
}

func (r *rig) play(steps int) {
	for range steps {
		switch n := r.rnd.IntN(100); {
		case n < 45:
			r.arrive()
			r.check("an arrival")
		case n < 75:
			r.release()
			r.check("a release")
		case n < 82:
			r.leave()
			r.check("a waiter left")
		case n < 95:
			r.pass()
			r.check("time passed")
		case n < 99:
			r.resize()
			r.check("a resize")
		default:
			r.changePhase()
			r.check("a change of phase")
		}
	}
	for len(r.slots) > 0 {
		r.release()
		r.check("a release at the end")
	}
	if n := r.gate.inFlight(); n != 0 {
		r.t.Fatalf("%d in flight at the end", n)
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

// The gate agrees with the model on random histories. Continuous integration
// plays 100,000 of them.
func TestGateAgreesWithModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(*modelSeeds) {
		newRig(t, seed).play(60)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzGateAgreesWithModel(f *testing.F) {
	f.Add(uint64(1), uint8(60))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint8) { newRig(t, seed).play(int(steps)) })
}
