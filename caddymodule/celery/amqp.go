package celery

import (
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/celery/celeryamqp"
)

func init() {
	register(scheme{
		check: func(s *Servers, url string) error {
			server, err := s.amqp(url)
			if err != nil {
				return err
			}
			return server.Check()
		},
		broker:  openAMQPBroker,
		replies: openAMQPReplies,
	}, "amqp", "amqps", "pyamqp")
}

// amqp returns the settings of an AMQP server.
func (s *Servers) amqp(url string) (celeryamqp.Server, error) {
	tlsConfig, err := s.tlsFor(url)
	return celeryamqp.Server{URL: url, TLS: tlsConfig, Timeout: time.Duration(s.ServerTimeout)}, err
}

func openAMQPBroker(s *Servers) (celery.Broker, error) {
	server, err := s.amqp(s.Broker)
	if err != nil {
		return nil, err
	}
	broker, err := celeryamqp.OpenBroker(celeryamqp.BrokerSettings{Server: server, ControlExchange: s.ControlExchange})
	if err != nil {
		return nil, err
	}
	return broker, nil
}

func openAMQPReplies(s *Servers) (celery.Backend, error) {
	server, err := s.amqp(s.Broker)
	if err != nil {
		return nil, err
	}
	backend, err := celeryamqp.OpenBackend(celeryamqp.BackendSettings{
		Server: server, MaxResult: int(s.MaxResult), ReconnectTimeout: time.Duration(s.ReconnectTimeout),
	})
	if err != nil {
		return nil, err
	}
	return backend, nil
}
