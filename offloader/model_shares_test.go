package offloader

import (
	"slices"
	"time"
)

// modelShares are a model's shares: sums over all waiters and runs in place of counters,
// lists and heaps.
type modelShares struct {
	keyed               bool
	perKey, queuePerKey int
	classes             []Class
	fallback            int
	first               int // the waiter for which permits are kept, zero without one

	start      map[modelFlow]int64
	since      map[modelFlow]int // in the order of flows that began to wait
	longSince  map[modelFlow]int // in the order of flows that reached their lengths
	run        map[modelFlow]int64
	virtual    []int64
	classStart []int64
	classRun   []int64
	top        int64
	count      int // of everything that is in an order
}

// modelFlow is a key in a class.
type modelFlow struct {
	class int
	key   string
}

func (h *modelShares) next() int {
	h.count++
	return h.count
}

func (h *modelShares) forget() {
	h.start, h.run = map[modelFlow]int64{}, map[modelFlow]int64{}
	h.since, h.longSince = map[modelFlow]int{}, map[modelFlow]int{}
	n := len(h.classes)
	h.virtual, h.classStart, h.classRun, h.top = make([]int64, n), make([]int64, n), make([]int64, n), 0
}

// cost is the number of permits of a caller.
func (m *model) cost(id int) int {
	if m.shares == nil {
		return 1
	}
	return min(max(m.claims[id].Cost, 1), m.concurrency)
}

func (m *model) flowOf(id int) modelFlow {
	h, c := m.shares, m.claims[id]
	f := modelFlow{class: h.fallback}
	if h.keyed {
		f.key = c.Key
	}
	if i := slices.IndexFunc(h.classes, func(class Class) bool { return class.Name == c.Class }); i >= 0 {
		f.class = i
	}
	return f
}

// notice makes shares for a caller that needs them.
func (m *model) notice(id int) {
	if m.shares == nil && m.claims[id].Cost > 1 {
		m.shares = new(modelShares)
		m.arrange(Settings{}, 0)
	}
}

func (m *model) arrange(s Settings, now moment) {
	h := m.shares
	waiters := slices.Clone(m.queue)
	for i := range waiters {
		if waiters[i].seated {
			m.leaveShared(waiters[i].id, now)
		}
	}
	h.first = 0
	classes := s.Classes
	if len(classes) == 0 {
		classes = []Class{{DefaultClass, 1}}
	}
	if h.keyed != s.keyed() || !slices.Equal(h.classes, classes) {
		m.reclass(classes)
		h.keyed, h.classes = s.keyed(), classes
		h.forget()
	}
	h.perKey, h.queuePerKey = s.PerKey, s.QueuePerKey
	h.fallback = max(indexOf(classes, DefaultClass), 0)
	for i := range waiters {
		m.queue[i] = waiters[i]
		m.waitShared(i, now)
	}
}

// reclass moves runs to the classes of the same names.
func (m *model) reclass(classes []Class) {
	for id, run := range m.running {
		if run.seated {
			i := indexOf(classes, m.shares.classes[run.flow.class].Name)
			if i < 0 {
				i = len(classes) - 1
			}
			run.flow.class = i
			m.running[id] = run
		}
	}
}

// sum adds up the permits of the waiters that are so.
func (m *model) sum(so func(modelWaiter) bool) (permits, n int) {
	for _, w := range m.queue {
		if w.seated && so(w) {
			permits += w.cost
			n++
		}
	}
	return permits, n
}

func (m *model) ready(f modelFlow) int {
	_, n := m.sum(func(w modelWaiter) bool { return w.flow == f && !w.aside })
	return n
}

// held adds up the permits of the runs that are so, the time since they began, and their
// charges.
func (m *model) held(now moment, so func(modelFlow) bool) (permits int, used, charged int64) {
	for _, run := range m.running {
		if run.seated && so(run.flow) {
			permits += run.cost
			used += int64(run.cost) * int64(now-run.granted)
			charged += run.charge
		}
	}
	return permits, used, charged
}

func (m *model) flowAt(f modelFlow, now moment) int64 {
	_, used, charged := m.held(now, func(other modelFlow) bool { return other == f })
	return m.shares.start[f] + max(0, used-charged)/1000
}

func (m *model) classAt(c int, now moment) int64 {
	_, used, charged := m.held(now, func(other modelFlow) bool { return other.class == c })
	return m.shares.classStart[c] + m.weighted(c, max(0, used-charged))
}

func (m *model) weighted(c int, permitTime int64) int64 {
	return permitTime / 1000 / int64(m.shares.classes[c].Weight)
}

