package celery

import "context"

// Broker carries messages to workers. It is safe for concurrent use.
type Broker interface {
	// Publish sends a message and returns when the broker has accepted it. The error
	// wraps ErrUnroutable, ErrUnavailable or ErrUnconfirmed.
	Publish(ctx context.Context, m *Message) error
}

// Controller is a broker that can send commands to all workers.
type Controller interface {
	// Broadcast sends a command to the workers. It returns the number of receivers, or
	// -1 if the broker does not know it.
	Broadcast(ctx context.Context, c Command) (workers int, err error)
	// Ask sends a command and calls reply with the body of each reply. It returns nil
	// when reply returns false, when every receiver that the broker has counted has
	// replied, and when the context ends.
	Ask(ctx context.Context, c Command, reply func(body []byte) bool) error
}

// Follower is a broker that delivers the events of workers.
type Follower interface {
	// Follow calls receive with the body of each event about a worker, not those about
	// tasks, until the context ends or the connection is lost.
	Follow(ctx context.Context, receive func(body []byte)) error
}

// QueueGauge is a broker that reports the state of queues.
type QueueGauge interface {
	// Queue returns the state of a queue. The error wraps ErrUnroutable if the queue
	// does not exist.
	Queue(ctx context.Context, name string) (QueueState, error)
}

// QueueState is the state of a queue at the broker.
type QueueState struct {
	// Ready is the number of messages that no worker has taken. Workers take more than
	// they run at once.
	Ready int
	// Consumers is the number of workers that take from the queue, or -1 if the broker
	// does not know it.
	Consumers int
}

// Backend delivers the states that workers report. It is safe for concurrent use.
type Backend interface {
	// Watch passes the states of the task to w until Unwatch. Every state that is
	// reported after Watch has returned is delivered. The error wraps ErrUnavailable or
	// ErrClosed, or is the cause of the context.
	Watch(ctx context.Context, id string, w Watcher) error
	// Unwatch ends the watch. A last call of w may still run when it returns. It does
	// nothing if w does not watch the task.
	Unwatch(id string, w Watcher)
}

// Watcher receives the states of one task. The backend calls its methods from the goroutine
// that reads for all tasks, so they must not block.
type Watcher interface {
	// Report delivers one state of the task, as the worker wrote it.
	Report(payload []byte)
	// Fail delivers the reason why no more states will come.
	Fail(err error)
}

// Replier is a backend to which workers send states by name.
type Replier interface {
	// ReplyTo returns the address to set in the messages of tasks.
	ReplyTo() string
}

// Store is a backend that stores the last state of each task.
type Store interface {
	// Fetch returns the last state, or nil if none is stored.
	Fetch(ctx context.Context, id string) ([]byte, error)
}
