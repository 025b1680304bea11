package celeryamqp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/caddy-offload/caddy-offload/offloader/celery/internal/authority"
)

// Defaults of the settings.
const (
	DefaultTimeout          = 5 * time.Second
	DefaultHeartbeat        = 5 * time.Second
	DefaultReconnectTimeout = 30 * time.Second
	DefaultMaxResult        = 16 << 20
)

// Server says which server to use, and how.
type Server struct {
	// URL as Celery takes it: amqp:// or amqps:// (TLS) with the user, the
	// password and the virtual host. Several, separated by semicolons, are tried
	// in turn.
	URL string
	// TLS replaces what the URL says about it. Nil: as the URL says.
	TLS *tls.Config
	// Timeout of a new connection, and of a call that waits for one. Default:
	// DefaultTimeout.
	Timeout time.Duration
	// Heartbeat is how often both sides say that they are there. A connection
	// that is silent for three times as long is broken. Default:
	// DefaultHeartbeat.
	Heartbeat time.Duration
}

func (s Server) withDefaults() Server {
	if s.Timeout <= 0 {
		s.Timeout = DefaultTimeout
	}
	if s.Heartbeat <= 0 {
		s.Heartbeat = DefaultHeartbeat
	}
	return s
}

// urls lists the servers.
func (s Server) urls() ([]string, error) {
	if err := authority.Check(s.URL); err != nil {
		return nil, err
	}
	var urls []string
	for text := range strings.SplitSeq(s.URL, ";") {
		if rest, ok := strings.CutPrefix(text, "pyamqp://"); ok { // another client of Python's
			text = "amqp://" + rest
		}
		if _, err := amqp.ParseURI(text); err != nil {
			return nil, errors.New("no URL of AMQP: want amqp://user:password@host:port/vhost") // the error would show the password
		}
		urls = append(urls, text)
	}
	return urls, nil
}

// dial connects to a server.
func (s Server) dial(ctx context.Context, url string) (*amqp.Connection, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	conn, err := amqp.DialConfig(url, amqp.Config{
		Heartbeat:       s.Heartbeat,
		TLSClientConfig: s.TLS.Clone(), // the library writes into it
		Properties:      amqp.Table{"connection_name": "caddy-offload"},
		Dial: func(network, addr string) (net.Conn, error) {
			return dial(ctx, network, addr)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return conn, nil
}

// dial sets a deadline that holds until the two sides have agreed.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}