func (m *model) busy(c int) bool {
	n, _, _ := m.held(0, func(f modelFlow) bool { return f.class == c })
	_, ready := m.sum(func(w modelWaiter) bool { return w.flow.class == c && !w.aside })
	return n > 0 || ready > 0
}

func (m *model) weights() int64 {
	sum := 0
	for c := range m.shares.classes {
		if m.busy(c) {
			sum += m.shares.classes[c].Weight
		}
	}
	return int64(sum)
}

// keyTaken is the number of permits that a key holds, or may get.
func (m *model) keyTaken(key string) int {
	n, _, _ := m.held(0, func(f modelFlow) bool { return f.key == key })
	waiting, _ := m.sum(func(w modelWaiter) bool { return w.flow.key == key && !w.aside })
	return n + waiting
}

func (m *model) allows(key string, cost int) bool {
	taken := m.keyTaken(key)
	return m.shares.perKey == 0 || key == "" || taken == 0 || taken+cost <= m.shares.perKey
}

func (m *model) idle(f modelFlow) bool {
	n, _, _ := m.held(0, func(other modelFlow) bool { return other == f })
	return n == 0 && m.ready(f) == 0
}

// activate ends the idle time of a flow.
func (m *model) activate(f modelFlow) {
	h := m.shares
	if !m.busy(f.class) {
		credit := int64(0)
		if f.class < len(h.classes)-1 {
			weight := int64(h.classes[f.class].Weight)
			credit = m.weighted(f.class, int64(time.Second)/(m.weights()+weight)*weight*int64(m.concurrency))
		}
		h.classStart[f.class] = max(h.classStart[f.class], h.top-credit)
	}
	h.start[f] = max(h.start[f], h.virtual[f.class])
}

// waitShared gives the waiter at that place a seat.
func (m *model) waitShared(i int, now moment) {
	h, id := m.shares, m.queue[i].id
	f := m.flowOf(id)
	m.queue[i].seated, m.queue[i].flow, m.queue[i].cost = false, f, m.cost(id)
	_, asideOfKey := m.sum(func(w modelWaiter) bool { return w.flow.key == f.key && w.aside })
	aside := asideOfKey > 0 || !m.allows(f.key, m.cost(id))
	if !aside && m.ready(f) == 0 {
		m.activate(f)
		h.since[f] = h.next()
	}
	m.queue[i].seated, m.queue[i].aside, m.queue[i].lined = true, aside, h.next()
	h.longSince[f] = h.next()
}

// leaveShared takes the seat of a waiter.
func (m *model) leaveShared(id int, now moment) {
	i := slices.IndexFunc(m.queue, func(w modelWaiter) bool { return w.id == id })
	w := m.queue[i]
	m.queue[i].seated = false
	m.shares.longSince[w.flow] = m.shares.next()
	if m.shares.first == id {
		m.shares.first = 0
	}
	m.admitAside(w.flow.key)
}

// admitAside lets waiters of a key get permits as far as it may have them.
func (m *model) admitAside(key string) {
	for i, w := range m.queue {
		if !w.seated || !w.aside || w.flow.key != key {
			continue
		}
		if !m.allows(key, w.cost) {
			return
		}
		if m.ready(w.flow) == 0 {
			m.activate(w.flow)
			m.shares.since[w.flow] = m.shares.next()
		}
		m.queue[i].aside, m.queue[i].lined = false, m.shares.next()
	}
}

func (m *model) chargeOf(f modelFlow, cost int) int64 {
	run := m.shares.run[f]
	if run == 0 {
		run = m.shares.classRun[f.class]
	}
	if run == 0 {
		run = int64(100 * time.Millisecond)
	}
	return run * int64(cost)
}

// startShared gives a caller its permits.
func (m *model) startShared(id int, now moment) modelRun {
	h, f, cost := m.shares, m.flowOf(id), m.cost(id)
	if m.idle(f) {
		m.activate(f)
	}
	charge := m.chargeOf(f, cost)
	h.top = max(h.top, m.classAt(f.class, now))
	h.virtual[f.class] = max(h.virtual[f.class], m.flowAt(f, now))
	h.classStart[f.class] += max(m.weighted(f.class, charge), 1)
	h.start[f] += max(charge/1000, 1)
	return modelRun{seated: true, flow: f, cost: cost, granted: now, charge: charge}
}

func average(before, run, parts int64) int64 {
	if before == 0 {
		return max(run, 1)
	}
	return max(before+(run-before)/parts, 1)
}

