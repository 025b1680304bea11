package jobs

import (
	"context"
	"errors"
	"time"
)

// NewBody begins the body of a submission. A body that is longer than InlineBytes becomes
// durable when it is accepted, and is removed when it is rejected; call Discard for one that is
// not handed in. If the store has no room for it, Accept says so: a submission with a known key
// needs none.
func (s *Service) NewBody(ctx context.Context) (BodyWriter, error) {
	w, err := s.ledger.engine.NewBody(ctx)
	switch {
	case errors.Is(err, ErrFull):
		w = noRoom{err}
	case err != nil:
		return nil, err
	}
	return &lateBody{BodyWriter: w}, nil
}

// lateBody is a body that is not durable before its job is accepted.
type lateBody struct {
	BodyWriter
	size int64
}

func (b *lateBody) Write(p []byte) (int, error) {
	n, err := b.BodyWriter.Write(p)
	if errors.Is(err, ErrFull) {
		b.Discard()
		b.BodyWriter = noRoom{err}
		n, err = len(p), nil
	}
	b.size += int64(n)
	return n, err
}

// End returns the body for a submission.
func (b *lateBody) End() (Body, error) {
	if _, full := b.BodyWriter.(noRoom); !full && b.size <= InlineBytes {
		return b.BodyWriter.End()
	}
	return Body{Size: b.size, late: b.BodyWriter}, nil
}

// noRoom is a body that the store has no room for.
type noRoom struct{ why error }

func (noRoom) Write(p []byte) (int, error) { return len(p), nil }
func (n noRoom) End() (Body, error)        { return Body{}, n.why }
func (noRoom) Discard()                    {}

// end makes the body durable.
func (b *Body) end() error {
	if b.late == nil {
		return nil
	}
	body, err := b.late.End()
	if err == nil {
		*b = body
	}
	return err
}

// discard removes the body of a rejected submission.
func (b *Body) discard() {
	if b.late != nil {
		b.late.Discard()
	}
}

// Check returns the error with which a submission of that size would be rejected now, before
// its body is read.
func (s *Service) Check(ctx context.Context, route, tenant string, size int64) error {
	sub := &Submission{Route: route, Tenant: tenant, Body: Body{Size: size}}
	err := s.admission.check(ctx, sub, false, nil)
	if err != nil {
		s.admission.rejected(route, err)
	}
	return err
}

// Accept stores a submission as a queued job. It takes over the body, also if it fails. A
// submission whose key belongs to an earlier job gets that job, also if there is no room for
// another one.
func (s *Service) Accept(ctx context.Context, sub Submission) (Accepted, error) {
	return s.admission.accept(ctx, sub, time.Time{})
}

// Promote stores a submission as a job that runs already, since that time. The caller must
// call Finish of the attempt. If the key belongs to an earlier job, there is no attempt.
func (s *Service) Promote(ctx context.Context, sub Submission, began time.Time) (Accepted, error) {
	return s.admission.accept(ctx, sub, began.Round(0).UTC())
}

// admission accepts submissions.
type admission struct {
	*ledger
	attempts *dispatcher
}

// accept stores a submission; as a running job, if it has begun.
func (a *admission) accept(ctx context.Context, sub Submission, began time.Time) (Accepted, error) {
	acc, err := a.try(ctx, &sub, began)
	if err != nil {
		sub.Body.discard()
		acc, err = a.known(ctx, &sub, err)
	}
	if err != nil {
		a.rejected(sub.Route, err)
	}
	return acc, err
}

// known answers a submission that there is no room for: if its key belongs to an earlier job,
// it needs none.
func (a *admission) known(ctx context.Context, sub *Submission, why error) (Accepted, error) {
	if sub.Key == nil || !errors.Is(why, ErrQueueFull) && !errors.Is(why, ErrTenantLimit) && !errors.Is(why, ErrFull) {
		return Accepted{}, why
	}
	r, err := a.engine.Known(ctx, sub.Key.Hash)
	if err != nil {
		return Accepted{}, why
	}
	return a.earlier(sub, r, nil)
}

func (a *admission) try(ctx context.Context, sub *Submission, began time.Time) (Accepted, error) {
	r := newRecord(sub, wallTime())
	if sub.Hook != nil {
		hook := *sub.Hook
		hook.State, hook.Tries, hook.Next, hook.Error = "", 0, time.Time{}, ""
		r.Hook = &hook
	}
	e := a.book.hold(r.ID)
	defer a.book.release(e)
	if err := a.lock(ctx, e); err != nil {
		return Accepted{}, err
	}
	defer a.unlock(e)
	running := !began.IsZero()
	if err := a.check(ctx, sub, running, func() { a.book.know(e, r); a.book.place(e, idle) }); err != nil {
		return Accepted{}, err
	}
	var attempt *Attempt
	if running {
		r.begin(began)
		if attempt = a.attempts.promote(e); attempt == nil {
			a.cancel(e, nil)
			return Accepted{}, ErrStopping
		}
	}
	err := sub.Body.end()
	if err != nil {
		a.cancel(e, attempt)
		return Accepted{}, err
	}
	earlier, err := a.engine.Accept(context.WithoutCancel(ctx), r, sub.Body)
	sub.Body.late = nil // the engine has it
	if err != nil && !a.stored(ctx, e) || earlier != nil {
		a.cancel(e, attempt)
		return a.earlier(sub, earlier, err)
	}
	if attempt != nil {
		attempt.start(r.clone())
	}
	a.publish(e, r)
	a.observer().Accepted(r.clone())
	return Accepted{View: a.view(r), Attempt: attempt}, nil
}

