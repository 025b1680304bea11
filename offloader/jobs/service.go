// Package jobs keeps requests that outlive the connection of the client who sent them. A
// [Service] accepts jobs into an [Engine], which stores them durably, runs them by the
// [Executor] of their route, and keeps their results until the end of their time.
//
// The package has the policy: the states of a job and what leads from one to the next, the
// order of service, retries, deadlines, quotas, recovery after a crash. Engines only store.
// It knows neither HTTP nor Caddy: a request is text to it, and its executor knows what to do
// with it.
//
//	accept -> queued -> running -> streaming -> succeeded | failed | dead
//	             ^         |           |
//	             |         +-----------+--> retry_wait (back to queued at its time)
//	             |         +-----------+--> cancelled
//	             +-- interrupted by the end of the process, if it may run again
//	          queued -> expired | cancelled
//
// Times of jobs are those of the wall clock, since they outlive the process. A step of the
// clock moves deadlines and removals by the step, and no job is lost; a step forward is noticed
// within 15 seconds. A step back delays no retry, also over a restart, and in the process no
// webhook: they wait as long as they would have. The timeout of an attempt that runs does not follow steps.
//
// A job during which the process has crashed may be the reason. It is suspect, and one suspect
// job runs at a time, next to those that are not, so that the next crash counts for one of them
// alone. After three crashes in a row it is dead. An attempt that may have reached the upstream
// and has ended otherwise clears it. The end of the machine, and a kill while Close waits for
// attempts, are no crashes.
//
// An engine may have stored a job or a change although it has reported an error. The service
// looks for it, so that no job is stored and never runs.
package jobs

import (
	"context"
	"errors"
	"io"
	"time"
)

// Errors of a service.
var (
	// ErrQueueFull: the queue of the route has reached its bound.
	ErrQueueFull = errors.New("too many jobs wait")
	// ErrTenantLimit matches a QuotaError.
	ErrTenantLimit = errors.New("the tenant has reached its limit")
	// ErrTerminal: the job has ended.
	ErrTerminal = errors.New("the job has ended")
	// ErrNotTerminal: the job has not ended.
	ErrNotTerminal = errors.New("the job has not ended")
	// ErrKeyReused: the idempotency key belongs to another request.
	ErrKeyReused = errors.New("the idempotency key belongs to another request")
	// ErrNotNow: the job may not be run, or not yet.
	ErrNotNow = errors.New("the job may not be run now")
	// ErrStopping: the service ends.
	ErrStopping = errors.New("jobs are not accepted while the process exits")
)

// Submission is what a client hands in.
type Submission struct {
	// ID of the job, which no other job may have. Zero: the service makes one.
	ID         ID
	Route      string
	Tenant     string
	Owner      [32]byte
	Key        *Key
	Request    Request
	Body       Body
	Policy     Policy
	Repeatable bool
	Hook       *Hook
	Trace      string
}

// Accepted is the answer to a submission.
type Accepted struct {
	View View
	// Earlier: the idempotency key belongs to this job, which was accepted before.
	Earlier bool
	// Attempt is the first attempt of a job that was accepted while it runs, else nil.
	Attempt *Attempt
}

// Executor runs the jobs of a route.
type Executor interface {
	// Execute takes a job through its pool. It calls offer.Start when it has a permit, runs
	// the request as that attempt says, and returns how it has ended. If it has not called
	// Start, the job stays queued, and verdict.RetryAfter says when to offer one again.
	// The context ends when the service closes or the job is not wanted any longer. A panic
	// ends the attempt as Broken, or as NotSent if it has not called Start.
	Execute(ctx context.Context, offer *Offer) Verdict
}

// Verdict is how an attempt has ended.
type Verdict struct {
	Class  Class
	Reason string
	// RetryAfter is the least time until the next attempt, zero: as the policy says.
	RetryAfter time.Duration
}

// View is a job as its owner sees it.
type View struct {
	Record
	// Position in the queue of its route from 1, zero if it does not wait.
	Position int
	// Bytes of the result so far.
	Bytes int64
	// Progress as the upstream has reported it.
	Progress Progress
	// WaitingFor is why it waits: "permit", "breaker", "route", "time" or "tenant". A job
	// that runs waits for "store" when its end cannot be stored: it is done, and the
	// service tries to store it again and again.
	WaitingFor string
	// Version changes with every change of the view, except for those of Position,
	// WaitingFor and Bytes alone. It begins with the generation.
	Version string
}

// ViewPage is a part of a list.
type ViewPage struct {
	Views []View
	// More: there are further jobs after the last one of Views.
	More bool
}

// Progress is how far an attempt is.
type Progress struct {
	Percent float64   `json:"percent,omitempty"` // 0 to 100, negative: unknown
	Message string    `json:"message,omitempty"`
	At      time.Time `json:"at,omitzero"`
}

// Reader reads the result of an attempt, while it is produced too.
type Reader interface {
	// Head waits until the response has begun, and returns it. It returns ErrNoResult if the
	// attempt ends without a response.
	Head(ctx context.Context) (*Response, error)
	// ReadAt reads at least one byte at the offset. It waits for bytes that are still to come.
	// At the end of a complete result it returns io.EOF, and io.ErrUnexpectedEOF if the
	// attempt has ended before.
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// Size returns the bytes so far, and whether they are all.
	Size() (n int64, complete bool)
	// Attempt returns which attempt it reads.
	Attempt() (generation, number int)
	io.Closer
}

// ErrNoResult: the job has no response.
var ErrNoResult = errors.New("the job has no response")
