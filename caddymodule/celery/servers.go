package celery

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/arguments"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Servers say where tasks go and results come from. All routes whose servers are
// set alike share their connections, also across reloads.
type Servers struct {
	// The broker: `redis://`, `rediss://`, `redis+socket://`, several of
	// `sentinel://` separated by semicolons, `amqp://` or `amqps://`.
	// Placeholders of the environment and of files are allowed. Required.
	Broker string `json:"broker,omitempty"`

	// The result backend: a Redis as above, or `rpc://`. Placeholders as above.
	// Required where somebody waits for a result.
	Backend string `json:"backend,omitempty"`

	// What workers have as `global_keyprefix` in `broker_transport_options`.
	// Redis only. Default: none.
	BrokerPrefix string `json:"broker_prefix,omitempty"`

	// What the keys of results begin with. Redis only. Default:
	// `celery-task-meta-`.
	ResultPrefix string `json:"result_prefix,omitempty"`

	// What workers have as `control_exchange`. Default: `celery`.
	ControlExchange string `json:"control_exchange,omitempty"`

	// The name of the master for `sentinel://`. Default: `master_name` in the URL.
	MasterName string `json:"master_name,omitempty"`

	// The password of the sentinels themselves. Placeholders as above. Default:
	// none.
	SentinelPassword string `json:"sentinel_password,omitempty"`

	// TLS for `rediss://` and `amqps://`. Default: as the URL says, else the
	// system's roots.
	TLS *TLS `json:"tls,omitempty"`

	// How many connections to Redis at most carry commands. Default: 8.
	Connections int `json:"connections,omitempty"`

	// How long a server may take to be connected to, and to answer. Default: 5s.
	ServerTimeout caddy.Duration `json:"server_timeout,omitempty"`

	// How long requests wait for a lost connection to come back. Default: 30s.
	ReconnectTimeout caddy.Duration `json:"reconnect_timeout,omitempty"`

	// The largest result in bytes. Default: 16 MiB.
	MaxResult int64 `json:"max_result,omitempty"`

	// Asks Redis for results again and again, where it does not allow to
	// subscribe to them.
	Poll bool `json:"poll,omitempty"`
}

