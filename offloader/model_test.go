package offloader

import (
	"fmt"
	"slices"
	"time"
)

// model is the gate as a newcomer would write it: slices, no reuse, no links.
// The gate must agree with it after every step of every random history.
type model struct {
	unit        moment // of time
	phase       Phase
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
	asks        map[int]bool  // callers that are preflights
	asking      []modelWaiter // those of them that wait
	preflights  map[int]bool  // those of them that run
	uploading   map[int]bool
	claims      map[int]Claim
	shares      *modelShares // nil as the gate's
	runs        runTimes
	pace        pace
	log         []string
}

type modelWaiter struct {
	id                int
	arrived, deadline moment
	ahead             int // when it came
	predicted         time.Duration

	// With shares.
	seated bool
	flow   modelFlow
	cost   int
	aside  bool
	lined  int // in the order of waiters that may get permits
}

type modelRun struct {
	started   moment
	ramp      int // the ramp in which it began
	abandoned bool
	lingering bool
	untimed   bool
	good      bool // counted by the ramp
	reported  bool

	cost int
	// With shares.
	seated  bool
	flow    modelFlow
	granted moment
	charge  int64
}

// turns is how long so many waiters need if a run takes that long.
func (m *model) turns(waiting int, run time.Duration) float64 {
	return float64(waiting) * float64(run) / float64(m.concurrency)
}

// run is how long a run takes.
func (m *model) run() time.Duration {
	if len(m.queue) > 0 && m.pace.known() {
		return m.pace.run
	}
	return m.runs.typical()
}

func (m *model) rest() float64 {
	return m.turns(m.load(), min(m.run(), m.runs.typical()))
}

// load is the number of permits that the waiters take.
func (m *model) load() int {
	n := 0
	for _, w := range m.queue {
		n += m.cost(w.id)
	}
	return n
}

// permits is the number of permits in use.
func (m *model) permits() int { return m.count(func(modelRun) bool { return true }) }

func (m *model) healthyWith(waiting int, run time.Duration) bool {
	return m.fifo || m.maxWait == 0 || !m.runs.warm || m.turns(waiting, run) <= float64(m.maxWait)/4
}

func (m *model) healthy() bool { return m.healthyWith(m.load(), m.run()) }

func (m *model) lateWhoCame(at, now moment) bool {
	return float64(now-at)+m.rest() > float64(m.maxWait)
}

// rescues reports whether the first waiter would be late, and can be served instead.
func (m *model) rescues(now moment) bool {
	first, last := m.queue[0], m.queue[len(m.queue)-1]
	inTrouble := float64(now-first.arrived)+m.turns(m.load(), m.run()) > float64(m.maxWait)
	return !m.pace.over && inTrouble && !m.lateWhoCame(last.arrived, now)
}

// next is the index of the waiter that gets the next permit.
func (m *model) next(now moment) int {
	if m.healthy() || m.rescues(now) {
		return 0
	}
	return len(m.queue) - 1
}

// freed counts n permits that come free, which are still among those that run.
func (m *model) freed(n int, now moment) {
	if len(m.queue) == 0 {
		return
	}
	m.pace.freed(n, m.permits(), now)
	m.dropLate(now)
	for n := 1 + len(m.queue)/lateShare; n > 0; n-- {
		if !m.pace.known() || m.healthy() || !m.lateWhoCame(m.queue[0].arrived, now) || m.rescues(now) {
			return
		}
		m.say(m.queue[0].id, "predicted_late")
		m.drop(m.queue[0].id, now)
		if len(m.queue) == 0 {
			return
		}
	}
}

// order lists the waiters in the order of service without arrivals and departures.
func (m *model) order(now moment) []int {
	var ids []int
	for _, w := range m.asking {
		ids = append(ids, w.id)
	}
	if m.shares != nil {
		return append(ids, m.orderShared(now)...)
	}
	run, rest := m.run(), slices.Clone(m.queue)
	for len(rest) > 0 {
		i := len(rest) - 1
		if m.healthyWith(len(rest), run) {
			i = 0
		}
		ids = append(ids, rest[i].id)
		rest = slices.Delete(rest, i, i+1)
	}
	return ids
}

