package celery

import (
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryredis"
)

func init() {
	register(scheme{
		check: func(s *Servers, url string) error {
			server, err := s.redis(url)
			if err != nil {
				return err
			}
			return server.Check()
		},
		broker:  openRedisBroker,
		backend: openRedisBackend,
		replies: openRedisReplies,
	}, "redis", "rediss", "sentinel", "redis+socket")
}

// logOnce redirects the messages of the Redis client to Caddy's log. They are global to the
// process, so this happens only if a configuration names a Redis.
var logOnce = sync.OnceFunc(func() { celeryredis.LogTo(logRedis) })

// redis returns the settings of a Redis.
func (s *Servers) redis(url string) (celeryredis.Server, error) {
	logOnce()
	tlsConfig, err := s.tlsFor(url)
	timeout := time.Duration(s.ServerTimeout)
	return celeryredis.Server{
		URL: url, MasterName: s.MasterName, SentinelPassword: s.SentinelPassword, TLS: tlsConfig,
		Connections: s.Connections, DialTimeout: timeout, Timeout: timeout,
	}, err
}

func openRedisBroker(s *Servers) (celery.Broker, error) {
	server, err := s.redis(s.Broker)
	if err != nil {
		return nil, err
	}
	broker, err := celeryredis.OpenBroker(celeryredis.BrokerSettings{
		Server: server, Prefix: s.BrokerPrefix, ControlExchange: s.ControlExchange,
	})
	if err != nil {
		return nil, err
	}
	return broker, nil
}

func openRedisBackend(s *Servers) (celery.Backend, error) {
	server, err := s.redis(s.Backend)
	if err != nil {
		return nil, err
	}
	backend, err := celeryredis.OpenBackend(celeryredis.BackendSettings{
		Server: server, Prefix: s.ResultPrefix, MaxResult: int(s.MaxResult), Poll: s.Poll,
		ReconnectTimeout: time.Duration(s.ReconnectTimeout),
	})
	if err != nil {
		return nil, err
	}
	return backend, nil
}

func openRedisReplies(s *Servers) (celery.Backend, error) {
	server, err := s.redis(s.Broker)
	if err != nil {
		return nil, err
	}
	replies, err := celeryredis.OpenReplies(celeryredis.RepliesSettings{
		Server: server, Prefix: s.BrokerPrefix, MaxResult: int(s.MaxResult), ReconnectTimeout: time.Duration(s.ReconnectTimeout),
	})
	if err != nil {
		return nil, err
	}
	return replies, nil
}
