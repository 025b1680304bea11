package sidecar

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

func (s *sidecar) run() error {
	from, err := s.prepare()
	if err != nil {
		return err
	}
	text, err := s.caddyfile()
	if err != nil {
		return err
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": "flags"})
	if err != nil {
		return s.inFlags(string(text), err)
	}
	if s.print {
		return s.show(text, config)
	}
	caddy.TrapSignals()
	if err := caddy.Load(config, true); err != nil {
		return s.atStart(string(text), err)
	}
	s.announce(os.Stderr, from)
	select {} // until a signal ends the process
}

// prepare checks the flags and, unless the Caddyfile is only printed, that the addresses
// are free: on Linux two servers can listen on one address, and each gets a part of the
// other's requests.
func (s *sidecar) prepare() (listenAddress, error) {
	if err := s.check(); err != nil {
		return listenAddress{}, err
	}
	from, err := parseFrom(s.from)
	if err != nil || s.print {
		return from, err
	}
	s.chooseAdmin()
	if s.admin != adminAuto && s.admin != "off" && answers(s.admin) {
		return from, fmt.Errorf("--admin %s: another server listens there", s.admin)
	}
	if answers(from.network()) {
		return from, fmt.Errorf("--from %s: another server listens there", s.from)
	}
	return from, nil
}

// show prints the Caddyfile if Caddy would load it.
func (s *sidecar) show(text, config []byte) error {
	var c caddy.Config
	if err := json.Unmarshal(config, &c); err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	// Caddy logs while it checks the configuration, but the output must be only the
	// Caddyfile.
	c.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{Level: "ERROR"}},
	}}
	if err := caddy.Validate(&c); err != nil {
		return s.atStart(string(text), err)
	}
	for _, hint := range s.hints() {
		fmt.Fprintln(os.Stderr, "caddy offload:", hint)
	}
	_, err := os.Stdout.Write(text)
	return err
}

// atStart adds the flag that an error at the start is about.
func (s *sidecar) atStart(text string, err error) error {
	message := err.Error()
	switch {
	case strings.Contains(message, "listening on"):
		return fmt.Errorf("--from %s: %w", s.from, err)
	case strings.Contains(message, "admin"):
		return fmt.Errorf("--admin %s: %w", s.admin, err)
	}
	return s.inFlags(text, err)
}

// chooseAdmin replaces adminAuto by "off" if another server has the default address.
func (s *sidecar) chooseAdmin() {
	if s.admin != adminAuto || !answers(caddy.DefaultAdminListen) {
		return
	}
	s.admin = "off"
	fmt.Fprintf(os.Stderr, "caddy offload: another server has its admin endpoint at %s; this one has none, so commands do not reach it (see --admin)\n",
		caddy.DefaultAdminListen)
}

// answers reports whether a server listens at an address.
func answers(address string) bool {
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		return false
	}
	conn, err := net.DialTimeout(parsed.Network, parsed.JoinHostPort(0), time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
