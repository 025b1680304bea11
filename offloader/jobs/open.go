package jobs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/alarm"
)

// Service accepts jobs, runs them and keeps their results.
type Service struct {
	ledger    *ledger
	admission *admission
	attempts  *dispatcher
	hooks     *outbox

	recovery Recovery
	stopRuns context.CancelFunc // of the clock and of sweeps
	runs     sync.WaitGroup
	closing  sync.Once
	closed   error
}

const (
	// workers bound the goroutines for what happens at its time, and for recovery.
	workers = 16
	// closeGrace is how long executors may take to return after their context has ended.
	closeGrace = 5 * time.Second
)

// Open opens the jobs of an engine: those that have run are interrupted, those that wait are
// queued. If the engine is too full to store that a job was interrupted, the job waits until it
// has room. Close closes the engine; so does Open if it fails.
func Open(ctx context.Context, engine Engine, o Options) (*Service, error) {
	l := &ledger{engine: engine, book: newBook(), clock: alarm.NewClock(wallTime), workers: make(chan struct{}, workers)}
	l.options.Store(o.guarded())
	d := newDispatcher(l)
	s := &Service{ledger: l, attempts: d, admission: &admission{l, d}, hooks: newOutbox(l)}
	l.ring, l.moved = s.ring, d.pump
	if err := s.recover(ctx); err != nil {
		return nil, errors.Join(err, engine.Close())
	}
	running, stop := context.WithCancel(context.Background())
	s.stopRuns = stop
	l.sweeps.alarm = alarm.New(func() {
		l.sweeps.begin(l.clock)
		s.runs.Go(func() { l.sweep(running) })
	})
	l.sweeps.begin(l.clock)
	s.runs.Go(func() { l.clock.Run(running) })
	return s, nil
}

// Configure replaces the options.
func (s *Service) Configure(o Options) {
	s.ledger.options.Store(o.guarded())
	s.attempts.pump()
}

// recover fills the book from the engine.
func (s *Service) recover(ctx context.Context) error {
	began := wallTime()
	end := s.ledger.engine.LastEnd()
	found := Recovery{Crashed: end != Closed}
	var ran []*Record
	for r, err := range s.ledger.engine.Open(ctx) {
		switch {
		case err != nil:
			return err
		case r.State.Terminal():
			found.Hooks++
		case r.State == Running:
			ran = append(ran, r)
			found.Jobs++
			continue // the engine is not called while it lists
		default:
			found.Jobs++
		}
		s.restore(r)
	}
	found.Interrupted = len(ran)
	if err := s.interrupt(ctx, ran, end); err != nil {
		return err
	}
	found.Took = wallTime().Sub(began)
	s.recovery = found
	s.ledger.observer().Recovered(found)
	return nil
}

// restore takes a record into the book.
func (s *Service) restore(r *Record) {
	e := s.ledger.book.hold(r.ID)
	defer s.ledger.book.release(e)
	s.ledger.publish(e, r)
}

// interrupt stores the ends of attempts that ran when the process ended.
func (s *Service) interrupt(ctx context.Context, ran []*Record, end End) error {
	failed := make(chan error, len(ran))
	for _, r := range ran {
		s.ledger.spawn(func() {
			e := s.ledger.book.hold(r.ID)
			defer s.ledger.book.release(e)
			s.ledger.book.mu.Lock()
			e.left = end
			s.ledger.book.mu.Unlock()
			err := s.ledger.interrupt(ctx, e)
			if errors.Is(err, ErrFull) { // it is tried again, as for each failed write
				s.ledger.storeFailed(e, r, err)
				err = nil
			}
			failed <- err
		})
	}
	var all error
	for range ran {
		all = errors.Join(all, <-failed)
	}
	return all
}

// ring does the work that is due for a job: its webhook, its end, its next attempt.
func (s *Service) ring(e *entry) {
	s.ledger.book.mu.Lock()
	hook, doubt := e.hook, e.doubt
	s.ledger.book.mu.Unlock()
	switch {
	case doubt:
		s.ledger.spawn(func() { s.ledger.refresh(e) })
	case hook:
		s.hooks.send(e)
	default:
		s.ledger.spawn(func() { s.pass(e) })
	}
}

// pass moves a job whose time has come.
func (s *Service) pass(e *entry) {
	_, err := s.ledger.change(context.Background(), e, nil, func(r *Record, now time.Time) error {
		reason, late := r.late(now)
		switch {
		case late && r.waits():
			r.finish(now, Expired, reason)
			return nil
		case late && r.State == Running:
			s.attempts.stop(e, ErrTotalTime)
		}
		return ErrNotNow
	})
	switch {
	case errors.Is(err, ErrNotNow):
		s.ledger.refresh(e)
	case err != nil && !errors.Is(err, ErrUnknown):
		s.ledger.doubt(e)
	}
}

// Close ends the service: it offers no job, waits for those that run until ctx ends, then ends
// their attempts, and closes the engine. Jobs whose attempts it has ended are queued again, if
// they may be run again.
func (s *Service) Close(ctx context.Context) error {
	s.closing.Do(func() { s.closed = s.close(ctx) })
	return s.closed
}

func (s *Service) close(ctx context.Context) error {
	d := s.attempts
	if d.stopOffers() {
		// An error changes nothing: then an end before that of the attempts is a crash.
		_ = s.ledger.engine.Stopping(context.WithoutCancel(ctx))
	}
	ended := make(chan struct{})
	go func() {
		d.live.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		d.abort(ErrStopping)
		timer := time.NewTimer(closeGrace)
		select {
		case <-ended:
		case <-timer.C:
		}
		timer.Stop()
	}
	d.giveUp()
	d.abandon()
	s.hooks.close()
	s.stopRuns()
	s.runs.Wait()
	s.ledger.work.Wait()
	err := s.ledger.engine.Close()
	s.ledger.book.wakeAll()
	return err
}