// endShared takes the permits of a run back.
func (m *model) endShared(id int, now moment, used bool) {
	h, run := m.shares, m.running[id]
	if h == nil || !run.seated {
		delete(m.running, id)
		return
	}
	f, took := run.flow, int64(now-run.granted)
	if used {
		h.run[f] = average(h.run[f], took, 4)
		h.classRun[f.class] = average(h.classRun[f.class], took, 8)
	}
	least := took * int64(run.cost)
	length := max(took, int64(time.Second))
	weight, permits := int64(h.classes[f.class].Weight), int64(m.concurrency)
	flowDebt := max(least, length/int64(m.activeFlows(f.class))*permits) / 1000
	classDebt := m.weighted(f.class, max(least, length/m.weights()*weight*permits))
	h.start[f] = clamp(h.start[f]+(least-run.charge)/1000, h.virtual[f.class], flowDebt)
	h.classStart[f.class] = clamp(h.classStart[f.class]+m.weighted(f.class, least-run.charge), h.top, classDebt)
	delete(m.running, id)
	m.admitAside(f.key)
}

func clamp(at, around, by int64) int64 { return min(max(at, around-by), around+by) }

func (m *model) activeFlows(class int) int {
	flows := map[modelFlow]bool{}
	for _, w := range m.queue {
		if w.seated && !w.aside && w.flow.class == class {
			flows[w.flow] = true
		}
	}
	for _, run := range m.running {
		if run.seated && run.flow.class == class {
			flows[run.flow] = true
		}
	}
	return len(flows)
}

// nextFlow is the flow that is served next, of those with waiters that are so, by the
// virtual times that are given.
func (m *model) nextFlow(so func(modelWaiter) bool, classAt func(int) int64, flowAt func(modelFlow) int64) (modelFlow, bool) {
	var best modelFlow
	found := false
	for _, w := range m.queue {
		if !so(w) {
			continue
		}
		f := w.flow
		switch {
		case !found:
		case f.class != best.class:
			a, b := classAt(f.class), classAt(best.class)
			if a > b || (a == b && f.class > best.class) {
				continue
			}
		default:
			a, b := flowAt(f), flowAt(best)
			if a > b || (a == b && m.shares.since[f] >= m.shares.since[best]) {
				continue
			}
		}
		best, found = f, true
	}
	return best, found
}

// nextShared is the index of the waiter that gets the next permits, or -1.
func (m *model) nextShared(now moment) int {
	if id := m.shares.first; id != 0 {
		return slices.IndexFunc(m.queue, func(w modelWaiter) bool { return w.id == id })
	}
	if len(m.queue) == 0 {
		return -1
	}
	f, ok := m.nextFlow(func(w modelWaiter) bool { return !w.aside },
		func(c int) int64 { return m.classAt(c, now) }, func(f modelFlow) int64 { return m.flowAt(f, now) })
	if !ok {
		return -1
	}
	return m.inLine(f, m.healthy() || m.rescues(now), func(w modelWaiter) bool { return !w.aside })
}

// inLine is the index of the oldest or newest waiter in the line of a flow.
func (m *model) inLine(f modelFlow, oldest bool, so func(modelWaiter) bool) int {
	best := -1
	for i, w := range m.queue {
		if w.flow == f && so(w) && (best < 0 || (w.lined < m.queue[best].lined) == oldest) {
			best = i
		}
	}
	return best
}

func (m *model) fits(cost int) bool {
	return m.permits()+cost <= m.concurrency && (m.fresh() == 0 || m.fresh()+cost <= m.limit)
}

func (m *model) serveShared(now moment) {
	for m.vacant() && m.phase != PhasePaused {
		i := m.nextShared(now)
		if i < 0 {
			return
		}
		w := m.queue[i]
		if w.deadline != 0 && w.deadline <= now {
			m.say(w.id, "wait_timeout")
			m.drop(w.id, now)
			continue
		}
		if !m.fits(w.cost) {
			m.shares.first = w.id
			return
		}
		m.shares.first = 0
		m.shares.longSince[w.flow] = m.shares.next()
		m.queue = slices.Delete(m.queue, i, i+1)
		m.admit(w.id, now)
	}
}

// drop takes a waiter out of the queue, whether it waits for a permit or not.
func (m *model) drop(id int, now moment) {
	i := slices.IndexFunc(m.queue, func(w modelWaiter) bool { return w.id == id })
	if i < 0 {
		return
	}
	if m.queue[i].seated {
		m.leaveShared(id, now)
	}
	m.queue = slices.Delete(m.queue, i, i+1)
}

