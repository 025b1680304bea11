package sidecar

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// check rejects values of flags that would mean something else in a Caddyfile, and replaces
// short forms.
func (s *sidecar) check() error {
	if len(s.to) == 0 {
		return errors.New("--to is required: the address of the service, such as 127.0.0.1:8000")
	}
	for i, to := range s.to {
		address, err := parseTo(to)
		if err != nil {
			return fmt.Errorf("--to %s: %w", strconv.Quote(to), err)
		}
		s.to[i] = address
	}
	for _, path := range s.match {
		if err := checkMatch(path); err != nil {
			return fmt.Errorf("--match %s: %w", strconv.Quote(path), err)
		}
	}
	if s.admin != adminAuto && s.admin != "off" {
		if address, err := caddy.ParseNetworkAddress(s.admin); err != nil {
			return fmt.Errorf("--admin %s: %w", strconv.Quote(s.admin), err)
		} else if address.PortRangeSize() != 1 {
			return fmt.Errorf("--admin %s: want one address, as in localhost:2020", strconv.Quote(s.admin))
		}
	}
	if s.ready != "" && (!strings.HasPrefix(s.ready, "/") || strings.Contains(s.ready, "*")) {
		return fmt.Errorf("--ready %s: want one path, as in /ready", strconv.Quote(s.ready))
	}
	return nil
}

// parseTo reads the address of a service. A port alone is a port of this machine.
func parseTo(text string) (string, error) {
	if strings.TrimSpace(text) != text || text == "" {
		return "", errors.New("an address is host:port, as in 127.0.0.1:8000")
	}
	if port := strings.TrimPrefix(text, ":"); isNumber(port) {
		port, err := checkPort(port)
		return "127.0.0.1:" + port, err
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		scheme, rest = "", text
	}
	if _, path, found := strings.Cut(rest, "/"); found && !strings.HasPrefix(text, "unix") {
		if path == "" {
			return strings.TrimSuffix(text, "/"), nil
		}
		return "", fmt.Errorf("the address of a service has no path: write %s, and a Caddyfile to rewrite paths", strings.TrimSuffix(text, "/"+path))
	}
	switch scheme {
	case "", "http", "https", "h2c":
		return text, nil
	}
	return "", fmt.Errorf("an address begins with http://, https:// or h2c://, not %s://", scheme)
}

// checkMatch rejects a path that matches no request.
func checkMatch(path string) error {
	switch {
	case path == "":
		return errors.New("a path is missing, as in '/report/*'")
	case strings.HasPrefix(path, "@"):
		return errors.New("named matchers exist in a Caddyfile only: write the paths, as in '/report/*'")
	case strings.ContainsAny(path[:1], "/*{"):
		return nil
	}
	return fmt.Errorf("paths begin with '/': write --match '/%s'", path)
}

// hints returns advice about flags that are valid, and may have been meant differently.
func (s *sidecar) hints() (hints []string) {
	for _, path := range s.match {
		if strings.HasPrefix(path, "/") && !strings.Contains(path, "*") {
			below := strings.TrimSuffix(path, "/") + "/*"
			hints = append(hints, fmt.Sprintf("--match %s is this one path: for the paths below it add --match '%s'", path, below))
		}
	}
	return hints
}
