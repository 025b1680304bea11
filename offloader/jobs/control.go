package jobs

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/live"
)

// Get returns a job, or ErrUnknown.
func (s *Service) Get(ctx context.Context, id ID) (View, error) {
	r, err := s.ledger.engine.Get(ctx, id)
	if err != nil {
		return View{}, err
	}
	return s.ledger.view(r), nil
}

// List returns a page of jobs, the newest first.
func (s *Service) List(ctx context.Context, q Query) (ViewPage, error) {
	page, err := s.ledger.engine.List(ctx, q)
	if err != nil {
		return ViewPage{}, err
	}
	views := make([]View, len(page.Records))
	for i, r := range page.Records {
		views[i] = s.ledger.view(r)
	}
	return ViewPage{Views: views, More: page.More}, nil
}

// Wait returns the job when its version is another one, or when it has ended, or, as it is
// then, when ctx ends.
func (s *Service) Wait(ctx context.Context, id ID, version string) (View, error) {
	wake, stop := s.Watch(id)
	defer stop()
	for {
		v, err := s.Get(context.WithoutCancel(ctx), id)
		if err != nil || v.Version != version || v.State.Terminal() || ctx.Err() != nil {
			return v, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}

// Watch returns a channel that gets a value after changes of the job, until stop is called.
// Changes that follow each other soon may give one value.
func (s *Service) Watch(id ID) (wake <-chan struct{}, stop func()) {
	return s.ledger.book.watch(id)
}

// Cancel cancels a job. A job that runs is cancelled soon: the view says what it is now. It
// returns ErrTerminal with the view if the job has ended.
func (s *Service) Cancel(ctx context.Context, id ID, by string) (View, error) {
	e := s.ledger.book.hold(id)
	defer s.ledger.book.release(e)
	r, err := s.ledger.change(ctx, e, nil, func(r *Record, now time.Time) error {
		switch {
		case r.State.Terminal():
			return ErrTerminal
		case r.Cancel != nil:
			return errAlready
		}
		r.cancel(now, by)
		return nil
	})
	if errors.Is(err, errAlready) {
		err = nil
	}
	if err == nil {
		s.attempts.stop(e, ErrCancelled)
	}
	if r == nil {
		return View{}, err
	}
	return s.ledger.view(r), err
}

// errAlready: there is nothing to store.
var errAlready = errors.New("it is so already")

// Retry begins another generation of a job that has ended. It needs a place in the queue as a
// submission does. If the webhook of the generation before has not been tried, Retry waits
// for that.
func (s *Service) Retry(ctx context.Context, id ID) (View, error) {
	e := s.ledger.book.hold(id)
	defer s.ledger.book.release(e)
	r, err := s.ledger.engine.Get(ctx, id)
	if err != nil {
		return View{}, err
	}
	if err := s.admission.retryable(ctx, r); err != nil {
		return s.ledger.view(r), err
	}
	err = s.afterMessage(ctx, id, func() error {
		r, err = s.ledger.change(ctx, e, nil, func(r *Record, now time.Time) error {
			switch {
			case !r.State.Terminal():
				return ErrNotTerminal
			case s.ledger.owesMessage(r):
				return errHookPending
			}
			r.retry(now)
			return nil
		})
		return err
	})
	if r == nil {
		return View{}, err
	}
	return s.ledger.view(r), err
}

// afterMessage calls f again after each change of the job, while it returns errHookPending.
func (s *Service) afterMessage(ctx context.Context, id ID, f func() error) error {
	wake, stop := s.Watch(id)
	defer stop()
	for {
		err := f()
		if !errors.Is(err, errHookPending) {
			return err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// retryable reports why a job cannot be run again.
func (a *admission) retryable(ctx context.Context, r *Record) error {
	sub := &Submission{Route: r.Route, Tenant: r.Tenant}
	if err := a.check(ctx, sub, false, nil); err != nil {
		return err
	}
	body, err := a.engine.Body(ctx, r)
	if err != nil {
		return err
	}
	return body.Close()
}

// Forget removes a job that has ended, with all its bytes and its key. If its webhook has not
// been tried, Forget waits for that; further tries are given up.
func (s *Service) Forget(ctx context.Context, id ID) error {
	e := s.ledger.book.hold(id)
	defer s.ledger.book.release(e)
	return s.afterMessage(ctx, id, func() error {
		return s.ledger.remove(ctx, e, func(r *Record) error {
			switch {
			case !r.State.Terminal():
				return ErrNotTerminal
			case s.ledger.owesMessage(r):
				return errHookPending
			}
			return nil
		})
	})
}

// Stats returns numbers.
func (s *Service) Stats() Stats {
	now := wallTime()
	b := s.ledger.book
	b.mu.Lock()
	defer b.mu.Unlock()
	all := Stats{Routes: map[string]RouteStats{}, Recovery: s.recovery, HookBacklog: b.hooks}
	streaming, tails := map[*route]int{}, map[*route]int{}
	for a := range s.attempts.attempts {
		tails[a.entry.route] += a.live.Readers()
		if _, begun := a.live.Head(); begun {
			streaming[a.entry.route]++
		}
	}
	for name, rt := range b.routes {
		st := RouteStats{
			Bound:       len(rt.bindings) > 0,
			Queued:      rt.counts[queued] + rt.counts[offered] + rt.counts[starting],
			RetryWait:   rt.counts[idle],
			Running:     rt.counts[running],
			Streaming:   streaming[rt],
			Tails:       tails[rt],
			QueuedBytes: rt.bytes,
			MeanRun:     time.Duration(rt.mean * float64(time.Second)),
		}
		if oldest := rt.queue.Oldest(); !oldest.IsZero() {
			st.Oldest = max(now.Sub(oldest), 0)
		}
		all.Routes[name] = st
	}
	return all
}

// Usage returns how much the engine stores.
func (s *Service) Usage(ctx context.Context) (Usage, error) { return s.ledger.engine.Usage(ctx) }

// Result opens the result of the last attempt. It returns ErrNoResult if there is none, and
// will be none without another attempt.
func (s *Service) Result(ctx context.Context, id ID) (Reader, error) {
	if reader := s.ledger.book.follow(id); reader != nil {
		return reader, nil
	}
	r, err := s.ledger.engine.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if r.Response == nil || !r.Response.Complete {
		if reader := s.ledger.book.follow(id); reader != nil { // it has begun meanwhile
			return reader, nil
		}
		return nil, ErrNoResult
	}
	stored, err := s.ledger.engine.Result(ctx, r)
	if err != nil {
		return nil, err
	}
	return &storedReader{record: r, result: stored}, nil
}

// follow returns a reader of the attempt that runs.
func (b *book) follow(id ID) Reader {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[id]
	if e == nil || e.attempt == nil || e.part != running {
		return nil
	}
	reader := e.attempt.live.Open()
	if reader == nil {
		return nil
	}
	return &liveReader{reader, e.generation, e.number}
}

// liveReader reads the result of an attempt that runs.
type liveReader struct {
	*live.Reader[*Response]
	generation, number int
}

func (r *liveReader) Head(ctx context.Context) (*Response, error) {
	head, err := r.Reader.Head(ctx)
	if errors.Is(err, live.ErrNoHead) {
		return nil, ErrNoResult
	}
	return head, err
}

func (r *liveReader) Attempt() (generation, number int) {
	return r.generation, r.number
}

// storedReader reads the result of a job with a complete response.
type storedReader struct {
	record *Record
	result ResultReader
}

func (r *storedReader) Head(context.Context) (*Response, error) { return r.record.Response, nil }

func (r *storedReader) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	if off >= r.record.Response.Size {
		return 0, io.EOF
	}
	n, err := r.result.ReadAt(p[:min(int64(len(p)), r.record.Response.Size-off)], off)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (r *storedReader) Size() (int64, bool) { return r.record.Response.Size, true }

func (r *storedReader) Attempt() (generation, number int) {
	return r.record.Generation, r.record.Attempt
}

func (r *storedReader) Close() error { return r.result.Close() }
