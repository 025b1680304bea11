package offloader

import "fmt"

// Reason says why a request was not served as usual. It is the one word for it
// everywhere: in answers, logs, metrics and commands. The list is closed.
type Reason uint8

// Reasons of a pool's own refusals come first, then those of its callers.
const (
	// QueueFull: all permits and all places are taken.
	QueueFull Reason = iota + 1
	// WaitTimeout: no permit came free within the longest wait.
	WaitTimeout
	// PredictedLate: a permit would not come free within the longest wait.
	PredictedLate
	// BreakerOpen: the backend has failed too often.
	BreakerOpen
	// Draining: the pool admits nothing more and finishes what it has.
	Draining
	// Closed: the pool has ended.
	Closed
	// UnspooledLimit: as many permits as may be are held by requests whose bodies
	// are not spooled.
	UnspooledLimit
	// SpoolFull: no room to keep the request's or the response's body.
	SpoolFull
	// RunTimeout: the run took longer than it may.
	RunTimeout
	// FirstByteTimeout: the run's answer did not begin in time.
	FirstByteTimeout
	// BodyTooLarge: the request's body is larger than the spool takes.
	BodyTooLarge
	// IncrementalRefused: the request asks that its body be passed on as it comes,
	// which is not done here.
	IncrementalRefused
	// Cancelled: an operator has cancelled the request.
	Cancelled

	reasonCount
)

var reasonNames = [reasonCount]string{
	QueueFull:          "queue_full",
	WaitTimeout:        "wait_timeout",
	PredictedLate:      "predicted_late",
	BreakerOpen:        "breaker_open",
	Draining:           "draining",
	Closed:             "closed",
	UnspooledLimit:     "unspooled_limit",
	SpoolFull:          "spool_full",
	RunTimeout:         "run_timeout",
	FirstByteTimeout:   "first_byte_timeout",
	BodyTooLarge:       "body_too_large",
	IncrementalRefused: "incremental_refused",
	Cancelled:          "cancelled",
}

var reasonTexts = [reasonCount]string{
	QueueFull:          "all permits are taken and the queue is full",
	WaitTimeout:        "no permit came free in time",
	PredictedLate:      "no permit would have come free in time",
	BreakerOpen:        "the breaker is open",
	Draining:           "the pool is draining",
	Closed:             "the pool is closed",
	UnspooledLimit:     "too many permits are held by request bodies that are passed on as they come",
	SpoolFull:          "no room to keep the body",
	RunTimeout:         "the run took too long",
	FirstByteTimeout:   "the answer did not begin in time",
	BodyTooLarge:       "the request body is too large",
	IncrementalRefused: "the request body is not passed on as it comes here",
	Cancelled:          "an operator cancelled it",
}

// Reasons lists all reasons, in a fixed order.
func Reasons() []Reason {
	all := make([]Reason, 0, reasonCount-1)
	for r := QueueFull; r < reasonCount; r++ {
		all = append(all, r)
	}
	return all
}

// String returns the reason's word, such as "queue_full".
func (r Reason) String() string {
	if r == 0 || r >= reasonCount {
		return fmt.Sprintf("reason(%d)", uint8(r))
	}
	return reasonNames[r]
}

// Text says in a short sentence what the reason means.
func (r Reason) Text() string {
	if r >= reasonCount {
		return ""
	}
	return reasonTexts[r]
}

// MarshalText writes the reason's word.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Shed reports whether the reason is overload: no room, or a wait too long.
func (r Reason) Shed() bool {
	return r == QueueFull || r == WaitTimeout || r == PredictedLate
}
