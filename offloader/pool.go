package offloader

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Pool is a bulkhead in front of a backend: permits, a bounded queue and a
// breaker under one name. All of its methods may be used from any goroutine.
type Pool struct {
	name string
	clock
	observeBreaker    func(from, to BreakerState)
	observeUpstream   func(upstream string, from, to BreakerState)
	observeSaturation func()
	observeRejection  func(Reason)
	outcomeOf         func(error) Outcome // of runs of Do
	upstreams         *Upstreams

	gate    gate
	alarm   alarm                   // of the queue
	warming alarm                   // of the warm-up
	holding alarm                   // of a breaker that holds callers
	breaker atomic.Pointer[breaker] // nil without one, and while it is forced closed
	lingers lingers
	waiters waiterPool

	admitted   atomic.Uint64
	detached   atomic.Int64 // runs that have left the pool and not ended
	left       atomic.Uint64
	rejected   [maxReasons]atomic.Uint64
	changed    [breakerStateCount]atomic.Uint64 // of the breaker, by its new state
	rejections [maxReasons]RejectedError        // set by New

	transitions transitions // of all breakers that the pool has had
	each        upstreamBreakers

	configuring sync.Mutex // held while settings or the breaker change
	mu          sync.Mutex // guards the fields below
	configured  Settings
	override    Override
	settings    Settings // in force: configured with override
	control     BreakerControl
	elders      []*Pool // pools that this one has replaced
}

// Option sets a collaborator of a pool.
type Option func(*Pool)

// WithBreakerObserver calls observe after each change of the breaker's state, in order
// and without locks. observe must not block: it runs on the goroutine that released a
// permit.
func WithBreakerObserver(observe func(from, to BreakerState)) Option {
	return func(p *Pool) { p.observeBreaker = observe }
}

// WithUpstreamObserver calls observe after each change of the breaker of an upstream
// (BreakerSettings.PerUpstream), in order for each upstream and without locks. observe must
// not block.
func WithUpstreamObserver(observe func(upstream string, from, to BreakerState)) Option {
	return func(p *Pool) { p.observeUpstream = observe }
}

// WithOutcome makes [Pool.Do] judge the errors of runs by outcome in place of
// [OutcomeOf], for errors that are not the fault of the backend. It is called with nil
// errors too, on the goroutine of the run.
func WithOutcome(outcome func(error) Outcome) Option {
	return func(p *Pool) { p.outcomeOf = outcome }
}

// SaturationCalm is the time without new waiters after which the next waiter counts as
// a new saturation.
const SaturationCalm = 30 * time.Second

// WithSaturationObserver calls observe when the pool becomes saturated: all permits are
// taken, and a caller joins an empty queue after SaturationCalm without waiters. A pool
// at its limit for long, or again and again, is reported once; a paused pool is not
// reported. observe must not block: it runs on the goroutine of the waiter.
func WithSaturationObserver(observe func()) Option {
	return func(p *Pool) { p.observeSaturation = observe }
}

// WithRejectionObserver calls observe after each rejection, those that [Pool.Reject] counts
// included. observe must be quick and must not block: it runs on the goroutine of the
// rejected caller, as often as callers are rejected.
func WithRejectionObserver(observe func(Reason)) Option {
	return func(p *Pool) { p.observeRejection = observe }
}

// WithUpstreams lets the pool share the counts of its upstreams with the other pools of the
// table. Without it they are the pool's alone.
func WithUpstreams(table *Upstreams) Option {
	return func(p *Pool) { p.upstreams = table }
}

// New returns a pool. Errors and snapshots carry its name.
func New(name string, s Settings, opts ...Option) (*Pool, error) {
	p := &Pool{name: name, clock: clock{time.Now()}, outcomeOf: OutcomeOf, upstreams: NewUpstreams()}
	p.alarm.ring = p.expire
	p.warming.ring = p.warm
	p.holding.ring = p.endHold
	p.lingers.end = p.endLinger
	p.transitions.handle = p.breakerChanged
	p.gate.limit = unlimited
	p.gate.configured, p.gate.concurrency = unlimited, unlimited
	for r := range p.rejections {
		p.rejections[r] = RejectedError{Pool: name, Reason: Reason(r), from: p}
	}
	for _, opt := range opts {
		opt(p)
	}
	if err := p.Configure(s); err != nil {
		return nil, err
	}
	return p, nil
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.name }

