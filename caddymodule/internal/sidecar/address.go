package sidecar

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// listenAddress is the address that a sidecar listens on. It is not a site address of a
// Caddyfile: the host of that selects requests, and the site opens further ports for
// certificates and redirects.
type listenAddress struct {
	tls  bool
	host string // of the listener, empty for every address
	port string
	unix string // the socket as a network address of Caddy, instead of host and port
}

// Ports that imply a scheme for Caddy.
const (
	portHTTP  = "80"
	portHTTPS = "443"
)

// parseFrom reads the value of --from.
func parseFrom(text string) (listenAddress, error) {
	a, err := parseAddress(text)
	if err != nil {
		return a, fmt.Errorf("--from %s: %w", strconv.Quote(text), err)
	}
	return a, nil
}

func parseAddress(text string) (a listenAddress, err error) {
	if path, ok := strings.CutPrefix(text, "unix/"); ok {
		if name, _, _ := strings.Cut(path, "|"); name == "" || strings.ContainsAny(path, "{}\r\n") {
			return a, errors.New("a socket is unix/ and a path, as in unix//run/offload.sock")
		}
		return listenAddress{unix: text}, nil
	}
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		switch strings.ToLower(scheme) {
		case "http":
			a.port = portHTTP
		case "https":
			a.tls, a.port = true, portHTTPS
		default:
			return a, fmt.Errorf("an address begins with http:// or https://, not %s://", scheme)
		}
		text = strings.TrimSuffix(rest, "/")
	}
	if text == "" {
		return a, errors.New("an address is missing, as in 127.0.0.1:8080")
	}
	if a.host, a.port, err = splitAddress(text, a.port); err != nil {
		return a, err
	}
	if ip, err := netip.ParseAddr(a.host); a.tls && (a.host == "" || err == nil && (ip.IsUnspecified() || ip.Zone() != "")) {
		return a, errors.New("https:// needs a host for its certificate, as in https://localhost:8443")
	}
	return a, nil
}

// splitAddress reads a host and a port. A port alone means every address; a host alone
// has the port of its scheme, if any.
func splitAddress(text, port string) (host, _ string, err error) {
	if strings.Contains(text, "/") {
		return "", "", errors.New("an address to listen on has no path (see --match)")
	}
	inBrackets := strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]")
	switch {
	case isNumber(text):
		port = text
	case isIPv6(text):
		return "", "", fmt.Errorf("an IPv6 address needs brackets, as in [%s]:8080", text)
	case inBrackets || !strings.Contains(text, ":"):
		if port == "" {
			return "", "", fmt.Errorf("a port is missing, as in %s:8080", text)
		}
		host = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	default:
		if host, port, err = net.SplitHostPort(text); err != nil {
			return "", "", errors.New("an address is [host]:port, with an IPv6 address in brackets")
		}
	}
	if port, err = checkPort(port); err != nil {
		return "", "", err
	}
	return host, port, checkHost(host, text)
}

// checkPort returns the port in Caddy's form.
func checkPort(port string) (string, error) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return "", fmt.Errorf("a port is a number from 1 to 65535, not %s", strconv.Quote(port))
	}
	return strconv.FormatUint(number, 10), nil
}

// checkHost rejects hosts that no listener can be bound to, before they are resolved. The
// resolver decides whether a name belongs to this machine.
func checkHost(host, text string) error {
	if host == "" {
		return nil
	}
	if inBrackets := strings.HasPrefix(text, "["); inBrackets || isIPv6(host) {
		if inBrackets && isIPv6(host) && !strings.ContainsAny(host, "{}") {
			return nil
		}
		return notAHost(host)
	}
	last := strings.TrimSuffix(host, ".")
	last = last[strings.LastIndex(last, ".")+1:]
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if last == "" || isNumber(last) || strings.Trim(host, hostLetters) != "" || len(host) > 253 {
		return notAHost(host)
	}
	return nil
}

func notAHost(host string) error {
	return fmt.Errorf("%s is neither a name nor an address of a host (to listen on every address, write :8080)", strconv.Quote(host))
}

func isIPv6(text string) bool {
	ip, err := netip.ParseAddr(text)
	return err == nil && ip.Is6()
}

const hostLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

func isNumber(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// String returns the address as clients write it.
func (a listenAddress) String() string {
	switch {
	case a.unix != "":
		return a.unix
	case a.tls:
		return "https://" + net.JoinHostPort(a.host, a.port)
	case a.host == "":
		return "http://:" + a.port
	default:
		return "http://" + net.JoinHostPort(a.host, a.port)
	}
}

// network returns the address in the form of Caddy's listeners.
func (a listenAddress) network() string {
	if a.unix != "" {
		return a.unix
	}
	return net.JoinHostPort(a.host, a.port)
}

// globalOptions returns the global options with which the site opens nothing but its
// listener: no redirects on port 80, no HTTP/3, no root certificate in the stores of this
// machine. A client that names another host gets the only certificate.
func (a listenAddress) globalOptions() []string {
	var lines []string
	if a.tls == (a.port == portHTTP) && (a.port == portHTTP || a.port == portHTTPS) {
		// Caddy forbids the port of the other scheme unless the two are swapped.
		lines = append(lines, "http_port "+portHTTPS, "https_port "+portHTTP)
	}
	if a.tls {
		lines = append(lines, "auto_https disable_redirects", "skip_install_trust", "default_sni "+a.host, "fallback_sni "+a.host)
		lines = append(lines, block("servers", []string{"protocols h1 h2"})...)
	}
	return lines
}

// site returns the addresses of the site block. It contains no host except that of the
// certificate, and then serves all other hosts too: a site of one host answers requests for
// others with status 200 and no body, which looks like a healthy service.
func (a listenAddress) site() string {
	switch {
	case a.unix != "":
		return "http://"
	case a.tls:
		return "https://" + net.JoinHostPort(a.host, a.port) + ", https://:" + a.port
	default:
		return "http://:" + a.port
	}
}

// lines returns the lines that bind the site block to the address.
func (a listenAddress) lines() ([]string, error) {
	listener := a.host
	if a.unix != "" {
		listener = a.unix
	}
	var lines []string
	if listener != "" {
		bind, err := quote(listener)
		if err != nil {
			return nil, err
		}
		lines = append(lines, "bind "+bind)
	}
	if a.tls {
		lines = append(lines, "tls internal")
	}
	return lines, nil
}
