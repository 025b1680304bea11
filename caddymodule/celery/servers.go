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

// Servers are the broker and the result backend. Routes with equal servers share their
// connections, also across reloads.
type Servers struct {
	// The broker: `redis://`, `rediss://`, `redis+socket://`, several of
	// `sentinel://` separated by semicolons, `amqp://` or `amqps://`.
	// Placeholders of the environment and of files are allowed. Required.
	Broker string `json:"broker,omitempty"`

	// The result backend: a Redis as above, or `rpc://`. Placeholders as above.
	// Required unless `result` is `none`.
	Backend string `json:"backend,omitempty"`

	// The `global_keyprefix` in the workers' `broker_transport_options`. Redis only.
	// Default: none.
	BrokerPrefix string `json:"broker_prefix,omitempty"`

	// The prefix of the keys of results. Redis only. Default: `celery-task-meta-`.
	ResultPrefix string `json:"result_prefix,omitempty"`

	// The workers' `control_exchange`. Default: `celery`.
	ControlExchange string `json:"control_exchange,omitempty"`

	// The name of the master for `sentinel://`. Default: `master_name` in the URL.
	MasterName string `json:"master_name,omitempty"`

	// The password of the sentinels themselves. Placeholders as above. Default:
	// none.
	SentinelPassword string `json:"sentinel_password,omitempty"`

	// TLS for `rediss://`, `amqps://` and `sentinel://`. Default: the options of the
	// URL, or else the system's roots.
	TLS *TLS `json:"tls,omitempty"`

	// The most connections to a Redis for commands. Default: 8.
	Connections int `json:"connections,omitempty"`

	// The longest wait for a connection to a server, and for a reply. Default: 5s.
	ServerTimeout caddy.Duration `json:"server_timeout,omitempty"`

	// The longest wait of requests for a lost connection to a server. Default: 30s.
	ReconnectTimeout caddy.Duration `json:"reconnect_timeout,omitempty"`

	// The largest result in bytes. Default: 16 MiB.
	MaxResult int64 `json:"max_result,omitempty"`

	// Polls Redis for results, for servers that do not allow subscriptions.
	Poll bool `json:"poll,omitempty"`
}

// TLS configures the connections to servers.
type TLS struct {
	// The files of certificates that sign those of the servers. Default: the system's
	// roots.
	TrustedCA []string `json:"trusted_ca,omitempty"`
	// The files of the client certificate and its key.
	Certificate string `json:"certificate,omitempty"`
	Key         string `json:"key,omitempty"`
	// The name in the servers' certificates. Default: the host of the URL.
	ServerName string `json:"server_name,omitempty"`
	// Accepts any certificate. For tests.
	InsecureSkipVerify bool `json:"insecure_skip_verify,omitempty"`
}

// scheme opens the servers of a URL scheme.
type scheme struct {
	// check validates the settings without a connection.
	check  func(s *Servers, url string) error
	broker func(s *Servers) (celery.Broker, error)
	// backend is nil for servers that store no results.
	backend func(s *Servers) (celery.Backend, error)
	// replies opens the backend rpc:// on a broker of this scheme.
	replies func(s *Servers) (celery.Backend, error)
}

// schemes by name, without "://".
var schemes = make(map[string]scheme)

// schemeNames are listed in errors, with "://".
var schemeNames []string

// register adds a scheme under its names. Only init functions call it.
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

// expand returns the servers with placeholders replaced. The receiver keeps its placeholders,
// since it is stored with the configuration.
func (s Servers) expand() Servers {
	repl := caddy.NewReplacer()
	s.Broker = repl.ReplaceKnown(s.Broker, "")
	s.Backend = repl.ReplaceKnown(s.Backend, "")
	s.SentinelPassword = repl.ReplaceKnown(s.SentinelPassword, "")
	return s
}

// key returns the servers as a key of links.
func (s Servers) key() string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // cannot happen: the value came from JSON
	}
	return string(text)
}

// check validates the servers without a connection.
func (s Servers) check() error {
	if s.TLS != nil {
		if _, err := s.TLS.config(); err != nil {
			return fmt.Errorf("tls: %w", err)
		}
	}
	return errors.Join(s.checkURLs(), s.checkSupported(), s.checkNumbers())
}

// checkText does the part of check that needs neither files nor values of placeholders: a
// Caddyfile may be adapted on another machine than the one that runs it.
func (s Servers) checkText() error {
	s.TLS = nil
	if !literal(s.Broker) || !literal(s.Backend) {
		return nil
	}
	return s.checkURLs()
}

// literal reports whether a URL has no placeholder and names no file.
func literal(url string) bool {
	return !arguments.HasPlaceholder(url) && !strings.Contains(url, "ssl_")
}

// checkURLs validates the URLs by their schemes. Errors must not show a URL, which may contain a
// password.
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
		return fmt.Errorf("backend: '%s' stands for the broker and takes no address: write it alone", rpc)
	case err != nil:
		return fmt.Errorf("backend: %w, or %s", err, rpc)
	case backend.backend == nil:
		return fmt.Errorf("backend: this server stores no results, want Redis or %s", rpc)
	}
	if err := backend.check(&s, s.Backend); err != nil {
		return fmt.Errorf("backend: %w", err)
	}
	return nil
}

// checkSupported rejects settings that do not apply to the schemes of the URLs.
func (s Servers) checkSupported() error {
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

// mayUseTLS reports whether a URL can stand for TLS. The scheme of Sentinel leaves it open.
func mayUseTLS(url string) bool {
	name, _, _ := strings.Cut(url, "://")
	return name == "rediss" || name == "amqps" || name == "sentinel"
}

// tlsFor returns the configuration for a server, or nil if none is set.
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
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // by the user's choice
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
