package sidecar

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

func (s *sidecar) run() (int, error) {
	text, from, err := s.prepare()
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if s.print {
		_, err := os.Stdout.Write(text)
		return caddy.ExitCodeSuccess, err
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": "flags"})
	if err != nil {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("%w (see --print for the lines)", err)
	}
	caddy.TrapSignals()
	if err := caddy.Load(config, true); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	fmt.Fprintf(os.Stderr, "caddy offload: %s -> %s\n", from, strings.Join(s.to, " "))
	for _, o := range s.options {
		if len(o.why) > 0 {
			fmt.Fprintf(os.Stderr, "caddy offload: --%s %s, for %s\n", o.flag(), o.value, strings.Join(o.why, "; "))
		}
	}
	select {} // until a signal ends the process
}

// prepare writes the Caddyfile and, unless it is only printed, checks that its addresses
// are free: on Linux two servers can listen on one address, and each gets a part of the
// other's requests.
func (s *sidecar) prepare() ([]byte, listenAddress, error) {
	from, err := parseFrom(s.from)
	if err != nil {
		return nil, from, err
	}
	if !s.print {
		s.chooseAdmin()
		if s.admin != adminAuto && s.admin != "off" && answers(s.admin) {
			return nil, from, fmt.Errorf("--admin %s: another server listens there", s.admin)
		}
		if answers(from.network()) {
			return nil, from, fmt.Errorf("--from %s: another server listens there", s.from)
		}
	}
	text, err := s.caddyfile()
	return text, from, err
}

// adminAuto is the default address of the admin endpoint, or no endpoint if another
// server has that address: on Linux both could listen, and a reload of one would reach
// the other.
const adminAuto = "auto"

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