// stored reports whether a job was stored by a call that has failed. If that is not known, the
// service looks for it later.
func (a *admission) stored(ctx context.Context, e *entry) bool {
	_, err := a.engine.Get(context.WithoutCancel(ctx), e.id)
	if err != nil && !errors.Is(err, ErrUnknown) {
		a.doubt(e)
	}
	return err == nil
}

// cancel takes back the place that a submission has reserved.
func (a *admission) cancel(e *entry, attempt *Attempt) {
	if attempt != nil {
		attempt.stop(ErrStopping)
		a.attempts.end(attempt)
		a.attempts.done()
	}
	a.book.mu.Lock()
	defer a.book.mu.Unlock()
	a.book.place(e, gone)
}

// earlier answers a submission whose key belongs to an earlier job.
func (a *admission) earlier(sub *Submission, r *Record, err error) (Accepted, error) {
	switch {
	case err != nil:
		return Accepted{}, err
	case r.Key != nil && r.Key.Fingerprint != sub.Key.Fingerprint:
		return Accepted{}, ErrKeyReused
	}
	a.observer().Repeated(r)
	return Accepted{View: a.view(r), Earlier: true}, nil
}

// view returns the view of a stored record.
func (l *ledger) view(r *Record) View {
	return l.book.view(r, &l.options.Load().Limits, wallTime())
}

// check returns why a submission is rejected. Otherwise it calls reserve with the lock of the
// book; nil only asks. One that runs needs no place in the queue.
func (a *admission) check(ctx context.Context, sub *Submission, running bool, reserve func()) error {
	l := a.options.Load().Limits
	if l.TenantBytes > 0 {
		u, err := a.engine.TenantUsage(ctx, sub.Tenant)
		if err != nil {
			return err
		}
		if u.Bytes+sub.Body.Size > l.TenantBytes {
			return &QuotaError{Tenant: sub.Tenant, Limit: "bytes"}
		}
	}
	a.book.mu.Lock()
	defer a.book.mu.Unlock()
	if a.book.stopping {
		return ErrStopping
	}
	if err := a.room(sub, &l); err != nil && !running {
		return err
	}
	if l.TenantRate > 0 {
		if err := a.pace(sub.Tenant, l.TenantRate, reserve != nil); err != nil {
			return err
		}
	}
	if reserve != nil {
		reserve()
	}
	return nil
}

// room returns why there is no place in the queue. The caller holds the lock of the book.
func (a *admission) room(sub *Submission, l *Limits) error {
	if rt := a.book.routes[sub.Route]; rt != nil {
		waiting := rt.counts[idle] + rt.counts[queued] + rt.counts[offered]
		if l.Queue > 0 && waiting >= l.Queue || l.QueueBytes > 0 && rt.bytes+sub.Body.Size > l.QueueBytes {
			return ErrQueueFull
		}
	}
	t := a.book.tenants[sub.Tenant]
	if t != nil && l.TenantQueue > 0 && t.waits >= l.TenantQueue {
		return &QuotaError{Tenant: sub.Tenant, Limit: "queue"}
	}
	return nil
}

// pace bounds the submissions of a tenant in a second. The caller holds the lock of the book.
func (a *admission) pace(name string, perSecond float64, take bool) error {
	t, now := a.book.tenantOf(name), time.Now()
	each := time.Duration(float64(time.Second) / perSecond)
	if t.rate.Before(now) {
		t.rate = now
	}
	// So much may be taken at once.
	if ahead := t.rate.Sub(now) + each - max(each, time.Second); ahead > 0 {
		return &QuotaError{Tenant: name, Limit: "rate", RetryAfter: ahead}
	}
	if take {
		t.rate = t.rate.Add(each)
	}
	return nil
}

// rejected reports a rejection.
func (a *admission) rejected(route string, err error) {
	f := a.observer().Rejected
	for _, known := range []struct {
		err    error
		reason string
	}{
		{ErrQueueFull, "queue_full"},
		{ErrTenantLimit, "tenant_limit"},
		{ErrFull, "store_full"},
		{ErrKeyReused, "key_reused"},
		{ErrStopping, "stopping"},
	} {
		if errors.Is(err, known.err) {
			f(route, known.reason)
			return
		}
	}
	f(route, "store_error")
}