// TLS of the connections to servers.
type TLS struct {
	// Files of certificates that sign the servers'. Default: the system's roots.
	TrustedCA []string `json:"trusted_ca,omitempty"`
	// Files of the certificate and the key to show to servers.
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`
	// The name in the servers' certificates. Default: that in the URL.
	ServerName string `json:"server_name,omitempty"`
	// Takes any certificate. For tests.
	InsecureSkipVerify bool `json:"insecure_skip_verify,omitempty"`
}

// scheme knows the servers whose URLs begin alike.
type scheme struct {
	// check looks at the settings without any connection.
	check  func(s *Servers, url string) error
	broker func(s *Servers) (celery.Broker, error)
	// backend is nil for servers that keep no results.
	backend func(s *Servers) (celery.Backend, error)
	// replies is the backend rpc:// on a broker of this scheme.
	replies func(s *Servers) (celery.Backend, error)
}

// schemes by what stands before "://".
var schemes = make(map[string]scheme)

// schemeNames are those that users are told of.
var schemeNames []string

func register(s scheme, names ...string) {
	for _, name := range names {
		schemes[name] = s
		schemeNames = append(schemeNames, name+"://")
	}
}

// schemeOf returns the scheme of a URL.
func schemeOf(text string) (scheme, error) {
	name, _, ok := strings.Cut(text, "://")
	s, known := schemes[name]
	if !ok || !known {
		return s, fmt.Errorf("want a URL that begins with %s", strings.Join(schemeNames, ", "))
	}
	return s, nil
}

const rpc = "rpc://"

// expand returns the servers with placeholders of the environment replaced: they
// must not stand in a configuration that is stored.
func (s Servers) expand() Servers {
	repl := caddy.NewReplacer()
	s.Broker = repl.ReplaceKnown(s.Broker, "")
	s.Backend = repl.ReplaceKnown(s.Backend, "")
	s.SentinelPassword = repl.ReplaceKnown(s.SentinelPassword, "")
	return s
}

// key tells servers apart.
func (s Servers) key() string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // it came from JSON
	}
	return string(text)
}

// check refuses what makes no sense, and connects to nobody.
func (s Servers) check() error {
	if s.TLS != nil {
		if _, err := s.TLS.config(); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
	}
	return errors.Join(s.checkURLs(), s.checkPowers(), s.checkNumbers())
}

// checkText is what of check can be done where a configuration is written, which
// may be another machine than where it runs: without files, and without values of
// placeholders.
func (s Servers) checkText() error {
	s.TLS = nil
	if !literal(s.Broker) || !literal(s.Backend) {
		return nil
	}
	return s.checkURLs()
}

// literal reports whether all of a URL is known, and it names no files.
func literal(url string) bool {
	return !arguments.HasPlaceholder(url) && !strings.Contains(url, "ssl_")
}

func (s Servers) checkURLs() error {
	if s.Broker == "" {
		return errors.New("celery needs a broker: set 'broker'")
	}
	broker, err := schemeOf(s.Broker)
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	if err := broker.check(&s, s.Broker); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	if s.Backend == "" || s.Backend == rpc {
		return nil
	}
	backend, err := schemeOf(s.Backend)
	switch {
	case strings.HasPrefix(s.Backend, rpc):
		return fmt.Errorf("backend: results come through the broker, write '%s' alone", rpc)
	case err != nil:
		return fmt.Errorf("backend: %w, or %s", err, rpc)
	case backend.backend == nil:
		return fmt.Errorf("backend: such a server keeps no results, want Redis or %s", rpc)
	}
	if err := backend.check(&s, s.Backend); err != nil {
		return fmt.Errorf("backend: %w", err)
	}
	return nil
}

// checkPowers refuses settings that the servers do not have.
func (s Servers) checkPowers() error {
	var errs []error
	fail := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New(text))
		}
	}
	has := func(scheme string) bool {
		return strings.HasPrefix(s.Broker, scheme) || strings.HasPrefix(s.Backend, scheme) ||
			arguments.HasPlaceholder(s.Broker+s.Backend)
	}
	fail(s.BrokerPrefix != "" && isAMQP(s.Broker), "'broker_prefix' is for a Redis broker")
	fail(s.ResultPrefix != "" && s.Backend == rpc, "'result_prefix' is for a Redis backend")
	fail(s.Poll && s.Backend == rpc, "'poll' is for a Redis backend")
	fail(s.MasterName != "" && !has("sentinel://"), "'master_name' is for sentinel://")
	fail(s.SentinelPassword != "" && !has("sentinel://"), "'sentinel_password' is for sentinel://")
	fail(s.TLS != nil && !has("rediss://") && !has("amqps://") && !has("sentinel://"),
		"'tls' is for rediss://, amqps:// and sentinel://")
	return errors.Join(errs...)
}

func isAMQP(url string) bool {
	name, _, _ := strings.Cut(url, "://")
	return strings.Contains(name, "amqp")
}

func (s Servers) checkNumbers() error {
	if s.Connections < 0 || s.ServerTimeout < 0 || s.ReconnectTimeout < 0 || s.MaxResult < 0 {
		return errors.New("connections, server_timeout, reconnect_timeout and max_result must not be negative")
	}
	return nil
}

// mayUseTLS reports whether TLS can be meant by a URL. Those of Sentinel do not
// tell.
func mayUseTLS(url string) bool {
	name, _, _ := strings.Cut(url, "://")
	return name == "rediss" || name == "amqps" || name == "sentinel"
}

// tlsFor returns the configuration for a server. It is nil where nothing is set.
func (s *Servers) tlsFor(url string) (*tls.Config, error) {
	if s.TLS == nil || !mayUseTLS(url) {
		return nil, nil
	}
	return s.TLS.config()
}

// config reads the files.
func (t *TLS) config() (*tls.Config, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // what the user has asked for
	}
	if len(t.TrustedCA) > 0 {
		config.RootCAs = x509.NewCertPool()
	}
	for _, file := range t.TrustedCA {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in '%s'", file)
		}
	}
	if t.Certificate == "" && t.Key == "" {
		return config, nil
	}
	pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
	if err != nil {
		return nil, err
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}
