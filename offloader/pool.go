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
	name              string
	epoch             time.Time
	observeBreaker    func(from, to BreakerState)
	observeSaturation func()
	outcomeOf         func(error) Outcome // of runs of Do

	gate    gate
	alarm   alarm                   // of the queue
	warming alarm                   // of the ramp
	breaker atomic.Pointer[breaker] // nil for none, and while it is forced closed
	lingers lingers
	waiters waiterPool

	admitted   atomic.Uint64
	detached   atomic.Int64 // runs that have left the pool and not ended
	left       atomic.Uint64
	rejected   [maxReasons]atomic.Uint64
	ended      [outcomeCount]atomic.Uint64
	changed    [breakerStateCount]atomic.Uint64 // of the breaker, by the state it went to
	rejections [maxReasons]RejectedError        // written once by New

	transitions transitions // of all breakers that it has had

	configuring sync.Mutex // held while settings or the breaker change
	mu          sync.Mutex // guards the rest
	configured  Settings
	override    Override
	settings    Settings // in force: override on top of configured
	control     BreakerControl
	elders      []*Pool // that this one has succeeded
}

// Option adds a collaborator to a pool.
type Option func(*Pool)

// WithBreakerObserver calls observe after each change of the breaker's state,
// in order and outside of all locks. It must not block for long: the caller is
// whoever released a permit.
func WithBreakerObserver(observe func(from, to BreakerState)) Option {
	return func(p *Pool) { p.observeBreaker = observe }
}

// WithOutcome makes [Pool.Do] judge the errors of runs by outcome in place of
// [OutcomeOf], for errors that are not the fault of the backend. It is called with nil
// errors too, on the goroutine of the run.
func WithOutcome(outcome func(error) Outcome) Option {
	return func(p *Pool) { p.outcomeOf = outcome }
}

// SaturationCalm is how long nobody has begun to wait when the next one who does
// makes a new saturation.
const SaturationCalm = 30 * time.Second

// WithSaturationObserver calls observe when the pool begins to be saturated: all
// permits are taken, a caller has to wait while nobody else does, and none has
// begun to wait for SaturationCalm. A pool that is at its limit for long, or again
// and again, is reported once; one that is paused is not. It must not block for long: the caller is the one
// who has to wait.
func WithSaturationObserver(observe func()) Option {
	return func(p *Pool) { p.observeSaturation = observe }
}

