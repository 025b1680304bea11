// Package celerytest provides the shared parts of tests of Celery clients: a broker and
// backend in memory, a fake worker, a proxy that injects faults of the network, and a suite
// that every broker and backend must pass.
package celerytest

import (
	"context"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// System is a broker and a backend, with the worker's side of both.
type System interface {
	Broker() celery.Broker
	Backend() celery.Backend

	// Take waits for the next message of a queue and takes it, as a worker does.
	Take(ctx context.Context, queue string) (*celery.Message, error)
	// Report sends a state of the task that came as a message.
	Report(ctx context.Context, task *celery.Message, payload []byte) error
	// Commands receives the commands for the worker of that name until the context ends.
	// It calls reply for each, and sends the result. Nil is no reply.
	Commands(ctx context.Context, name string, reply func(celery.Command) []byte) error
	// Event sends an event of a worker.
	Event(ctx context.Context, routingKey string, body []byte) error
	// Interrupt cuts all connections of the broker and the backend.
	Interrupt()
	// Close closes the broker and the backend.
	Close() error
}