// RejectEarly rejects a caller that Acquire would reject at once, and counts the
// rejection. It returns nil if the caller would be admitted or could wait. Call it
// before work that is done for admitted callers only, such as reading input.
func (p *Pool) RejectEarly() error {
	if p.breakerRejects() {
		return p.reject(p.breakerReason())
	}
	if r := p.gate.admissible(&newcomer{}); r != 0 {
		return p.reject(r)
	}
	return nil
}

// TryAcquire returns a permit if one is free, and a [*RejectedError] otherwise.
func (p *Pool) TryAcquire() (Permit, error) {
	var n newcomer
	p.recognize(&n)
	s, a, err := p.enter(&n)
	switch {
	case err != nil:
		return Permit{}, err
	case a == queueUp:
		return Permit{}, p.reject(QueueFull)
	}
	permit, err := p.begin(s, nil, p.now())
	if errors.Is(err, errHeld) {
		return Permit{}, p.reject(BreakerOpen)
	}
	return permit, err
}

// Acquire waits for a permit. It returns a [*RejectedError] if the pool does not admit
// the caller, or the context's cause if the context is cancelled first. A deadline of
// the context that passes during the wait is a rejection with the reason WaitTimeout:
// no run starts after its deadline.
//
// While the queue is short (served in order, it would be empty within a quarter of
// Settings.MaxWait) waiters are served first come, first served. In a longer queue the
// newest are served first, since they can still be served in time, and the oldest are
// rejected as permits come free and show that they would be late. OrderFIFO always
// serves first come, first served. Until a run has ended that began after another had
// ended, every queue counts as short. Callers that come back at the time of
// [Ticket.NextRetry] are served before all others.
func (p *Pool) Acquire(ctx context.Context) (Permit, error) { return p.acquire(ctx, nil) }

// acquire is Acquire for the caller of a ticket, which may be nil.
func (p *Pool) acquire(ctx context.Context, t *Ticket) (Permit, error) {
	if ctx.Err() != nil {
		return Permit{}, p.gone(ctx, t)
	}
	n := newcomer{ticket: t}
	if t != nil {
		t.kept, t.held, n.back = false, false, t.Returning
		t.Forget()
	}
	p.recognize(&n)
	permit, err := p.admit(ctx, &n)
	for err != nil && errors.Is(err, errHeld) {
		n.back = true
		if t != nil {
			t.held = true
		}
		p.transitions.notify() // of the breaker, which has rejected the run
		permit, err = p.wait(ctx, &n)
	}
	return permit, err
}

// admit gets a newcomer a permit, at once or from the queue.
func (p *Pool) admit(ctx context.Context, n *newcomer) (Permit, error) {
	s, a, err := p.enter(n)
	switch {
	case err != nil:
		return Permit{}, err
	case a == queueUp:
		return p.wait(ctx, n)
	}
	return p.begin(s, n.ticket, p.now())
}

// Do acquires a permit, runs work and releases the permit. It returns the error of
// Acquire or of work. [OutcomeOf] judges the latter, unless [WithOutcome] is set. A
// panic of work is a failure and passes through.
func (p *Pool) Do(ctx context.Context, work func(context.Context) error) (err error) {
	permit, err := p.Acquire(ctx)
	if err != nil {
		return err
	}
	outcome := Failure // if work panics
	defer func() { permit.Release(outcome) }()
	err = work(ctx)
	outcome = p.outcomeOf(err)
	return err
}

func (p *Pool) enter(n *newcomer) (*slot, decision, error) {
	if p.breakerRejects() {
		return nil, rejectNow, p.rejectNewcomer(n.ticket, p.breakerReason())
	}
	s, a, r := p.gate.enter(n)
	if a == rejectNow {
		return nil, a, p.rejectNewcomer(n.ticket, r)
	}
	return s, a, nil
}

