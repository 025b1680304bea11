package offloader

import (
	"errors"
	"fmt"
	"time"
)

// Classes of rejections, for [errors.Is].
var (
	// ErrShed is every rejection because of overload.
	ErrShed = errors.New("shed")
	// ErrBreakerOpen is a rejection by the breaker.
	ErrBreakerOpen = errors.New("breaker open")
	// ErrClosed is a rejection by a pool that drains or is closed.
	ErrClosed = errors.New("pool closed")
)

// RejectedError says that a pool did not admit a caller. A pool has one value
// for each reason, so a rejection allocates nothing; the values are shared and
// must not be changed.
type RejectedError struct {
	// Pool that rejected, by name.
	Pool string
	// Reason of the rejection.
	Reason Reason

	from *Pool
}

// Error names the pool and the reason.
func (e *RejectedError) Error() string {
	return fmt.Sprintf("pool '%s' rejected: %s (%s)", e.Pool, e.Reason, e.Reason.Text())
}

// Is makes [ErrShed], [ErrBreakerOpen] and [ErrClosed] match.
func (e *RejectedError) Is(target error) bool {
	switch target {
	case ErrShed:
		return e.Reason.Shed()
	case ErrBreakerOpen:
		return e.Reason == BreakerOpen
	case ErrClosed:
		return e.Reason == Draining || e.Reason == Closed
	}
	return false
}

// RetryAfter estimates when a new attempt is worth while, in whole seconds,
// with jitter. Each call stands for one caller who was sent away and will come
// back: it takes the next place in a virtual line that drains at the rate the
// pool works at. Call it once for each answer that is written.
func (e *RejectedError) RetryAfter() time.Duration { return e.from.retryAfter(e.Reason, nil) }

// RetryAfterFor is RetryAfter for the caller of a place whose Owner is a Visitor. The
// pool keeps its turn for a minute: when its client comes back at the announced time or
// after it, it waits before all that have none, and takes one of their places if the
// queue is full. A client that comes back earlier is told of the same turn again, and
// has to obey this time.
func (e *RejectedError) RetryAfterFor(place *Place) time.Duration {
	return e.from.retryAfter(e.Reason, place)
}
