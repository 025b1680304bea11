package celery

import "errors"

// Errors of a call before the broker has accepted the task.
var (
	// ErrInvalidTask means that no worker could read the task.
	ErrInvalidTask = errors.New("invalid task")
	// ErrNoWorker means that no worker is alive to take the task.
	ErrNoWorker = errors.New("no worker is alive")
	// ErrUnroutable means that the broker has no such queue.
	ErrUnroutable = errors.New("the broker has no such queue")
	// ErrUnavailable means that the server is not reachable, or accepts nothing now. The
	// task was not sent.
	ErrUnavailable = errors.New("not available")
	// ErrUnconfirmed means that the connection was lost while the task was sent. The task
	// may be in the queue.
	ErrUnconfirmed = errors.New("sent without a confirmation")
	// ErrUnsupported means that the broker or the backend lacks an optional interface.
	ErrUnsupported = errors.New("not supported")
)

// Errors of a call while it waits. The task may still run, or have ended.
var (
	// ErrResultLost means that the result was or will be sent to a queue that is gone.
	ErrResultLost = errors.New("the result is lost")
	// ErrTooLarge means that the result is larger than the backend's limit.
	ErrTooLarge = errors.New("the result is too large")
	// ErrUnreadable means that the result is not JSON.
	ErrUnreadable = errors.New("the result cannot be read")
	// ErrNotFinite means that the result holds NaN or Infinity, which JSON lacks.
	ErrNotFinite = errors.New("the result holds NaN or Infinity")
	// ErrClosed means that the client or its backend was closed.
	ErrClosed = errors.New("closed")
)

// Outcomes of a task, for errors.Is with a [TaskError].
var (
	// ErrUnknownTask means that the worker has no task of that name.
	ErrUnknownTask = errors.New("unknown task")
	// ErrRevoked means that the task was revoked before it ran.
	ErrRevoked = errors.New("revoked")
	// ErrTerminated means that the task was revoked while it ran, and its process ended.
	ErrTerminated = errors.New("terminated")
	// ErrExpired means that the task expired before a worker took it.
	ErrExpired = errors.New("expired")
	// ErrTimeLimit means that the task exceeded its time limit.
	ErrTimeLimit = errors.New("time limit exceeded")
	// ErrWorkerLost means that the process of the task died.
	ErrWorkerLost = errors.New("worker lost")
	// ErrNotSerialisable means that the worker could not encode the result.
	ErrNotSerialisable = errors.New("result not serialisable")
)
