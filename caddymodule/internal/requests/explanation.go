package requests

import (
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// Decision is the end of a request.
type Decision uint8

const (
	// DecidedRejected: a pool did not admit it.
	DecidedRejected Decision = iota + 1
	// DecidedTimedOut: its run took too long.
	DecidedTimedOut
	// DecidedCancelled: an operator has cancelled it.
	DecidedCancelled
	// DecidedLeft: its client left, which ended it.
	DecidedLeft
	// DecidedAbandoned: its client left, and its run went on to the end.
	DecidedAbandoned
	// DecidedServed: it was served as usual.
	DecidedServed

	decisionCount
)

var decisionNames = [decisionCount]string{"", "rejected", "timed_out", "cancelled", "left", "abandoned", "served"}

// String returns the decision's word.
func (d Decision) String() string { return decisionNames[d] }

// Explanation describes the end of one request. It refers to no string of the request,
// which would keep the whole request header in memory: the key is a copy.
type Explanation struct {
	ID                   ID
	At                   time.Time
	Pool                 string
	Who                  note
	Decision             Decision
	Reason               offloader.Reason
	Unspooled            string // the kind of a body that is passed on as it comes, empty without
	Upload, Waited, Took time.Duration
	Handed               time.Duration // from the end of its run to the end of its answer, if it was served
	Status               int           // of its answer, if it was served
	Sends                int32
	Recorded             bool             // the pool has a record of its decision
	Record               offloader.Record // zero without one, but for the claim
	DisplacedBy          ID               // of the request that took its place, zero if there is none
	DisplacedByClass     string           // of that request, empty without classes
	Pressure             offloader.Gauges // of the pool when it was decided
	Budget               Budget
}

// Total is the time from the arrival of a request to its end.
func (e *Explanation) Total() time.Duration { return e.Upload + e.Waited + e.Took + e.Handed }

// Ahead returns how many waiters were in front of the request on arrival, and its predicted
// wait. For a request that found the queue full, that is the whole queue.
func (e *Explanation) Ahead() (waiters int, predicted time.Duration) {
	switch r := &e.Record; {
	case r.Joined:
		return r.Ahead, r.Predicted
	case e.Reason == offloader.QueueFull:
		return r.Before, r.Rest
	}
	return 0, 0
}
