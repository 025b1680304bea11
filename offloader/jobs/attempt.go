package jobs

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs/internal/live"
)

// Causes of the end of an attempt's context. ErrStopping is one too.
var (
	// ErrCancelled: the job was cancelled.
	ErrCancelled = errors.New("the job was cancelled")
	// ErrAttemptTimeout: the attempt took longer than Policy.AttemptTimeout.
	ErrAttemptTimeout = errors.New("the attempt took too long")
	// ErrTotalTime: the job took longer than Policy.TotalTime.
	ErrTotalTime = errors.New("the job took too long")
	// ErrTooLarge: the result is larger than Policy.MaxResult.
	ErrTooLarge = errors.New("the result is too large")
)

// Attempt is an attempt that runs. Its result is written by one goroutine: Begin, then Write,
// then End.
type Attempt struct {
	dispatcher *dispatcher
	entry      *entry
	base       context.Context
	stop       context.CancelCauseFunc
	charged    float64
	promoted   bool
	live       *live.Result[*Response]
	progress   Progress // guarded by the lock of the book

	// From start on:
	ctx    context.Context
	cancel context.CancelFunc
	record *Record
	since  time.Time // its begin by the monotonic clock

	mu       sync.Mutex
	head     *Response
	trailer  []Field
	complete bool
	failed   error // of a write
	settled  bool
}

func newLive(a *Attempt) *live.Result[*Response] {
	return live.New[*Response](InlineBytes, func() (live.File, error) {
		r := a.record
		return a.dispatcher.engine.NewResult(context.WithoutCancel(a.ctx), r.ID, r.Generation, r.Attempt)
	})
}

// start begins the time of the attempt.
func (a *Attempt) start(r *Record) {
	a.dispatcher.book.mu.Lock()
	defer a.dispatcher.book.mu.Unlock()
	a.record = r
	a.since = time.Now().Add(-wallTime().Sub(a.began()))
	a.ctx, a.cancel = a.base, func() {}
	if t := r.Policy.AttemptTimeout; t > 0 {
		a.ctx, a.cancel = context.WithDeadlineCause(a.base, a.since.Add(t), ErrAttemptTimeout)
	}
}

func (a *Attempt) began() time.Time { return a.record.Attempts[len(a.record.Attempts)-1].Began }

// Context ends when the attempt must end: the job was cancelled, a time of its policy is over,
// or the service closes. context.Cause says which.
func (a *Attempt) Context() context.Context { return a.ctx }

// Record returns the job with this attempt. It must not be changed.
func (a *Attempt) Record() *Record { return a.record }

// Body opens the body of the request.
func (a *Attempt) Body(ctx context.Context) (io.ReadCloser, error) {
	return a.dispatcher.engine.Body(ctx, a.record)
}

// Begin begins the response. From now on it can be read.
func (a *Attempt) Begin(status int, header []Field) error {
	head := &Response{Status: status, Header: header}
	a.mu.Lock()
	if a.settled {
		a.mu.Unlock()
		return ErrTerminal
	}
	a.head = head
	a.mu.Unlock()
	a.live.Begin(head)
	a.dispatcher.book.mu.Lock()
	defer a.dispatcher.book.mu.Unlock()
	a.entry.touch()
	return nil
}

// Write adds bytes to the result. It returns ErrTooLarge if there are too many, and ErrFull
// if the store has no room; the attempt should then end, and is of the class TooLarge.
func (a *Attempt) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.failed != nil:
		return 0, a.failed
	case a.settled:
		return 0, ErrTerminal
	}
	size, _ := a.live.Size()
	if most := a.record.Policy.MaxResult; most > 0 && size+int64(len(p)) > most {
		a.failed = ErrTooLarge
		a.stop(ErrTooLarge)
		return 0, ErrTooLarge
	}
	n, err := a.live.Write(p)
	if err != nil {
		a.failed = err
		a.stop(err)
	}
	return n, err
}

// End says that the response is complete. Verdicts of the classes Completed and Declined say
// so too.
func (a *Attempt) End(trailer []Field) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trailer, a.complete = trailer, true
}

// Progress sets how far the attempt is.
func (a *Attempt) Progress(p Progress) {
	if p.At.IsZero() {
		p.At = wallTime()
	}
	a.dispatcher.book.mu.Lock()
	defer a.dispatcher.book.mu.Unlock()
	a.progress = p
	a.entry.touch()
}

// Finish ends an attempt that was promoted, and returns the job as it is then. Attempts of
// executors end with their verdict. If the engine fails, Finish goes on trying.
func (a *Attempt) Finish(v Verdict) *Record {
	if !a.promoted {
		return a.record
	}
	return a.settle(v)
}

