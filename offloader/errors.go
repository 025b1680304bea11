package offloader

import (
	"errors"
	"fmt"
)

// Classes of rejections, for [errors.Is].
var (
	// ErrShed matches every rejection because of overload.
	ErrShed = errors.New("shed")
	// ErrBreakerOpen matches a rejection by the breaker.
	ErrBreakerOpen = errors.New("breaker open")
	// ErrClosed matches a rejection by a pool that drains or is closed.
	ErrClosed = errors.New("pool closed")
)

// RejectedError reports that a pool did not admit a caller. A pool has one value for
// each reason, so a rejection allocates nothing; the values are shared and must not be
// changed.
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

// NextRetry returns how long the rejected caller should wait before its next attempt, with
// jitter. Each call takes the next place in a virtual line of rejected callers, which
// drains at the rate of the pool: call it once for each rejection that is passed on. See
// [Ticket.NextRetry] for callers that the pool shall recognize.
func (e *RejectedError) NextRetry() Retry { return e.from.nextRetry(e.Reason, nil) }
