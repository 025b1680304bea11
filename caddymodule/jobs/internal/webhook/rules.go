package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxURL is the longest URL of an endpoint in bytes.
const maxURL = 2048

// rules say which endpoints may be called.
type rules struct {
	hosts   []string // patterns of hosts
	anyHost bool     // the URL is the operator's: its host needs no pattern
	ports   []int
	http    bool
	guard   guard
}

// check returns the URL of an endpoint if it follows the rules. Its errors are for the client
// that has named the URL. It resolves no name: the guard checks addresses when it connects.
func (r *rules) check(text string) (*url.URL, error) {
	if len(text) > maxURL {
		return nil, fmt.Errorf("it is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Host == "" || u.Fragment != "" {
		return nil, errors.New("want an absolute URL such as https://example.com/hook")
	}
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !r.http):
		return nil, errors.New("want https")
	case u.User != nil:
		return nil, errors.New("it must hold no user name")
	}
	if err := r.checkPort(u); err != nil {
		return nil, err
	}
	return u, r.checkHost(u.Hostname())
}

func (r *rules) checkPort(u *url.URL) error {
	text := u.Port()
	if text == "" {
		text = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	if port, err := strconv.Atoi(text); err != nil || !slices.Contains(r.ports, port) {
		return fmt.Errorf("port %s is not allowed: 'allow_port' is %v", text, r.ports)
	}
	return nil
}

// checkHost checks a name or an address.
func (r *rules) checkHost(host string) error {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	addr, err := netip.ParseAddr(host)
	isAddress := err == nil
	switch {
	case !isAddress && !isName(host):
		return errors.New("its host is neither a name nor an address")
	case isAddress && (addr.Zone() != "" || r.guard.check(addr) != nil):
		return errAddress
	}
	if !r.anyHost && !slices.ContainsFunc(r.hosts, func(p string) bool { return matches(p, host, isAddress) }) {
		return errors.New("its host is not allowed here")
	}
	return nil
}

// matches reports whether a host, in lower case, matches a pattern. Only whole patterns match
// addresses: the labels of a name are not the bytes of an address.
func matches(pattern, host string, isAddress bool) bool {
	pattern = strings.ToLower(pattern)
	suffix, wild := strings.CutPrefix(pattern, "*")
	switch {
	case !wild:
		return host == pattern
	case suffix == "":
		return true
	}
	return !isAddress && strings.HasSuffix(host, suffix)
}

// checkPattern checks a value of allow_host.
func checkPattern(pattern string) error {
	host := strings.ToLower(strings.TrimPrefix(pattern, "*."))
	if _, err := netip.ParseAddr(host); pattern != "*" && !isName(host) && (err != nil || host != pattern) {
		return fmt.Errorf("bad allow_host value '%s': want a host, '*.' and a host, or '*'", pattern)
	}
	return nil
}

// isName reports whether host is a name. Names end with a label that is no number: resolvers
// of some systems take 127.1, 2130706433 and 0x7f000001 for addresses.
func isName(host string) bool {
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	last := labels[len(labels)-1]
	return last[0] < '0' || last[0] > '9'
}
