package jobs

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/alarm"
)

// ledger changes stored records, and keeps the book equal to them.
type ledger struct {
	engine  Engine
	book    *book
	clock   *alarm.Clock
	options atomic.Pointer[Options]
	// ring is called when something happens to a job at its time, moved after jobs have
	// come, gone or ended.
	ring  func(*entry)
	moved func()

	work    sync.WaitGroup
	workers chan struct{}
	sweeps  sweeps
}

// wallTime returns the time without the reading of the monotonic clock: records are compared
// after the process has ended too. Tests replace it to let the clock jump.
var wallTime = func() time.Time { return time.Now().Round(0).UTC() }

// hostOf returns the host of a webhook, for the bound of its deliveries.
func hostOf(h *Hook) string {
	if h == nil {
		return ""
	}
	u, err := url.Parse(h.URL)
	if err != nil {
		return h.URL
	}
	return u.Host
}

// spawn runs a function on one of a bounded number of goroutines.
func (l *ledger) spawn(f func()) {
	l.workers <- struct{}{}
	l.work.Go(func() {
		defer func() { <-l.workers }()
		f()
	})
}

// lock takes the turn of an entry.
func (l *ledger) lock(ctx context.Context, e *entry) error {
	select {
	case e.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case e.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *ledger) unlock(e *entry) { <-e.turn }

// load returns the stored record. The caller has the turn.
func (l *ledger) load(ctx context.Context, e *entry) (*Record, error) {
	if e.rec != nil {
		return e.rec, nil
	}
	r, err := l.engine.Get(ctx, e.id)
	switch {
	case errors.Is(err, ErrUnknown):
		l.publish(e, nil)
		return nil, err
	case err != nil:
		return nil, err
	case l.differs(e, r):
		l.publish(e, r)
	}
	e.rec = r
	return r, nil
}

// differs reports whether the book does not have this version.
func (l *ledger) differs(e *entry, r *Record) bool {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	return e.rev != r.Rev
}

// publish makes the book equal to a stored record. The caller has the turn.
func (l *ledger) publish(e *entry, r *Record) {
	e.rec = nil
	if r != nil && r.State == Running {
		e.rec = r
	}
	now := wallTime()
	var at time.Time
	if r != nil {
		at = r.next(now)
		l.sweeps.plan(l.clock, r)
	}
	l.book.mu.Lock()
	open := e.part != gone
	l.book.update(e, r, now)
	if e.alarm == nil && !at.IsZero() {
		e.alarm = alarm.New(func() { l.ring(e) })
	}
	if e.alarm != nil {
		l.clock.Set(e.alarm, e.soonest(at, now))
	}
	l.book.mu.Unlock()
	l.moved()
	if open && r != nil && r.State.Terminal() {
		l.observer().Finished(r.clone())
	}
}

// change stores what f makes of the record of a job. If f returns an error, nothing is
// stored, and change returns the record as it is. A write does not end with the context of
// its caller, so that its result is known.
func (l *ledger) change(ctx context.Context, e *entry, inline []byte, f func(r *Record, now time.Time) error) (*Record, error) {
	if err := l.lock(ctx, e); err != nil {
		return nil, err
	}
	defer l.unlock(e)
	for {
		r, err := l.load(ctx, e)
		if err != nil {
			return nil, err
		}
		next := r.clone()
		if err := f(next, wallTime()); err != nil {
			return r, err
		}
		err = l.engine.Update(context.WithoutCancel(ctx), next, inline)
		if err == nil {
			l.publish(e, next)
			return next.clone(), nil
		}
		e.rec = nil
		if !errors.Is(err, ErrStale) {
			l.doubt(e)
			return nil, err
		}
	}
}

// interrupt stores the end of an attempt without a goroutine, which a process before or a failure
// of the engine has left. It returns ErrNotNow if there is none.
func (l *ledger) interrupt(ctx context.Context, e *entry) error {
	r, err := l.change(ctx, e, nil, func(r *Record, now time.Time) error {
		l.book.mu.Lock()
		defer l.book.mu.Unlock()
		if r.State != Running || e.attempt != nil {
			return ErrNotNow
		}
		r.interrupt(now, e.left)
		return nil
	})
	if err != nil {
		return err
	}
	l.observer().Ended(r, r.Attempts[len(r.Attempts)-1])
	return nil
}

// storeFailed shows and reports that the end of an attempt is not stored yet.
func (l *ledger) storeFailed(e *entry, r *Record, err error) {
	l.book.mu.Lock()
	e.storing = true
	e.touch()
	l.book.mu.Unlock()
	l.observer().StoreFailed(r, err)
}

// refresh makes the book equal to the stored record, and interrupts an attempt without a
// goroutine.
func (l *ledger) refresh(e *entry) {
	ctx := context.Background()
	err := l.interrupt(ctx, e)
	if err == nil || errors.Is(err, ErrUnknown) {
		return
	}
	if !errors.Is(err, ErrNotNow) || l.lock(ctx, e) != nil {
		l.doubt(e)
		return
	}
	defer l.unlock(e)
	if r, err := l.load(ctx, e); err == nil {
		l.publish(e, r)
	}
}

// doubt looks at the stored record later, because a failed write may have had its effect.
func (l *ledger) doubt(e *entry) {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	e.doubt = true
	if e.alarm == nil {
		e.alarm = alarm.New(func() { l.ring(e) })
	}
	l.clock.Set(e.alarm, wallTime().Add(storePause))
}

// storePause is how long the service waits after a failure of the engine.
const storePause = 10 * time.Second

func (l *ledger) observer() *Observer { return &l.options.Load().Observer }

// remove removes a job that has ended.
func (l *ledger) remove(ctx context.Context, e *entry, may func(*Record) error) error {
	if err := l.lock(ctx, e); err != nil {
		return err
	}
	defer l.unlock(e)
	for {
		r, err := l.load(ctx, e)
		if err != nil {
			return err
		}
		if err := may(r); err != nil {
			return err
		}
		err = l.engine.Remove(context.WithoutCancel(ctx), r.ID, r.Rev)
		switch {
		case err == nil:
			l.publish(e, nil)
			return nil
		case !errors.Is(err, ErrStale):
			l.doubt(e)
			return err
		}
	}
}

const (
	// sweepEvery is how often jobs are removed at least, sweepPause at most.
	sweepEvery = time.Minute
	sweepPause = time.Second
	sweepBatch = 256
)

// sweeps are the times at which jobs are removed whose time is over. The engine has the order;
// one alarm stands for all of them.
type sweeps struct {
	mu    sync.Mutex
	alarm *alarm.Alarm
	next  time.Time
	last  time.Time
}

// plan plans a sweep for a job that has ended.
func (s *sweeps) plan(c *alarm.Clock, r *Record) {
	if !r.State.Terminal() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := r.KeepUntil
	if first := s.last.Add(sweepPause); at.Before(first) {
		at = first
	}
	if s.alarm != nil && at.Before(s.next) {
		s.next = at
		c.Set(s.alarm, at)
	}
}

// begin begins a sweep, and plans the next one.
func (s *sweeps) begin(c *alarm.Clock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = wallTime()
	s.next = s.last.Add(sweepEvery)
	c.Set(s.alarm, s.next)
}

// sweep removes the jobs whose time is over.
func (l *ledger) sweep(ctx context.Context) {
	l.book.tidy()
	for ctx.Err() == nil {
		due, err := l.engine.Due(ctx, wallTime(), sweepBatch)
		if err != nil {
			return
		}
		removed := 0
		for _, r := range due {
			if l.sweepOne(ctx, r.ID) == nil {
				removed++
			}
		}
		if removed == 0 || len(due) < sweepBatch {
			return
		}
	}
}

// sweepOne removes a job, or keeps it while its webhook waits for a try.
func (l *ledger) sweepOne(ctx context.Context, id ID) error {
	e := l.book.hold(id)
	defer l.book.release(e)
	err := l.remove(ctx, e, func(r *Record) error {
		now := wallTime()
		switch {
		case !r.State.Terminal() || r.KeepUntil.After(now):
			return ErrNotTerminal
		case r.hookPending() && now.Sub(r.Ended) < hookLongest, l.owesMessage(r):
			return errHookPending
		}
		return nil
	})
	if !errors.Is(err, errHookPending) {
		return err
	}
	_, err = l.change(ctx, e, nil, func(r *Record, now time.Time) error {
		if !r.hookPending() {
			return ErrNotNow
		}
		r.keepFor(now)
		return nil
	})
	return err
}

// errHookPending: the webhook of the job was not sent.
var errHookPending = errors.New("the webhook waits")

// owesMessage reports whether the job has to stay as it is for the message of its end: there
// is one try at least for each end. Without a way to send messages none is owed.
func (l *ledger) owesMessage(r *Record) bool {
	return r.hookPending() && r.Hook.Tries == 0 && l.options.Load().Deliver != nil
}
