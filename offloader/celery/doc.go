// Package celery calls tasks of Celery workers and waits for their results.
//
// A [Client] encodes a [Task] as a message of Celery's protocol 2, publishes it through a
// [Broker], and receives its states from a [Backend]. It rejects tasks that a worker could not
// read. Brokers and backends are interfaces; packages celeryredis and celeryamqp implement
// them. All waiting calls share the backend's connection and goroutines. The package depends
// neither on HTTP nor on Caddy, and runs no Python.
//
//	client := celery.NewClient(broker, backend, celery.Settings{})
//	result, err := client.Run(ctx, celery.Task{Name: "reports.render", Args: []any{42}}, nil)
package celery
