// Package celeryamqp reaches Celery workers through RabbitMQ and other brokers of
// AMQP 0-9-1: [OpenBroker] opens a broker and [OpenBackend] the result backend
// "rpc://". Each has one connection, however many calls wait, makes a new one by
// itself, and is closed by whoever opened it.
package celeryamqp
