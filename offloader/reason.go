package offloader

import "fmt"

// Reason says why a call was not served as usual. Errors, counters and logs use its name.
// The package has the reasons of a [Pool]; a program adds its own with [NewReason].
type Reason uint8

// Reasons of a pool.
const (
	// QueueFull: all permits are taken, and the queue is full.
	QueueFull Reason = iota + 1
	// WaitTimeout: no permit came free within the longest wait.
	WaitTimeout
	// PredictedLate: a permit would not come free within the longest wait.
	PredictedLate
	// BreakerOpen: the backend has failed too often.
	BreakerOpen
	// Draining: the pool admits no newcomers and finishes its calls.
	Draining
	// Closed: the pool has ended.
	Closed
	// Cancelled: an operator has cancelled the call.
	Cancelled
	// Displaced: the queue was full, and a newcomer of a more urgent class, or of a key
	// with fewer waiters, took the place of the caller.
	Displaced
	// KeyQueueFull: the caller's key has all of its places in the queue.
	KeyQueueFull
)

// maxReasons bounds the counters that a pool keeps for reasons.
const maxReasons = 32

type reasonText struct{ name, text string }

// reasons are indexed by Reason. They are written before main begins.
var reasons = append(make([]reasonText, 0, maxReasons), []reasonText{
	0:             {},
	QueueFull:     {"queue_full", "all permits are taken and the queue is full"},
	WaitTimeout:   {"wait_timeout", "no permit came free in time"},
	PredictedLate: {"predicted_late", "no permit would have come free in time"},
	BreakerOpen:   {"breaker_open", "the breaker is open"},
	Draining:      {"draining", "the pool is draining"},
	Closed:        {"closed", "the pool is closed"},
	Cancelled:     {"cancelled", "an operator cancelled it"},
	Displaced:     {"displaced", "a more urgent or less greedy caller took its place in the full queue"},
	KeyQueueFull:  {"key_queue_full", "its key has all of its places in the queue"},
}...)

// NewReason registers a reason of the program for [Pool.Reject], with a name such as
// "body_too_large" and a short sentence that explains it. Every pool counts it.
//
// Call it from the initializer of a package variable, and nowhere else: it is not
// safe for use by several goroutines. It panics if the name is taken, and if there
// are more than 32 reasons.
func NewReason(name, text string) Reason {
	if name == "" || text == "" {
		panic("offloader: a reason without a name or a text")
	}
	for _, r := range reasons {
		if r.name == name {
			panic(fmt.Sprintf("offloader: reason '%s' is registered twice", name))
		}
	}
	if len(reasons) == maxReasons {
		panic(fmt.Sprintf("offloader: no room for reason '%s'", name))
	}
	reasons = append(reasons, reasonText{name, text})
	return Reason(len(reasons) - 1)
}

// Reasons lists all reasons: those of the package first, then the registered ones.
func Reasons() []Reason {
	all := make([]Reason, 0, len(reasons)-1)
	for r := range reasons[1:] {
		all = append(all, Reason(r+1))
	}
	return all
}

// String returns the reason's name, such as "queue_full".
func (r Reason) String() string {
	if r == 0 || int(r) >= len(reasons) {
		return fmt.Sprintf("reason(%d)", uint8(r))
	}
	return reasons[r].name
}

// Text explains the reason in a short sentence. It is empty for an unknown reason.
func (r Reason) Text() string {
	if int(r) >= len(reasons) {
		return ""
	}
	return reasons[r].text
}

// Shed reports whether the reason is overload: a full queue, of the pool or of the key, or
// a wait too long.
func (r Reason) Shed() bool {
	switch r {
	case QueueFull, WaitTimeout, PredictedLate, Displaced, KeyQueueFull:
		return true
	}
	return false
}
