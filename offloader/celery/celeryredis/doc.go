// Package celeryredis reaches Celery workers through Redis: [OpenBroker] opens a
// broker, [OpenBackend] the result backend "redis://", and [OpenReplies] the
// result backend "rpc://" on a Redis broker. Each has a few connections, however
// many calls wait, reconnects by itself, and is closed by whoever opened it.
package celeryredis