// New returns a pool. The name is for people: errors and snapshots carry it.
func New(name string, s Settings, opts ...Option) (*Pool, error) {
	p := &Pool{name: name, epoch: time.Now(), outcomeOf: OutcomeOf}
	p.alarm.ring = p.expire
	p.warming.ring = p.warm
	p.lingers.end = p.endLinger
	p.transitions.handle = p.breakerChanged
	p.gate.limit = unlimited
	p.gate.concurrency = unlimited
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

// TryAcquire returns a permit if one is free, and a [*RejectedError] at once
// if not.
func (p *Pool) TryAcquire() (Permit, error) {
	s, a, err := p.enter(&newcomer{})
	switch {
	case err != nil:
		return Permit{}, err
	case a == queueUp:
		return Permit{}, p.reject(QueueFull)
	}
	return p.begin(s, p.now())
}

// Acquire waits for a permit. It returns a [*RejectedError] if the pool does
// not admit the caller, or the context's cause if that was cancelled first. A
// deadline of the context that passes while waiting is a rejection with the
// reason WaitTimeout: nothing starts after its deadline.
//
// While the queue is short (served in order, it would be over within a quarter
// of Settings.MaxWait) waiters are served first come, first served, and nobody
// overtakes. In a longer queue the newest are served first, since they can
// still be served quickly, and the oldest are refused as permits come free and
// show that they would be late. OrderFIFO keeps the first rule always. Until a
// run has ended that began after another had, every queue is taken to be short.
// Callers that come back at the time of [Ticket.NextRetry] are served before all
// others.
func (p *Pool) Acquire(ctx context.Context) (Permit, error) { return p.acquire(ctx, nil) }

// acquire is Acquire for the caller of a ticket, which may be nil.
func (p *Pool) acquire(ctx context.Context, t *Ticket) (Permit, error) {
	if ctx.Err() != nil {
		return Permit{}, p.gone(ctx)
	}
	if t != nil {
		t.kept = false
	}
	n := newcomer{ticket: t}
	p.recognize(&n)
	s, a, err := p.enter(&n)
	switch {
	case err != nil:
		return Permit{}, err
	case a == queueUp:
		return p.wait(ctx, &n)
	}
	return p.begin(s, p.now())
}

// Do acquires a permit, runs work and releases the permit. It returns the error of
// Acquire or of work. [OutcomeOf] judges the latter, unless there is [WithOutcome]; a
// panic is a failure, and passes through.
func (p *Pool) Do(ctx context.Context, work func(context.Context) error) (err error) {
	permit, err := p.Acquire(ctx)
	if err != nil {
		return err
	}
	outcome := Failure // of a run that panics
	defer func() { permit.Release(outcome) }()
	err = work(ctx)
	outcome = p.outcomeOf(err)
	return err
}

func (p *Pool) now() moment { return moment(time.Since(p.epoch)) }

func (p *Pool) enter(n *newcomer) (*slot, answer, error) {
	if p.breakerRejects() {
		return nil, rejectNow, p.reject(p.breakerReason())
	}
	s, a, r := p.gate.enter(n)
	if a == rejectNow {
		return nil, a, p.reject(r)
	}
	return s, a, nil
}

func (p *Pool) wait(ctx context.Context, n *newcomer) (Permit, error) {
	now := p.now()
	w := p.waiters.get(now, p.deadline(ctx), n.ticket)
	a, r, out := p.gate.wait(w, n, now)
	out.wake()
	if a == queueUp {
		p.alarm.set(p.gate.nextDue(), now)
		if w.breaksCalm && p.observeSaturation != nil {
			p.observeSaturation()
		}
		if !p.await(ctx, w, n) {
			return Permit{}, p.gone(ctx)
		}
		now, r = p.now(), w.reason
	}
	s := w.slot
	p.waiters.put(w)
	if s == nil {
		return Permit{}, p.reject(r)
	}
	if ctx.Err() != nil { // it left in the very moment of the hand-over
		p.gate.putBack(s, now).wake()
		return Permit{}, p.gone(ctx)
	}
	return p.begin(s, now)
}

// await returns true when w has its verdict, and false when the caller left
// before that; w is recycled then.
func (p *Pool) await(ctx context.Context, w *waiter, n *newcomer) bool {
	select {
	case <-w.wake:
		return true
	case <-ctx.Done():
	}
	if p.gate.leave(w, n) {
		p.waiters.put(w)
		return false
	}
	<-w.wake
	return true
}

// begin makes a permit of a slot, unless the breaker has changed its mind.
func (p *Pool) begin(s *slot, now moment) (Permit, error) {
	s.started, s.hearing.breaker = now, nil
	if b := p.breaker.Load(); b != nil && !b.allow(&s.hearing) {
		p.gate.putBack(s, now).wake()
		return Permit{}, p.reject(BreakerOpen)
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

// Reject counts a rejection that the caller has decided on, with a reason from
// [NewReason] or one of the package, and returns the error for it.
func (p *Pool) Reject(r Reason) *RejectedError {
	p.rejected[r].Add(1)
	return &p.rejections[r]
}

func (p *Pool) reject(r Reason) error { return p.Reject(r) }

// gone reports a caller whose context ended.
func (p *Pool) gone(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return p.reject(WaitTimeout)
	}
	p.left.Add(1)
	return context.Cause(ctx)
}

// expire refuses waiters whose time is up.
func (p *Pool) expire() {
	now := p.now()
	due, out := p.gate.expire(now)
	out.wake()
	p.alarm.set(due, now)
}
