package jobs

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// Options of a service. All of them can be changed while it runs, by [Service.Configure].
type Options struct {
	Limits Limits
	// Observer gets what happens. Its zero value gets nothing.
	Observer Observer
	// Deliver sends the message of a webhook, and returns when it has got an answer or has
	// failed. Nil: messages wait until there is one.
	Deliver func(ctx context.Context, m Message) Delivery
}

// Limits bound what a service accepts. Zero is no limit, for each of them;
// [DefaultLimits] are the usual ones.
type Limits struct {
	// Queue is how many jobs of a route may wait, QueueBytes how long their bodies may be.
	Queue      int
	QueueBytes int64
	// TenantQueue is how many jobs of a tenant may wait, on all routes.
	TenantQueue int
	// TenantRunning is how many jobs of a tenant run at a time. Others of it wait.
	TenantRunning int
	// TenantBytes is how many bytes of bodies and results are stored for a tenant.
	TenantBytes int64
	// TenantRate is how many submissions a tenant may make in a second, on average. It may
	// make as many at once, at least one.
	TenantRate float64
}

// DefaultLimits returns the limits of a service that is not configured otherwise.
func DefaultLimits() Limits {
	return Limits{
		Queue:         10_000,
		QueueBytes:    1 << 30,
		TenantQueue:   1_000,
		TenantRunning: 32,
		TenantBytes:   1 << 30,
	}
}

// RouteLimits bound the jobs of a route. The zero value is no limit.
type RouteLimits struct {
	// Concurrency is how many jobs of the route run at a time.
	Concurrency int
}

// QuotaError is the rejection of a submission because of its tenant. It matches
// ErrTenantLimit.
type QuotaError struct {
	Tenant string
	// Limit is "queue", "bytes" or "rate".
	Limit string
	// RetryAfter is when a submission may be accepted, zero if that is not known.
	RetryAfter time.Duration
}

// Error returns the sentence for the client's error message.
func (e *QuotaError) Error() string {
	return fmt.Sprintf("%s (%s)", ErrTenantLimit, e.Limit)
}

// Unwrap returns ErrTenantLimit.
func (e *QuotaError) Unwrap() error { return ErrTenantLimit }

// Message is what a webhook sends.
type Message struct {
	// ID is the same for every try: the job's ID and its generation.
	ID string
	// Record of the job in its terminal state. Record.Hook is the webhook.
	Record *Record
	// Result is the complete result, if the webhook wants it and it is at most InlineBytes
	// long.
	Result []byte
	// Try counts from 1.
	Try int
}

// Delivery is how a try to send a message has ended.
type Delivery struct {
	// Delivered: the endpoint has accepted the message.
	Delivered bool
	// Gone: the endpoint wants no message again. The webhook is given up.
	Gone bool
	// RetryAfter is the least time until the next try, zero: as the schedule says.
	RetryAfter time.Duration
	// Error is a word for why it has failed, such as "status_500".
	Error string
}

// Observer has functions that a service calls when something has happened, without a lock.
// Those that are nil are not called. They must return soon, and must not change the record. A
// panic of one of them is reported to Panicked, and changes nothing else.
type Observer struct {
	// Accepted: a submission has become a job; running, if it was promoted.
	Accepted func(r *Record)
	// Repeated: a submission with a known key was answered with an earlier job.
	Repeated func(r *Record)
	// Rejected: a submission was rejected. The reason is one of "queue_full",
	// "tenant_limit", "store_full", "key_reused", "stopping" and "store_error".
	Rejected func(route, reason string)
	// Started: an attempt has begun, after the job has waited for so long.
	Started func(r *Record, waited time.Duration)
	// Ended: an attempt has ended. Record.State is what follows.
	Ended func(r *Record, a AttemptRecord)
	// Finished: the job is in a terminal state.
	Finished func(r *Record)
	// Recovered: the service has opened its engine.
	Recovered func(Recovery)
	// Delivered: a try of the webhook has ended.
	Delivered func(r *Record, d Delivery)
	// StoreFailed: the end of an attempt could not be stored. It is tried again. The record is
	// that of the attempt.
	StoreFailed func(r *Record, err error)
	// Panicked: an executor, Options.Deliver or another function of the observer has panicked
	// with that value, or has ended its goroutine, with the value nil. The record is nil if it
	// belongs to no job.
	Panicked func(r *Record, value any, stack []byte)
}

// guarded returns options for a service: the functions of the observer but Panicked are not nil,
// and do not panic.
func (o Options) guarded() *Options {
	given := o.Observer
	o.Observer = Observer{
		Accepted:    guard(&given, given.Accepted),
		Repeated:    guard(&given, given.Repeated),
		Rejected:    guardTwo(&given, given.Rejected),
		Started:     guardTwo(&given, given.Started),
		Ended:       guardTwo(&given, given.Ended),
		Finished:    guard(&given, given.Finished),
		Recovered:   guard(&given, given.Recovered),
		Delivered:   guardTwo(&given, given.Delivered),
		StoreFailed: guardTwo(&given, given.StoreFailed),
		Panicked:    given.Panicked,
	}
	return &o
}

func guard[A any](o *Observer, f func(A)) func(A) {
	return func(a A) {
		if f == nil {
			return
		}
		defer o.catch(a)
		f(a)
	}
}

func guardTwo[A, B any](o *Observer, f func(A, B)) func(A, B) {
	return func(a A, b B) {
		if f == nil {
			return
		}
		defer o.catch(a)
		f(a, b)
	}
}

// catch ends a panic of a function that was called with arg, which may be a record.
func (o *Observer) catch(arg any) {
	if v := recover(); v != nil {
		r, _ := arg.(*Record)
		o.panicked(r, v)
	}
}

// panicked reports a panic from the deferred function that has recovered it.
func (o *Observer) panicked(r *Record, value any) {
	if o.Panicked == nil {
		return
	}
	defer func() { _ = recover() }() // there is nothing left to report to
	o.Panicked(r, value, debug.Stack())
}

// deliver calls Deliver. A panic is a failure.
func (o *Options) deliver(ctx context.Context, m Message) (d Delivery) {
	defer func() {
		if v := recover(); v != nil {
			o.Observer.panicked(m.Record, v)
			d = Delivery{Error: Panicked}
		}
	}()
	return o.Deliver(ctx, m)
}

// Recovery is what a service has found when it opened its engine.
type Recovery struct {
	Took time.Duration
	// Crashed: the engine was not closed when it was used last.
	Crashed bool
	// Jobs that had not ended, Interrupted those of them that had run, Hooks the webhooks
	// that are pending.
	Jobs, Interrupted, Hooks int
}

// Stats are numbers of a service.
type Stats struct {
	Routes   map[string]RouteStats
	Recovery Recovery
	// HookBacklog is how many webhooks are pending.
	HookBacklog int
}

// RouteStats are numbers of a route.
type RouteStats struct {
	Bound     bool
	Queued    int
	RetryWait int
	Running   int // those that stream too
	Streaming int
	// Tails are the readers that follow results of attempts that run.
	Tails int
	// QueuedBytes of bodies wait.
	QueuedBytes int64
	// Oldest is how long the oldest queued job has waited.
	Oldest time.Duration
	// MeanRun is how long an attempt takes on average, zero if that is not known.
	MeanRun time.Duration
}