func (p *Pool) wait(ctx context.Context, n *newcomer) (Permit, error) {
	now := p.now()
	t := n.ticket
	if t != nil {
		t.Forget()
		n.record = newRecord()
	}
	w := p.waiters.get(now, p.deadline(ctx), n)
	a, r, out := p.gate.wait(w, n, now)
	out.wake()
	if a == queueUp {
		p.alarm.set(p.gate.nextDue(), now)
		if w.breaksCalm && p.observeSaturation != nil {
			p.observeSaturation()
		}
		if !p.await(ctx, w, n) {
			return Permit{}, p.goneFrom(ctx, t)
		}
		now, r = p.now(), w.reason
	}
	s, arrived := w.slot, w.arrived
	p.waiters.put(w)
	switch {
	case s == nil && a == queueUp:
		return Permit{}, p.rejectWaiter(t, r)
	case s == nil: // since enter
		return Permit{}, p.rejectNewcomer(t, r)
	case t != nil && a == admit:
		t.Forget()
	case t != nil:
		t.record.Waited = now.since(arrived)
	}
	if ctx.Err() != nil { // the caller left at the moment of the hand-over
		p.gate.putBack(s, now).wake()
		return Permit{}, p.goneFrom(ctx, t)
	}
	return p.begin(s, t, now)
}

// await waits until w has a permit or a rejection, and returns true. If the caller leaves
// before, it recycles w and returns false.
func (p *Pool) await(ctx context.Context, w *waiter, n *newcomer) bool {
	select {
	case <-w.wake:
		return true
	case <-ctx.Done():
	}
	var out verdicts
	left := p.gate.leave(w, n, p.now(), &out)
	out.wake()
	if left {
		p.waiters.put(w)
		return false
	}
	<-w.wake
	return true
}

// begin returns the permit for s, unless the breaker has opened meanwhile. The ticket may
// be nil. The error is errHeld if the caller is to wait again.
func (p *Pool) begin(s *slot, t *Ticket, now moment) (Permit, error) {
	s.started, s.reporter = now, reporter{since: now}
	if b := p.breakerOf(s); b != nil && !b.allow(&s.reporter, now) {
		if b.holds() || b.name != "" {
			p.gate.takeBack(s, t, now).wake()
			return Permit{}, errHeld
		}
		p.gate.putBack(s, now).wake()
		if t != nil && t.record != nil {
			p.gate.countRejected(t)
			return Permit{}, p.rejectWaiter(t, BreakerOpen)
		}
		return Permit{}, p.rejectNewcomer(t, BreakerOpen)
	}
	p.admitted.Add(1)
	if s.last {
		p.gate.lastBegan.Store(int64(now))
	}
	return Permit{pool: p, slot: s, generation: s.generation()}, nil
}

func (p *Pool) deadline(ctx context.Context) moment {
	d, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(moment(d.Sub(p.epoch)), 1)
}

// Reject counts a rejection that the caller has decided on, with a reason of
// [NewReason] or of the package, and returns the error for it.
func (p *Pool) Reject(r Reason) *RejectedError {
	p.rejected[r].Add(1)
	if p.observeRejection != nil {
		p.observeRejection(r)
	}
	return &p.rejections[r]
}

func (p *Pool) reject(r Reason) error { return p.Reject(r) }

// goneFrom counts a caller that has waited and whose context has ended, and returns its
// error. The ticket may be nil.
func (p *Pool) goneFrom(ctx context.Context, t *Ticket) error {
	if t != nil && t.record != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.record.Reason = WaitTimeout
		p.gate.countRejected(t)
	}
	return p.gone(ctx, t)
}

// gone counts a caller whose context has ended, and returns its error. Its ticket may be nil.
func (p *Pool) gone(ctx context.Context, t *Ticket) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return p.rejectFor(t, WaitTimeout)
	}
	if !t.patient() {
		p.left.Add(1)
	}
	return context.Cause(ctx)
}

// expire rejects waiters that have waited too long.
func (p *Pool) expire() {
	now := p.now()
	due, out := p.gate.expire(now)
	out.wake()
	p.alarm.set(due, now)
}