func (m *model) say(id int, what string) { m.log = append(m.log, fmt.Sprintf("%d %s", id, what)) }

func (m *model) dropLate(now moment) {
	for _, line := range []*[]modelWaiter{&m.queue, &m.asking} {
		for len(*line) > 0 && m.maxWait > 0 && time.Duration(now-(*line)[0].arrived) >= m.maxWait {
			first := (*line)[0].id
			m.say(first, "wait_timeout")
			if line == &m.queue {
				m.drop(first, now)
			} else {
				m.asking = m.asking[1:]
			}
		}
	}
}

func (m *model) preflightFree() bool { return len(m.preflights) < m.limit && m.phase != PhasePaused }

// places that are taken.
func (m *model) waiting() int { return len(m.queue) + len(m.asking) }

// vacant reports whether there is a permit to give out.
func (m *model) vacant() bool { return m.permits() < m.concurrency && m.fresh() < m.limit }

// bounded reports whether the ramp bounds a run.
func (m *model) bounded(r modelRun) bool { return r.ramp == m.ramps && !r.abandoned && !r.lingering }

func (m *model) fresh() int { return m.count(m.bounded) }

func (m *model) admit(id int, now moment) {
	delete(m.uploading, id)
	if m.asks[id] {
		m.preflights[id] = true
		m.say(id, "admitted")
		return
	}
	run := modelRun{cost: 1}
	if m.shares != nil {
		run = m.startShared(id, now)
	}
	run.started, run.ramp = now, m.ramps
	m.running[id] = run
	m.say(id, "admitted")
}

func (m *model) serve(now moment) {
	for len(m.asking) > 0 && m.preflightFree() {
		w := m.asking[0]
		m.asking = m.asking[1:]
		if w.deadline != 0 && w.deadline <= now {
			m.say(w.id, "wait_timeout")
			continue
		}
		m.admit(w.id, now)
	}
	if m.vacant() {
		m.dropLate(now)
	}
	if m.shares != nil {
		m.serveShared(now)
		return
	}
	for m.vacant() && len(m.queue) > 0 && m.phase != PhasePaused {
		i := m.next(now)
		w := m.queue[i]
		m.queue = slices.Delete(m.queue, i, i+1)
		if w.deadline != 0 && w.deadline <= now {
			m.say(w.id, "wait_timeout")
			continue
		}
		m.admit(w.id, now)
	}
}

// decide returns the immediate result of a caller, or nothing if it may wait.
func (m *model) decide(id int) string {
	displaces := m.places > 0 && len(m.queue) > 0 && !m.healthy()
	switch {
	case m.phase == PhaseDraining && !m.uploading[id]:
		return "draining"
	case m.phase == PhaseClosed:
		return "closed"
	case m.asks[id] && len(m.asking) == 0 && m.preflightFree():
		return "admitted"
	case m.asks[id] && (m.waiting() < m.places || displaces):
		return ""
	case m.asks[id]:
		return "queue_full"
	case m.shares != nil:
		return m.decideShared(id)
	case m.vacant() && len(m.queue) == 0 && m.phase != PhasePaused:
		return "admitted"
	case m.waiting() >= m.places && !displaces:
		return "queue_full"
	}
	return ""
}

// enter reports false if the newcomer must call join.
func (m *model) enter(id int, now moment) bool {
	m.notice(id)
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
	m.notice(id)
	if what := m.decide(id); what != "" && what != "admitted" {
		return what
	}
	m.uploading[id] = true
	return ""
}