// decideShared is decide with shares.
func (m *model) decideShared(id int) string {
	f, cost := m.flowOf(id), m.cost(id)
	_, ready := m.sum(func(w modelWaiter) bool { return !w.aside })
	_, ofKey := m.sum(func(w modelWaiter) bool { return w.flow.key == f.key })
	_, by := m.yields(id)
	switch {
	case m.phase != PhasePaused && m.fits(cost) && ready == 0 && m.allows(f.key, cost):
		return "admitted"
	case m.shares.queuePerKey > 0 && f.key != "" && ofKey >= m.shares.queuePerKey:
		return "key_queue_full"
	case m.waiting() >= m.places && by == "":
		return "queue_full"
	}
	return ""
}

// yields is the waiter whose place a newcomer to a full queue takes, and the reason.
func (m *model) yields(id int) (victim int, reason string) {
	if m.places == 0 {
		return 0, ""
	}
	h, f := m.shares, m.flowOf(id)
	all := 0
	for _, c := range h.classes {
		all += c.Weight
	}
	for c := len(h.classes) - 1; c > f.class; c-- {
		ofClass := func(w modelWaiter) bool { return w.flow.class == c }
		if _, n := m.sum(ofClass); n > m.places*h.classes[c].Weight/all {
			return m.last(ofClass, true), "displaced"
		}
	}
	var greediest modelFlow
	most := 0
	for _, w := range m.queue {
		n := m.length(w.flow)
		if w.flow.class == f.class && (n > most || (n == most && h.longSince[w.flow] < h.longSince[greediest])) {
			greediest, most = w.flow, n
		}
	}
	own := func(w modelWaiter) bool { return w.flow == f }
	switch {
	case most >= m.length(f)+2:
		return m.last(func(w modelWaiter) bool { return w.flow == greediest }, m.healthy()), "displaced"
	case !m.healthy() && m.length(f) > 0:
		return m.last(own, false), "queue_full"
	}
	return 0, ""
}

func (m *model) length(f modelFlow) int {
	_, n := m.sum(func(w modelWaiter) bool { return w.flow == f })
	return n
}

// last is the youngest waiter that is so, or the oldest one.
func (m *model) last(so func(modelWaiter) bool, youngest bool) (id int) {
	for _, w := range m.queue {
		if so(w) && (id == 0 || youngest) {
			id = w.id
		}
	}
	return id
}

// aheadShared estimates the number of waiters before a newcomer that is not in the queue yet.
func (m *model) aheadShared(id int) (int, time.Duration) {
	h, f := m.shares, m.flowOf(id)
	own, others := 0, map[modelFlow]bool{}
	if m.healthyWith(m.load()+m.cost(id), m.run()) {
		own = m.length(f)
	}
	waiting := make([]int, len(h.classes))
	for _, w := range m.queue {
		waiting[w.flow.class]++
		if w.flow.class == f.class && w.flow != f && !w.aside {
			others[w.flow] = true
		}
	}
	ahead := min(own+(own+1)*len(others), waiting[f.class])
	all := ahead
	for c := range h.classes {
		if c != f.class {
			all += min((ahead+1)*h.classes[c].Weight/h.classes[f.class].Weight, waiting[c])
		}
	}
	permits := all
	if n := len(m.queue); n > 0 {
		permits = all * m.load() / n
	}
	return all, time.Duration(m.turns(permits+m.cost(id), m.run()))
}

// orderShared lists the waiters for permits in the order of service.
func (m *model) orderShared(now moment) (ids []int) {
	h, left, load := m.shares, map[int]bool{}, m.load()
	classAt, flowAt := map[int]int64{}, map[modelFlow]int64{}
	for _, w := range m.queue {
		if !w.aside {
			left[w.id] = true
			classAt[w.flow.class], flowAt[w.flow] = m.classAt(w.flow.class, now), m.flowAt(w.flow, now)
		}
	}
	so := func(w modelWaiter) bool { return left[w.id] }
	if h.first != 0 {
		ids = append(ids, h.first)
	}
	for len(left) > 0 {
		f, _ := m.nextFlow(so, func(c int) int64 { return classAt[c] }, func(f modelFlow) int64 { return flowAt[f] })
		w := m.queue[m.inLine(f, m.healthyWith(load, m.run()), so)]
		charge := m.chargeOf(f, w.cost)
		classAt[f.class] += max(m.weighted(f.class, charge), 1)
		flowAt[f] += max(charge/1000, 1)
		load -= w.cost
		delete(left, w.id)
		if w.id != h.first {
			ids = append(ids, w.id)
		}
	}
	for _, w := range m.queue {
		if w.aside {
			ids = append(ids, w.id)
		}
	}
	return ids
}
