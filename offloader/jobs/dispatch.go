package jobs

import (
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// dispatcher offers the jobs of each route to its executor, one at a time: the next one when
// the executor has a permit for the one before, so that it is the executor's pool that
// decides how many run.
type dispatcher struct {
	*ledger
	// ctx ends when attempts must end, hard when nothing is stored any longer.
	ctx    context.Context
	abort  context.CancelCauseFunc
	hard   context.Context
	giveUp context.CancelFunc

	// live counts the offers and attempts. It grows with the lock of the book, while the
	// service does not stop.
	live sync.WaitGroup
	// attempts that run, guarded by the lock of the book.
	attempts map[*Attempt]struct{}
}

// Pauses of a route after its executor has turned a job away.
const (
	minPause = 50 * time.Millisecond
	maxPause = 5 * time.Second
)

// breakerOpen is the reason of a pool whose breaker is open: see offloader.BreakerOpen.
const breakerOpen = "breaker_open"

func newDispatcher(l *ledger) *dispatcher {
	d := &dispatcher{ledger: l, attempts: map[*Attempt]struct{}{}}
	d.ctx, d.abort = context.WithCancelCause(context.Background())
	d.hard, d.giveUp = context.WithCancel(context.Background())
	return d
}

// Bind makes an executor run the jobs of a route, until unbind is called. The executor that
// was bound last runs them; attempts that run keep theirs.
func (s *Service) Bind(name string, x Executor, l RouteLimits) (unbind func()) {
	b := &binding{executor: x, limits: l}
	s.ledger.book.mu.Lock()
	rt := s.ledger.book.routeOf(name)
	rt.bindings = append(rt.bindings, b)
	rt.paused, rt.rejections = time.Time{}, 0
	s.ledger.book.mu.Unlock()
	s.attempts.pump()
	return sync.OnceFunc(func() {
		s.ledger.book.mu.Lock()
		defer s.ledger.book.mu.Unlock()
		rt.bindings = slices.DeleteFunc(rt.bindings, func(o *binding) bool { return o == b })
		for _, e := range s.ledger.book.entries {
			if e.part == offered && e.offer.by == b && e.attempt == nil {
				e.offer.stop(ErrNotNow)
			}
		}
	})
}

// pump offers the next jobs of all routes.
func (d *dispatcher) pump() {
	d.book.mu.Lock()
	defer d.book.mu.Unlock()
	if d.book.stopping {
		return
	}
	for _, rt := range d.book.routes {
		d.next(rt)
	}
}

// next offers the next job of a route if it may. The caller holds the lock of the book.
func (d *dispatcher) next(rt *route) {
	if len(rt.bindings) == 0 || rt.queue.Len() == 0 || rt.counts[offered] > 0 {
		return
	}
	b := rt.bindings[len(rt.bindings)-1]
	if b.limits.Concurrency > 0 && rt.counts[starting]+rt.counts[running] >= b.limits.Concurrency || rt.paused.After(time.Now()) {
		return
	}
	most := d.options.Load().Limits.TenantRunning
	e, ok := rt.queue.Pop(rt.cost(),
		func(tenant string) bool { return most <= 0 || d.book.tenants[tenant].running < most },
		func(e *entry) bool { return !e.suspect || d.book.suspect == nil })
	if !ok {
		return
	}
	if e.suspect {
		d.book.suspect = e
	}
	d.book.place(e, offered)
	o := &Offer{entry: e, by: b, charged: rt.cost(), dispatcher: d}
	o.ctx, o.cancel = context.WithCancelCause(d.ctx)
	e.offer = o
	rt.waitingFor = ""
	d.live.Go(func() { d.offer(o) })
}

// offer hands a job to its executor, and stores its outcome.
func (d *dispatcher) offer(o *Offer) {
	defer o.stop(nil)
	r, err := d.read(o)
	if err != nil {
		d.back(o, Verdict{Class: NotSent, Reason: "store"})
		return
	}
	o.record = r
	verdict, returned := Verdict{}, false
	defer func() {
		if !returned {
			verdict = o.panicked(recover())
		}
		d.conclude(o, verdict)
	}()
	verdict = o.by.executor.Execute(o.ctx, o)
	returned = true
}

// conclude stores the outcome of an offer.
func (d *dispatcher) conclude(o *Offer, v Verdict) {
	if a := o.close(); a != nil {
		a.settle(v)
		return
	}
	d.takeBack(o)
	d.back(o, v)
}

// read returns the record of an offered job.
func (d *dispatcher) read(o *Offer) (*Record, error) {
	if err := d.lock(o.ctx, o.entry); err != nil {
		return nil, err
	}
	defer d.unlock(o.entry)
	r, err := d.load(o.ctx, o.entry)
	if err != nil {
		return nil, err
	}
	return r.clone(), nil
}

// back queues a job again that was not started, and lets its route pause, unless the job alone
// is the reason.
func (d *dispatcher) back(o *Offer, v Verdict) {
	e, rt := o.entry, o.entry.route
	d.book.mu.Lock()
	rt.queue.Charge(e.tenant.name, -o.charged)
	if e.offer == o {
		e.offer = nil
		if e.part == offered || e.part == starting {
			d.book.place(e, queued)
			if o.ctx.Err() == nil {
				d.pause(rt, v)
			}
		}
	}
	d.book.mu.Unlock()
	d.pump()
}

// pause lets a route wait. The caller holds the lock of the book.
func (d *dispatcher) pause(rt *route, v Verdict) {
	wait := v.RetryAfter
	if wait <= 0 {
		wait = min(minPause<<min(rt.rejections, 10), maxPause)
		wait += rand.N(wait/2 + 1)
	}
	rt.rejections++
	rt.paused = time.Now().Add(wait)
	if v.Class == NotSent || v.Reason == breakerOpen {
		rt.waitingFor = "breaker"
	}
	if rt.timer == nil {
		rt.timer = time.AfterFunc(wait, d.pump)
	} else {
		rt.timer.Reset(wait)
	}
}

// Offer is a job that may be run now.
type Offer struct {
	entry      *entry
	by         *binding
	dispatcher *dispatcher
	charged    float64
	ctx        context.Context
	cancel     context.CancelCauseFunc
	record     *Record

	mu      sync.Mutex
	closed  bool
	attempt *Attempt
	// doubtful is an attempt that may have been stored, and does not run.
	doubtful *Attempt
}

// Record returns the job. It must not be changed.
func (o *Offer) Record() *Record { return o.record }

// Body opens the body of the job.
func (o *Offer) Body(ctx context.Context) (io.ReadCloser, error) {
	return o.dispatcher.engine.Body(ctx, o.record)
}

// WaitFor sets what the executor waits for, for the view of the jobs of the route: "permit" or
// "breaker".
func (o *Offer) WaitFor(what string) {
	o.dispatcher.book.mu.Lock()
	defer o.dispatcher.book.mu.Unlock()
	o.entry.route.waitingFor = what
}

// stop ends the context of the offer and of its attempt. The first cause counts.
func (o *Offer) stop(cause error) { o.cancel(cause) }

// panicked is the verdict of an executor that has panicked with a value, or has ended its
// goroutine. If it had not started the job, the panic is an attempt nevertheless: otherwise the
// job would be the next one of its route again and again.
func (o *Offer) panicked(value any) Verdict {
	o.dispatcher.observer().panicked(o.record, value)
	if _, err := o.Start(); err == nil {
		return Verdict{Class: NotSent, Reason: Panicked}
	}
	return Verdict{Class: Broken, Reason: Panicked}
}

// close returns the attempt of an offer, and forbids another one.
func (o *Offer) close() *Attempt {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	return o.attempt
}

// Start records an attempt durably, and returns it. It returns an error if the job must not
// run: it was cancelled, it is too late, or the attempt could not be stored.
func (o *Offer) Start() (*Attempt, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.attempt != nil || o.doubtful != nil {
		return nil, ErrNotNow
	}
	d := o.dispatcher
	a, err := d.begin(o)
	if err != nil {
		return nil, err
	}
	d.early(o.entry.route)
	r, err := d.change(o.ctx, o.entry, nil, func(r *Record, now time.Time) error {
		_, late := r.late(now)
		switch {
		case o.ctx.Err() != nil:
			return context.Cause(o.ctx)
		case r.State.Terminal():
			return ErrTerminal
		case !r.waits() || late || d.book.early(o.entry, now):
			return ErrNotNow
		}
		r.begin(now)
		return nil
	})
	if err != nil {
		o.failed(a)
		return nil, err
	}
	a.start(r)
	o.attempt = a
	d.accepted(o.entry.route)
	d.observer().Started(r, max(a.began().Sub(o.record.since()), 0))
	return a, nil
}

// early offers the next job while an attempt is being stored, so that the store can write many
// attempts at once; but not if attempts have failed.
func (d *dispatcher) early(rt *route) {
	d.book.mu.Lock()
	defer d.book.mu.Unlock()
	if rt.rejections == 0 && !d.book.stopping {
		d.next(rt)
	}
}

// accepted forgets the rejections of a route whose executor has started a job.
func (d *dispatcher) accepted(rt *route) {
	d.book.mu.Lock()
	defer d.book.mu.Unlock()
	rt.rejections, rt.waitingFor = 0, ""
	if !d.book.stopping {
		d.next(rt)
	}
}

// failed takes back an attempt that could not be stored. If it may have been, the offer does so
// later: see takeBack.
func (o *Offer) failed(a *Attempt) {
	b := o.dispatcher.book
	b.mu.Lock()
	doubt := o.entry.doubt
	if !doubt && o.entry.offer == o && o.entry.part == starting {
		b.place(o.entry, offered)
	}
	b.mu.Unlock()
	if doubt {
		o.doubtful = a
	} else {
		o.dispatcher.end(a)
	}
}

// takeBack stores that a doubtful attempt was not made.
func (d *dispatcher) takeBack(o *Offer) {
	if o.doubtful == nil {
		return
	}
	_ = d.retryStore(o.entry, o.record, func() error {
		_, err := d.change(context.Background(), o.entry, nil, func(r *Record, now time.Time) error {
			if r.State != Running || r.Generation != o.record.Generation || r.Attempt != o.record.Attempt+1 {
				return ErrNotNow
			}
			r.takeBack(now)
			return nil
		})
		return err
	})
	d.end(o.doubtful)
}

// begin makes the attempt of an offer, so that a cancellation finds it as soon as it is stored.
func (d *dispatcher) begin(o *Offer) (*Attempt, error) {
	d.book.mu.Lock()
	defer d.book.mu.Unlock()
	switch {
	case d.book.stopping:
		return nil, ErrStopping
	case o.entry.offer != o: // the job has ended meanwhile, and was offered again
		return nil, ErrNotNow
	case o.entry.part == offered:
		d.book.place(o.entry, starting)
	}
	return d.attempt(o.entry, o.ctx, o.cancel, o.charged), nil
}

// attempt makes an attempt of an entry. The caller holds the lock of the book.
func (d *dispatcher) attempt(e *entry, ctx context.Context, cancel context.CancelCauseFunc, charged float64) *Attempt {
	a := &Attempt{dispatcher: d, entry: e, base: ctx, stop: cancel, charged: charged}
	a.live = newLive(a)
	e.attempt = a
	d.attempts[a] = struct{}{}
	return a
}

// promote makes the attempt of a job that runs while it is accepted, nil if the service stops.
func (d *dispatcher) promote(e *entry) *Attempt {
	d.book.mu.Lock()
	defer d.book.mu.Unlock()
	if d.book.stopping {
		return nil
	}
	d.live.Add(1)
	ctx, cancel := context.WithCancelCause(d.ctx)
	a := d.attempt(e, ctx, cancel, 0)
	a.promoted = true
	return a
}

// end forgets an attempt.
func (d *dispatcher) end(a *Attempt) {
	d.book.mu.Lock()
	defer d.book.mu.Unlock()
	delete(d.attempts, a)
	if a.entry.attempt == a {
		a.entry.attempt = nil
	}
}

// stop ends the context of a job's attempt.
func (d *dispatcher) stop(e *entry, cause error) {
	d.book.mu.Lock()
	defer d.book.mu.Unlock()
	if e.attempt != nil {
		e.attempt.stop(cause)
	}
}

// stopOffers ends the offers that have not been started, and forbids others. It reports whether
// attempts run.
func (d *dispatcher) stopOffers() bool {
	d.book.mu.Lock()
	defer d.book.mu.Unlock()
	d.book.stopping = true
	for _, e := range d.book.entries {
		if e.part == offered && e.attempt == nil {
			e.offer.stop(ErrStopping)
		}
	}
	return len(d.attempts) > 0
}

// abandon interrupts the attempts whose executors have not returned.
func (d *dispatcher) abandon() {
	d.book.mu.Lock()
	left := slices.Collect(maps.Keys(d.attempts))
	left = slices.DeleteFunc(left, func(a *Attempt) bool { return a.record == nil })
	d.book.mu.Unlock()
	for _, a := range left {
		a.settle(Verdict{Class: Aborted, Reason: ProcessStopped})
	}
}

// retryStore calls store until it works, the job is gone, or nothing is stored any longer.
func (d *dispatcher) retryStore(e *entry, r *Record, store func() error) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 30*time.Second) {
		err := store()
		if err == nil || errors.Is(err, ErrUnknown) || errors.Is(err, ErrNotNow) {
			return err
		}
		d.storeFailed(e, r, err)
		timer := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-timer.C:
		case <-d.hard.Done():
			timer.Stop()
			return err
		}
	}
}