func (m *model) join(id int, now, deadline moment) {
	m.dropLate(now)
	m.makeRoom(now)
	if m.enter(id, now) {
		return
	}
	if m.waiting() >= m.places {
		victim, reason := m.queue[0].id, "queue_full"
		if m.shares != nil && !m.asks[id] {
			victim, reason = m.yields(id)
		}
		m.say(victim, reason)
		m.drop(victim, now)
	}
	delete(m.uploading, id)
	if m.asks[id] {
		m.asking = append(m.asking, modelWaiter{id: id, arrived: now, deadline: deadline, ahead: len(m.asking)})
		m.makeRoom(now)
		return
	}
	if len(m.queue) == 0 {
		m.pace.begin(m.permits(), now)
	}
	m.pace.came += m.cost(id)
	if m.shares != nil {
		w := modelWaiter{id: id, arrived: now, deadline: deadline}
		w.ahead, w.predicted = m.aheadShared(id)
		m.queue = append(m.queue, w)
		m.waitShared(len(m.queue)-1, now)
		m.makeRoom(now)
		return
	}
	m.queue = append(m.queue, modelWaiter{id: id, arrived: now, deadline: deadline})
	newest := &m.queue[len(m.queue)-1]
	newest.ahead = slices.Index(m.order(now), id) - len(m.asking)
	newest.predicted = time.Duration(m.turns(newest.ahead+1, m.run()))
}

func (m *model) setPhase(p Phase, now moment) {
	if m.phase == PhaseClosed {
		return
	}
	m.phase = p
	if p != PhaseClosed {
		m.serve(now)
	}
}

func (m *model) remove(id int, now moment) {
	m.drop(id, now)
	m.asking = slices.DeleteFunc(m.asking, func(w modelWaiter) bool { return w.id == id })
}

// ran counts the end of a run.
func (m *model) ran(run modelRun, now moment, o Outcome) {
	if !run.untimed && !run.abandoned {
		m.runs.add(time.Duration(now-run.started), now)
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
	m.round += run.cost
	if m.round >= m.limit {
		m.widen(now)
	}
}

func (m *model) startRamp(now moment) {
	m.limit, m.round, m.widened = 1, 0, now
	m.ramps++
	m.serve(now)
}

func (m *model) widen(now moment) {
	m.limit, m.round, m.widened = min(2*m.limit, m.concurrency), 0, now
}

func (m *model) warm(now moment) {
	if m.limit < m.concurrency && now-m.widened >= m.step() {
		m.widen(now)
		m.serve(now)
	}
}

func (m *model) warmDue() moment {
	if m.limit == m.concurrency {
		return 0
	}
	return m.widened + m.step()
}

// step is how long one limit of a ramp holds.
func (m *model) step() moment { return 40 * m.unit }

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
	if m.shares == nil && (s.keyed() || len(s.Classes) > 0) {
		m.shares = new(modelShares)
	}
	if m.shares != nil {
		m.arrange(s, now)
	}
	m.serve(now)
	m.dropLate(now)
	m.makeRoom(now)
}

// makeRoom serves waiters that others that have left were in the way of.
func (m *model) makeRoom(now moment) {
	if m.shares != nil {
		m.serve(now)
	}
}

func (m *model) refuseAll(what string, now moment) {
	for len(m.queue) > 0 {
		m.say(m.queue[0].id, what)
		m.drop(m.queue[0].id, now)
	}
	for _, w := range m.asking {
		m.say(w.id, what)
	}
	m.asking = nil
}

// count returns how many permits the runs hold that are so.
func (m *model) count(so func(modelRun) bool) int {
	n := 0
	for _, run := range m.running {
		if so(run) {
			n += run.cost
		}
	}
	return n
}

func (m *model) lingering() int { return m.count(func(r modelRun) bool { return r.lingering }) }
func (m *model) abandoned() int { return m.count(func(r modelRun) bool { return r.abandoned }) }
func (m *model) inFlight() int {
	return m.permits() - m.lingering() + len(m.preflights) + m.waiting() + len(m.uploading)
}
