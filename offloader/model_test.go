package offloader

import (
	"fmt"
	"slices"
	"time"
)

// model is the gate as a newcomer would write it: slices, no reuse, no links.
// The gate must agree with it after every step of every random history.
type model struct {
	phase       phase
	concurrency int
	limit       int // of fresh runs, less than concurrency while ramping up
	round       int // good answers at this limit
	widened     moment
	ramps       int // how many there were
	places      int
	maxWait     time.Duration
	fifo        bool
	queue       []modelWaiter
	running     map[int]modelRun
	uploading   map[int]bool
	mean        meanRun
	log         []string
}

type modelWaiter struct {
	id                int
	arrived, deadline moment
	ahead             int // when it came
	predicted         time.Duration
}

type modelRun struct {
	started   moment
	ramp      int // the ramp in which it began
	abandoned bool
	lingering bool
	untimed   bool
	good      bool // counted by the ramp
	reported  bool
}

func (m *model) rest() float64 {
	return float64(len(m.queue)) * m.mean.ns / float64(m.concurrency)
}

func (m *model) healthy() bool {
	return m.fifo || m.maxWait == 0 || !m.mean.warm || m.rest() <= float64(m.maxWait)/4
}

// next is the place of the waiter who gets the next permit.
func (m *model) next() int {
	if m.healthy() {
		return 0
	}
	return len(m.queue) - 1
}

// order lists the waiters as they would be served if nobody came or left.
func (m *model) order() []int {
	var ids []int
	rest := *m
	rest.queue = slices.Clone(m.queue)
	for len(rest.queue) > 0 {
		i := rest.next()
		ids = append(ids, rest.queue[i].id)
		rest.queue = slices.Delete(rest.queue, i, i+1)
	}
	return ids
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

// vacant reports whether there is a permit to give out.
func (m *model) vacant() bool { return len(m.running) < m.concurrency && m.fresh() < m.limit }

// bounded reports whether the ramp bounds a run.
func (m *model) bounded(r modelRun) bool { return r.ramp == m.ramps && !r.abandoned && !r.lingering }

func (m *model) fresh() int { return m.count(m.bounded) }

func (m *model) admit(id int, now moment) {
	delete(m.uploading, id)
	m.running[id] = modelRun{started: now, ramp: m.ramps}
	m.say(id, "admitted")
}

func (m *model) serve(now moment) {
	if m.vacant() {
		m.dropLate(now)
	}
	for m.vacant() && len(m.queue) > 0 && m.phase != phasePaused {
		i := m.next()
		w := m.queue[i]
		m.queue = slices.Delete(m.queue, i, i+1)
		if w.deadline != 0 && w.deadline <= now {
			m.say(w.id, "wait_timeout")
			continue
		}
		m.admit(w.id, now)
	}
}

// decide returns what becomes of a caller at once, or nothing if it may wait.
func (m *model) decide(id int) string {
	displaces := m.places > 0 && len(m.queue) > 0 && !m.healthy()
	switch {
	case m.phase == phaseDraining && !m.uploading[id]:
		return "draining"
	case m.phase == phaseClosed:
		return "closed"
	case m.vacant() && len(m.queue) == 0 && m.phase != phasePaused:
		return "admitted"
	case len(m.queue) >= m.places && !displaces:
		return "queue_full"
	}
	return ""
}

// enter reports false if the newcomer must call join.
func (m *model) enter(id int, now moment) bool {
	what := m.decide(id)
	switch what {
	case "":
		return false
	case "admitted":
		m.admit(id, now)
	default:
		delete(m.uploading, id)
		m.say(id, what)
	}
	return true
}

// upload lets a caller in, or returns why not.
func (m *model) upload(id int) string {
	if what := m.decide(id); what != "" && what != "admitted" {
		return what
	}
	m.uploading[id] = true
	return ""
}

func (m *model) join(id int, now, deadline moment) {
	m.dropLate(now)
	if m.enter(id, now) {
		return
	}
	if len(m.queue) >= m.places {
		m.say(m.queue[0].id, "queue_full")
		m.queue = m.queue[1:]
	}
	delete(m.uploading, id)
	m.queue = append(m.queue, modelWaiter{id: id, arrived: now, deadline: deadline})
	newest := &m.queue[len(m.queue)-1]
	newest.ahead = slices.Index(m.order(), id)
	newest.predicted = time.Duration(float64(newest.ahead+1) * m.mean.ns / float64(m.concurrency))
	m.dropLate(now)
}

func (m *model) setPhase(p phase, now moment) {
	if m.phase == phaseClosed {
		return
	}
	m.phase = p
	if p != phaseClosed {
		m.serve(now)
	}
}

func (m *model) remove(id int) {
	m.queue = slices.DeleteFunc(m.queue, func(w modelWaiter) bool { return w.id == id })
}

// ran counts the end of a run.
func (m *model) ran(run modelRun, now moment, o Outcome) {
	if !run.untimed && !run.abandoned {
		m.mean.add(time.Duration(now-run.started), now)
	}
	if !run.reported {
		m.judge(&run, now, o)
	}
}

// judge counts an outcome for the ramp.
func (m *model) judge(run *modelRun, now moment, o Outcome) {
	switch {
	case o == Success:
		m.good(run, now)
	case o == Failure && m.bounded(*run):
		m.round = 0
	}
}

// good counts a good answer for the ramp.
func (m *model) good(run *modelRun, now moment) {
	if m.limit == m.concurrency || !m.bounded(*run) || run.good {
		return
	}
	run.good = true
	m.round++
	if m.round >= m.limit {
		m.widen(now)
	}
}

// modelStep is how long one limit of a ramp holds.
const modelStep = 40

func (m *model) startRamp(now moment) {
	m.limit, m.round, m.widened = 1, 0, now
	m.ramps++
	m.serve(now)
}

func (m *model) widen(now moment) {
	m.limit, m.round, m.widened = min(2*m.limit, m.concurrency), 0, now
}

func (m *model) warm(now moment) {
	if m.limit < m.concurrency && now-m.widened >= modelStep {
		m.widen(now)
		m.serve(now)
	}
}

func (m *model) warmDue() moment {
	if m.limit == m.concurrency {
		return 0
	}
	return m.widened + modelStep
}

func (m *model) abandon(id int, now moment) {
	run := m.running[id]
	run.abandoned = true
	m.running[id] = run
	m.serve(now)
}

func (m *model) configure(s Settings, now moment) {
	ramping := m.limit < m.concurrency
	m.concurrency = s.Concurrency
	if !ramping || m.limit > s.Concurrency {
		m.limit = s.Concurrency
	}
	m.places, m.maxWait, m.fifo = s.Queue, s.MaxWait, s.Order == OrderFIFO
	m.serve(now)
	m.dropLate(now)
}

func (m *model) refuseAll(what string) {
	for _, w := range m.queue {
		m.say(w.id, what)
	}
	m.queue = nil
}

// count returns how many of the runs are so.
func (m *model) count(so func(modelRun) bool) int {
	n := 0
	for _, run := range m.running {
		if so(run) {
			n++
		}
	}
	return n
}

func (m *model) lingering() int { return m.count(func(r modelRun) bool { return r.lingering }) }
func (m *model) abandoned() int { return m.count(func(r modelRun) bool { return r.abandoned }) }
func (m *model) inFlight() int {
	return len(m.running) - m.lingering() + len(m.queue) + len(m.uploading)
}
