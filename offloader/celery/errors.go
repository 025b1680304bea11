package celery

import "errors"

// Errors of a call before a worker has it.
var (
	// ErrInvalidTask: the task cannot be sent, since a worker could not read it.
	ErrInvalidTask = errors.New("invalid task")
	// ErrNoWorker: no worker is there to take a task.
	ErrNoWorker = errors.New("no worker is alive")
	// ErrUnroutable: the broker has no such queue.
	ErrUnroutable = errors.New("the broker has no such queue")
	// ErrUnavailable: the server is not reachable, or takes nothing now. The
	// task has not been sent.
	ErrUnavailable = errors.New("not available")
	// ErrUnconfirmed: the connection was lost while the task was being sent.
	// It may or may not be in the queue.
	ErrUnconfirmed = errors.New("sent without a confirmation")
	// ErrUnsupported: the broker or the backend does not have this power.
	ErrUnsupported = errors.New("not supported")
)

// Errors of a call while it waits. The task may still run, or have run.
var (
	// ErrResultLost: the result has been or will be sent to where nobody can
	// read it any more.
	ErrResultLost = errors.New("the result is lost")
	// ErrTooLarge: the result is larger than the backend is set to take.
	ErrTooLarge = errors.New("the result is too large")
	// ErrUnreadable: the result is not JSON.
	ErrUnreadable = errors.New("the result cannot be read")
	// ErrNotFinite: the result holds NaN or Infinity, which JSON does not have.
	ErrNotFinite = errors.New("the result holds NaN or Infinity")
	// ErrClosed: the client or its backend was closed.
	ErrClosed = errors.New("closed")
)

// Errors that a task ended with, for errors.Is. The [TaskError] itself has the
// words of the worker.
var (
	// ErrUnknownTask: no task of that name is registered with the worker.
	ErrUnknownTask = errors.New("unknown task")
	// ErrRevoked: the task was revoked before it ran.
	ErrRevoked = errors.New("revoked")
	// ErrTerminated: the task was revoked while it ran, and its process ended.
	ErrTerminated = errors.New("terminated")
	// ErrExpired: the task had expired before a worker got to it.
	ErrExpired = errors.New("expired")
	// ErrTimeLimit: the task ran for longer than its time limit.
	ErrTimeLimit = errors.New("time limit exceeded")
	// ErrWorkerLost: the worker's process died under the task.
	ErrWorkerLost = errors.New("worker lost")
	// ErrNotSerialisable: the worker could not write down what the task returned.
	ErrNotSerialisable = errors.New("result not serialisable")
)
