package sidecar

import (
	"fmt"
	"io"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
)

// announce prints which requests the sidecar limits, the limits, and the command that shows
// its pools.
func (s *sidecar) announce(w io.Writer, from listenAddress) {
	lines := []string{
		fmt.Sprintf("%s -> %s", from, strings.Join(s.to, " ")),
		s.protection(),
	}
	for _, o := range s.options {
		if len(o.why) > 0 {
			lines = append(lines, fmt.Sprintf("--%s %s, for %s", o.flag(), o.value, strings.Join(o.why, "; ")))
		}
	}
	if s.jobs != "" {
		lines = append(lines, "requests with 'Prefer: respond-async' may become jobs, at "+s.jobs)
	}
	lines = append(lines, s.hints()...)
	if s.admin != "off" {
		lines = append(lines, "to look at it: "+s.look())
	}
	for _, line := range lines {
		fmt.Fprintln(w, "caddy offload:", line)
	}
}

// protection returns a line of the banner: which requests need a permit, and the limits.
func (s *sidecar) protection() string {
	what := "all requests"
	if len(s.match) > 0 {
		what = strings.Join(s.match, " ")
	}
	if s.root != "" {
		what += " but files"
	}
	concurrency, queue, wait := s.limit("concurrency"), s.limit("queue"), s.limit("max_wait")
	text := fmt.Sprintf("%s: %s at a time", what, concurrency)
	if s.balances() {
		text = fmt.Sprintf("%s: %s at a time at each address", what, s.value("upstream_concurrency"))
	}
	switch {
	case concurrency == "off" && !s.balances():
		text = what + ": any number at a time"
	case queue == "0":
		text += ", none waits"
	case wait == "off":
		text += ", " + queue + " wait"
	default:
		text += ", " + queue + " wait for " + wait + " at most"
	}
	if len(s.match) > 0 {
		text += "; other requests pass untouched"
	}
	return text
}

// limit returns the value of a setting of the pool, or its default.
func (s *sidecar) limit(name string) string {
	if value := s.value(name); value != "" {
		return value
	}
	for _, setting := range settings.Pool {
		if setting.Name == name {
			return setting.Default
		}
	}
	return ""
}

// look returns the command that shows the pools of this process.
func (s *sidecar) look() string {
	admin := s.admin
	if admin == adminAuto {
		admin = caddy.DefaultAdminListen
	}
	if admin == usualAdmin {
		return "caddy offload top"
	}
	return "caddy offload top --address '" + admin + "'"
}

// usualAdmin is the address at which the commands look for a server by default.
const usualAdmin = "localhost:2019"
