// Package celerytest is what tests of brokers and backends share: one in memory,
// the part of a worker to play, and a suite that all of them pass.
package celerytest

import (
	"context"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// System is a broker and a backend, and the other side of both, so that a test
// can play the worker.
type System interface {
	Broker() celery.Broker
	Backend() celery.Backend

	// Take takes the next message from a queue, as a worker does.
	Take(ctx context.Context, queue string) (*celery.Message, error)
	// Report sends what a worker says about the task that came as a message.
	Report(ctx context.Context, task *celery.Message, payload []byte) error
	// Commands takes the commands for the worker of that name, until the context
	// ends, and sends what answer returns to whoever asks for an answer.
	Commands(ctx context.Context, name string, answer func(celery.Command) []byte) error
	// Event sends what a worker tells about itself.
	Event(ctx context.Context, routingKey string, body []byte) error
	// Interrupt breaks all connections of the broker and the backend.
	Interrupt()
	// Close ends the broker and the backend.
	Close() error
}
