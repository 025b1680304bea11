package celery

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

// DefaultQueue is where Celery sends tasks for which nothing was set.
const DefaultQueue = "celery"

// Priorities of a task.
const (
	LowestPriority  = 0
	HighestPriority = 9
)

// Task is one call of a task. Name alone is enough.
type Task struct {
	// Name under which the task is registered with the worker.
	Name string
	// ID of this call. It names the result. Default: a new UUID.
	ID string
	// FreshID says that no call has had the ID before, so that nothing of it can be
	// known yet. It means nothing without an ID.
	FreshID bool
	// Args are the positional arguments, anything that encoding/json can write.
	// A json.RawMessage goes out as it is.
	Args []any
	// Kwargs are the arguments by name.
	Kwargs map[string]any

	// Queue to send to. Default: the client's.
	Queue string
	// Priority from LowestPriority to HighestPriority, whatever the broker: on
	// Redis, where 0 is the most urgent on the wire, it is turned round. Nil: none
	// is sent, which on Redis is the most urgent and on RabbitMQ the least.
	Priority *int
	// ETA is the moment before which the task must not start. Zero: none.
	ETA time.Time
	// Expires is the moment after which the task must not start any more. The
	// worker says so in place of a result, but if it does not get to it within
	// a minute RabbitMQ clears the message away: wait with a deadline. Zero: none.
	Expires time.Time
	// HardLimit is the longest run, after which the worker kills the process
	// that runs the task. Workers with processes heed it. It is at least 100 ms,
	// as is SoftLimit. Zero: the task's own.
	HardLimit time.Duration
	// SoftLimit is the longest run after which the task gets an exception that
	// it can handle. Zero: the task's own.
	SoftLimit time.Duration
	// Headers are sent beside Celery's own, such as "traceparent". The task
	// finds them in its request.
	Headers map[string]any
	// Retries is how often this call has been tried before.
	Retries int
	// IgnoreResult tells the worker to keep no result. Nobody can wait for it.
	IgnoreResult bool
	// Shadow is the name to show instead of Name in logs and monitors.
	Shadow string
	// RootID and ParentID tell monitors which task has led to this one. Default:
	// the call's own ID and none.
	RootID, ParentID string
	// Idempotent allows to send the task again, with the same ID, when it is not
	// known whether it arrived: it may run twice.
	Idempotent bool
}

// NewID returns a random UUID, which is what Celery uses as an ID.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[:8], b[:4])
	text[8] = '-'
	hex.Encode(text[9:13], b[4:6])
	text[13] = '-'
	hex.Encode(text[14:18], b[6:8])
	text[18] = '-'
	hex.Encode(text[19:23], b[8:10])
	text[23] = '-'
	hex.Encode(text[24:], b[10:])
	return string(text[:])
}
