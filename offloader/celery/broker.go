package celery

import "context"

// Broker carries messages to workers. Its methods may be used from any
// goroutine.
type Broker interface {
	// Publish sends a message and returns when the broker has it. The error
	// wraps ErrUnroutable, ErrUnavailable or ErrUnconfirmed.
	Publish(ctx context.Context, m *Message) error
}

// Controller is a broker that reaches all workers at once.
type Controller interface {
	// Broadcast sends a command to the workers. It returns how many there are,
	// or -1 if the broker cannot tell.
	Broadcast(ctx context.Context, c Command) (workers int, err error)
	// Ask sends a command and calls reply with the body of each answer. It ends
	// without an error when reply returns false, when every worker of which the
	// broker knows has answered, and when the context ends.
	Ask(ctx context.Context, c Command, reply func(body []byte) bool) error
}

// Follower is a broker that passes on what workers tell about themselves.
type Follower interface {
	// Follow calls receive with the body of each message about workers, not
	// tasks, until the context ends or the connection is lost.
	Follow(ctx context.Context, receive func(body []byte)) error
}

// QueueGauge is a broker that can tell how full a queue is.
type QueueGauge interface {
	// Queue returns what is known of a queue. The error wraps ErrUnroutable if
	// there is no such queue.
	Queue(ctx context.Context, name string) (QueueState, error)
}

// QueueState is what a broker knows about a queue.
type QueueState struct {
	// Ready messages wait to be taken by a worker. Workers take more than they
	// have slots for.
	Ready int
	// Consumers is how many workers take from the queue, -1 if the broker cannot
	// tell.
	Consumers int
}

// Backend brings what workers report about tasks. Its methods may be used from
// any goroutine.
type Backend interface {
	// Watch passes what is reported about the task on to w until Unwatch. When
	// it has returned, nothing that a worker reports from then on is missed.
	// The error wraps ErrUnavailable or ErrClosed, or is the context's cause.
	Watch(ctx context.Context, id string, w Watcher) error
	// Unwatch ends that. A last call of w may be under way while it returns. It
	// does nothing if w does not watch the task.
	Unwatch(id string, w Watcher)
}

// Watcher takes what is reported about one task. Its methods are called by the
// goroutine that reads for all, and must not block it.
type Watcher interface {
	// Report takes one state of the task, as the worker wrote it.
	Report(payload []byte)
	// Fail says that nothing more will be reported, and why.
	Fail(err error)
}

// Replier is a backend to which workers send what they report.
type Replier interface {
	// ReplyTo is the address for the messages of tasks.
	ReplyTo() string
}

// Store is a backend that keeps the last state of each task.
type Store interface {
	// Fetch returns it, and nil if there is none.
	Fetch(ctx context.Context, id string) ([]byte, error)
}
