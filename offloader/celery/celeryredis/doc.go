// Package celeryredis implements brokers and backends of package celery on Redis: [OpenBroker]
// opens a broker, [OpenBackend] the result backend "redis://", and [OpenReplies] the result
// backend "rpc://" on a Redis broker. Each of them reconnects in the background and has a
// fixed number of connections, independent of the number of waiting calls. The caller closes
// them.
package celeryredis
