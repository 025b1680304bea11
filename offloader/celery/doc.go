// Package celery calls tasks of Celery workers and waits for their results.
//
// A [Task] is encoded as a message of Celery's protocol 2 and checked on the way,
// so that nothing leaves that a worker could not read. A [Client] publishes it
// through a [Broker] and gets its states from a [Backend]; both are interfaces,
// and their packages celeryredis and celeryamqp know the servers. No call costs
// a goroutine, a connection or a poll of its own while it waits. The package
// knows neither HTTP nor Caddy, and runs no Python.
//
//	client := celery.NewClient(broker, backend, celery.Settings{})
//	result, err := client.Run(ctx, celery.Task{Name: "reports.render", Args: []any{42}}, nil)
package celery
