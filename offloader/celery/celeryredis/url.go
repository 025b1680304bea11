package celeryredis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/caddy-offload/caddy-offload/offloader/celery/internal/authority"
)

// address is a parsed URL of a Redis server, in Celery's form.
type address struct {
	network   string
	addr      string   // host and port, or path of the socket
	sentinels []string // empty without Sentinel
	master    string
	username  string
	password  string
	db        int
	tls       *tls.Config
}

const (
	redisPort    = "6379"
	sentinelPort = "26379"
)

// parseURL parses a URL in Celery's form. Several of sentinel:// are separated by semicolons.
func parseURL(text string) (address, error) {
	var a address
	if err := authority.Check(text); err != nil {
		return a, err
	}
	for i, part := range strings.Split(text, ";") {
		u, err := url.Parse(part)
		if err != nil {
			return a, errors.New("not a URL") // err would show the password
		}
		if i > 0 && (u.Scheme != "sentinel" || a.sentinels == nil) {
			return a, errors.New("only sentinel:// URLs can be given as a list")
		}
		if err := a.read(u); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (a *address) read(u *url.URL) error {
	query := u.Query()
	a.username = u.User.Username()
	a.password, _ = u.User.Password()
	db := strings.Trim(u.Path, "/")
	switch u.Scheme {
	case "redis", "rediss":
		a.network, a.addr = "tcp", hostPort(u, redisPort)
		if u.Scheme == "rediss" {
			a.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
		}
	case "sentinel":
		a.network = "tcp"
		a.sentinels = append(a.sentinels, hostPort(u, sentinelPort))
	case "unix", "socket", "redis+socket":
		a.network, a.addr, db = "unix", u.Path, ""
	default:
		return fmt.Errorf("unknown scheme '%s': want redis, rediss, sentinel, or redis+socket", u.Scheme)
	}
	if query.Has("virtual_host") {
		db = strings.Trim(query.Get("virtual_host"), "/")
	}
	return errors.Join(a.readDB(db), a.readOptions(query))
}

func hostPort(u *url.URL, port string) string {
	host := u.Hostname()
	if host == "" {
		host = "localhost"
	}
	if p := u.Port(); p != "" {
		port = p
	}
	return net.JoinHostPort(host, port)
}

func (a *address) readDB(text string) error {
	if text == "" {
		return nil
	}
	db, err := strconv.Atoi(text)
	if err != nil || db < 0 {
		return fmt.Errorf("bad database '%s': want a whole number from 0", text)
	}
	a.db = db
	return nil
}

// readOptions reads the query of the URL.
func (a *address) readOptions(query url.Values) error {
	for name := range query {
		value := query.Get(name)
		switch name {
		case "virtual_host":
		case "master_name":
			a.master = value
		case "ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname":
			if a.tls == nil {
				return fmt.Errorf("option '%s' is for rediss:// only", name)
			}
		default:
			return fmt.Errorf("unknown option '%s'", name)
		}
	}
	if a.tls == nil {
		return nil
	}
	return a.readTLS(query)
}

func (a *address) readTLS(query url.Values) error {
	switch reqs := strings.ToLower(strings.TrimPrefix(query.Get("ssl_cert_reqs"), "CERT_")); reqs {
	case "", "required", "optional": // for clients, Python's CERT_OPTIONAL equals CERT_REQUIRED
	case "none":
		a.tls.InsecureSkipVerify = true // by the user's choice
	default:
		return fmt.Errorf("unknown ssl_cert_reqs '%s': want required, optional or none", reqs)
	}
	if name := query.Get("ssl_ca_certs"); name != "" {
		pem, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("ssl_ca_certs: %w", err)
		}
		a.tls.RootCAs = x509.NewCertPool()
		if !a.tls.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ssl_ca_certs: no certificate in '%s'", name)
		}
	}
	if name := query.Get("ssl_certfile"); name != "" {
		pair, err := tls.LoadX509KeyPair(name, query.Get("ssl_keyfile"))
		if err != nil {
			return fmt.Errorf("ssl_certfile: %w", err)
		}
		a.tls.Certificates = []tls.Certificate{pair}
	}
	return nil
}
