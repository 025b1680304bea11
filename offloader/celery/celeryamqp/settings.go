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

// Server configures the connection to an AMQP server.
type Server struct {
	// URL is a URL as in Celery: amqp:// or amqps:// (TLS) with user, password and
	// virtual host. Several URLs, separated by semicolons, are tried in turn.
	URL string
	// TLS overrides the options of the URL. Nil: as in the URL.
	TLS *tls.Config
	// Timeout is the longest time to connect, and the longest wait of a call for a
	// connection. Default: DefaultTimeout.
	Timeout time.Duration
	// Heartbeat is the interval of heartbeats of both sides. The connection counts as
	// lost after three times as long without data. Default: DefaultHeartbeat.
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

// urls returns the validated URLs of the servers.
func (s Server) urls() ([]string, error) {
	if err := authority.Check(s.URL); err != nil {
		return nil, err
	}
	var urls []string
	for text := range strings.SplitSeq(s.URL, ";") {
		if rest, ok := strings.CutPrefix(text, "pyamqp://"); ok { // Kombu's name of its AMQP client
			text = "amqp://" + rest
		}
		if _, err := amqp.ParseURI(text); err != nil {
			return nil, errors.New("not a URL of AMQP: want amqp://user:password@host:port/vhost") // err would show the password
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
		TLSClientConfig: s.TLS.Clone(), // the library modifies it
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

// dial connects and sets a deadline, which the library clears after the handshake.
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
