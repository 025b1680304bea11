package celeryredis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Defaults of the settings.
const (
	DefaultConnections      = 8
	DefaultDialTimeout      = 5 * time.Second
	DefaultReconnectTimeout = 30 * time.Second
	DefaultPingEvery        = 3 * time.Second
	DefaultMaxResult        = 16 << 20
	DefaultResultPrefix     = "celery-task-meta-"
	DefaultExpires          = 24 * time.Hour

	// DefaultTimeout is the longest wait for a reply of the server.
	DefaultTimeout = 5 * time.Second
)

// Server configures the connections to a Redis.
type Server struct {
	// URL is a URL as in Celery: redis://, rediss:// (TLS), redis+socket://, or several
	// of sentinel:// separated by semicolons, with user, password, number of the
	// database, and options such as ssl_cert_reqs.
	URL string
	// MasterName is the name of the master for sentinel://. It overrides master_name in
	// the URL.
	MasterName string
	// SentinelPassword is the password of the sentinels themselves. Default: none.
	SentinelPassword string
	// TLS overrides the options of the URL. Nil: as in the URL.
	TLS *tls.Config
	// Connections is the largest number of connections for commands. Default:
	// DefaultConnections.
	Connections int
	// DialTimeout is the longest time of a dial. Default: DefaultDialTimeout.
	DialTimeout time.Duration
	// Timeout is the longest wait for the reply to a command or the confirmation of a
	// subscription. Default: DefaultTimeout.
	Timeout time.Duration
}

func (s Server) withDefaults() Server {
	if s.Connections <= 0 {
		s.Connections = DefaultConnections
	}
	if s.DialTimeout <= 0 {
		s.DialTimeout = DefaultDialTimeout
	}
	if s.Timeout <= 0 {
		s.Timeout = DefaultTimeout
	}
	return s
}

// errDial marks an error that came before a command could be sent.
var errDial = errors.New("dialling")

// client returns an unconnected client and the number of its database.
func (s Server) client() (*redis.Client, int, error) {
	a, err := parseURL(s.URL)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the URL of Redis: %w", err)
	}
	if s.MasterName != "" {
		a.master = s.MasterName
	}
	if s.TLS != nil {
		a.tls = s.TLS
	}
	s = s.withDefaults()
	if a.sentinels == nil {
		return redis.NewClient(s.options(a)), a.db, nil
	}
	if a.master == "" {
		return nil, 0, errors.New("a URL of sentinel:// needs the name of the master")
	}
	return redis.NewFailoverClient(s.failover(a)), a.db, nil
}

func (s Server) options(a address) *redis.Options {
	return &redis.Options{
		Network:               a.network,
		Addr:                  a.addr,
		Username:              a.username,
		Password:              a.password,
		DB:                    a.db,
		Dialer:                s.dialer(a.tls),
		DialTimeout:           s.DialTimeout,
		DialerRetries:         1,  // callers decide about retries
		MaxRetries:            -1, // the server may have executed a lost command
		ReadTimeout:           s.Timeout,
		WriteTimeout:          s.Timeout,
		ContextTimeoutEnabled: true,
		PoolSize:              s.Connections,
		DisableIdentity:       true, // saves the user the right to CLIENT SETINFO
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
}

func (s Server) failover(a address) *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName:            a.master,
		SentinelAddrs:         a.sentinels,
		SentinelPassword:      s.SentinelPassword,
		Username:              a.username,
		Password:              a.password,
		DB:                    a.db,
		Dialer:                s.dialer(a.tls),
		DialTimeout:           s.DialTimeout,
		DialerRetries:         1,
		MaxRetries:            -1,
		ReadTimeout:           s.Timeout,
		WriteTimeout:          s.Timeout,
		ContextTimeoutEnabled: true,
		PoolSize:              s.Connections,
		DisableIdentity:       true,
	}
}

// dialer returns a dial function that marks its errors with errDial.
func (s Server) dialer(config *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: s.DialTimeout}
	dial := plain.DialContext
	if config != nil {
		dial = (&tls.Dialer{NetDialer: plain, Config: config}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errDial, err)
		}
		return conn, nil
	}
}
