package celery

import (
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Server is a broker and a backend of a test.
type Server interface {
	celery.Broker
	celery.Backend
}

// RegisterServer makes URLs that begin with a scheme lead to what open returns for
// what follows.
func RegisterServer(name string, open func(name string) (Server, error)) {
	server := func(url string) (Server, error) { return open(strings.TrimPrefix(url, name+"://")) }
	schemes[name] = scheme{
		check:   func(*Servers, string) error { return nil },
		broker:  func(s *Servers) (celery.Broker, error) { return server(s.Broker) },
		backend: func(s *Servers) (celery.Backend, error) { return server(s.Backend) },
		replies: func(s *Servers) (celery.Backend, error) {
			backend, err := server(s.Broker)
			return struct{ celery.Backend }{backend}, err // which keeps nothing
		},
	}
}

// Links returns how many links are held.
func Links() int {
	n := 0
	links.Range(func(any, any) bool { n++; return true })
	return n
}

// KeepAliveAfter sets how long a stream may be silent, and returns what undoes
// that.
func KeepAliveAfter(d time.Duration) (undo func()) {
	before := keepAlive
	keepAlive = d
	return func() { keepAlive = before }
}

// Match reports whether a name matches a pattern.
var Match = match