// settle stores the end of an attempt, once.
func (a *Attempt) settle(v Verdict) *Record {
	o, inline, ok := a.outcome(v)
	if !ok {
		return a.record
	}
	d := a.dispatcher
	if a.promoted {
		defer d.done()
	}
	stored := a.record
	err := d.retryStore(a.entry, a.record, func() error {
		r, err := d.change(context.Background(), a.entry, inline, func(r *Record, now time.Time) error {
			if r.State != Running || r.Generation != a.record.Generation || r.Attempt != a.record.Attempt {
				return ErrNotNow
			}
			r.settle(now, o)
			return nil
		})
		if err == nil || r != nil && r.settled(a.record, o.Class) {
			stored, err = r, nil
		}
		return err
	})
	a.live.End(err == nil && stored.Response != nil)
	a.leave(stored, err)
	return stored
}

// settle is the transition at the end of an attempt in this process.
func (r *Record) settle(now time.Time, o outcome) {
	if o.Class == Interrupted {
		last := &r.Attempts[len(r.Attempts)-1]
		last.Status, last.Bytes = o.status, o.bytes
		r.interrupt(now, Closed)
		return
	}
	r.end(now, o)
}

// settled reports whether the record has the end of an attempt already: its write has
// succeeded, and reported an error.
func (r *Record) settled(attempt *Record, class Class) bool {
	for _, t := range r.Attempts {
		if t.Generation == attempt.Generation && t.Number == attempt.Attempt {
			return t.Class == class
		}
	}
	return false
}

// leave takes the attempt out of the books.
func (a *Attempt) leave(r *Record, err error) {
	d := a.dispatcher
	a.cancel()
	a.stop(nil)
	d.end(a)
	took := time.Since(a.since).Seconds()
	d.book.mu.Lock()
	rt := a.entry.route
	rt.queue.Charge(a.entry.tenant.name, took-a.charged)
	rt.learn(took)
	if a.entry.offer != nil && a.entry.offer.attempt == a {
		a.entry.offer = nil
	}
	d.book.mu.Unlock()
	if err == nil {
		d.observer().Ended(r, r.Attempts[len(r.Attempts)-1])
	}
}

// outcome decides how the attempt has ended, and makes its result durable. It is not ok if
// that was decided before.
func (a *Attempt) outcome(v Verdict) (o outcome, inline []byte, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.settled {
		return o, nil, false
	}
	a.settled = true
	o = outcome{Verdict: a.classify(v)}
	o.bytes, _ = a.live.Size()
	if a.head != nil {
		o.status = a.head.Status
	}
	final := o.Class == Completed || o.Class == Declined
	if !final && !a.complete || a.head == nil || a.failed != nil {
		return o, nil, true
	}
	inline, sum, err := a.live.Seal()
	if err != nil {
		o.Verdict = unstored(err)
		return o, nil, true
	}
	response := *a.head
	response.Size, response.Complete, response.SHA256, response.Trailer = o.bytes, true, sum, a.trailer
	o.response = &response
	return o, inline, true
}

// classify corrects the verdict of an executor by what the service knows.
func (a *Attempt) classify(v Verdict) Verdict {
	cause := context.Cause(a.ctx)
	switch {
	case a.failed != nil:
		return unstored(a.failed)
	case v.Class == Completed && a.head == nil:
		return Verdict{Class: Broken, Reason: "no_response"}
	case v.Class == Completed || v.Class == Declined || v.Class == NotSent || v.Class == Busy || v.Class == TooLarge:
		return v
	case errors.Is(cause, ErrStopping):
		return Verdict{Class: Interrupted, Reason: ProcessStopped}
	case errors.Is(cause, ErrCancelled):
		return Verdict{Class: Aborted, Reason: v.Reason}
	case errors.Is(cause, ErrAttemptTimeout):
		return Verdict{Class: Broken, Reason: AttemptTimeOver}
	case errors.Is(cause, ErrTotalTime):
		return Verdict{Class: Broken, Reason: TotalTimeOver}
	case v.Class == "" || v.Class == Interrupted:
		return Verdict{Class: Broken, Reason: v.Reason}
	}
	return v
}

// unstored is the verdict of an attempt whose result could not be stored.
func unstored(err error) Verdict {
	switch {
	case errors.Is(err, ErrTooLarge):
		return Verdict{Class: TooLarge, Reason: ResultTooLarge}
	case errors.Is(err, ErrFull):
		return Verdict{Class: TooLarge, Reason: NoSpace}
	}
	return Verdict{Class: Broken, Reason: NotStored}
}

// done ends what promote has begun.
func (d *dispatcher) done() { d.live.Done() }
