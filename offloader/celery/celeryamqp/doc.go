// Package celeryamqp implements the broker and the backend of package celery on RabbitMQ and
// other servers of AMQP 0-9-1: [OpenBroker] opens a broker, and [OpenBackend] the result
// backend "rpc://". Each of them has one connection, independent of the number of waiting
// calls, and reconnects in the background. The caller closes them.
package celeryamqp
