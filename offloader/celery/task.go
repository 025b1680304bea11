package celery

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

// DefaultQueue is Celery's queue for tasks without a configured queue.
const DefaultQueue = "celery"

// Priorities of a task.
const (
	LowestPriority  = 0
	HighestPriority = 9
)

// Task describes one call of a task. Only Name is required.
type Task struct {
	// Name is the name under which workers register the task.
	Name string
	// ID identifies the call and its result. Default: a new UUID.
	ID string
	// FreshID means that ID was never used before, so that the client need not look for a
	// stored result. It has no effect without an ID.
	FreshID bool
	// Args are the positional arguments, of any types that encoding/json can encode.
	// A json.RawMessage is sent unchanged.
	Args []any
	// Kwargs are the keyword arguments.
	Kwargs map[string]any

	// Queue to send to. Default: the client's queue.
	Queue string
	// Priority from LowestPriority to HighestPriority, on every broker. Redis counts
	// the other way, so celeryredis inverts it. Nil: none is sent, which means the most
	// urgent on Redis and the least urgent on RabbitMQ.
	Priority *int
	// ETA is the time before which the task must not start. Zero: none.
	ETA time.Time
	// Expires is the time after which the task must not start. A worker that receives
	// the task later reports it as expired. A minute later RabbitMQ removes the message,
	// and nothing is reported: wait with a deadline. Zero: none.
	Expires time.Time
	// HardLimit is the longest run, after which the worker kills the process of the
	// task. Only workers with processes enforce it. It is at least 100 ms, as is
	// SoftLimit. Zero: the limit of the task's definition.
	HardLimit time.Duration
	// SoftLimit is the longest run, after which an exception is raised in the task.
	// Zero: the limit of the task's definition.
	SoftLimit time.Duration
	// Headers are sent in addition to those of Celery, for example "traceparent". The
	// task finds them in its request.
	Headers map[string]any
	// Retries is the number of earlier attempts of this call.
	Retries int
	// IgnoreResult makes the worker store no result. Such a task can only be sent.
	IgnoreResult bool
	// Shadow is shown in place of Name in logs and monitors.
	Shadow string
	// RootID and ParentID link the task to those that led to it, for monitors. Default:
	// the ID of the call, and none.
	RootID, ParentID string
	// Idempotent allows a second send, with the same ID, when it is unknown whether the
	// first one arrived. The task may run twice.
	Idempotent bool
}

// NewID returns a random UUID, as Celery uses for IDs.
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
