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

// RegisterServer registers a scheme of URLs. open gets the rest of the URL.
func RegisterServer(name string, open func(name string) (Server, error)) {
	server := func(url string) (Server, error) { return open(strings.TrimPrefix(url, name+"://")) }
	schemes[name] = scheme{
		check:   func(*Servers, string) error { return nil },
		broker:  func(s *Servers) (celery.Broker, error) { return server(s.Broker) },
		backend: func(s *Servers) (celery.Backend, error) { return server(s.Backend) },
		replies: func(s *Servers) (celery.Backend, error) {
			backend, err := server(s.Broker)
			return struct{ celery.Backend }{backend}, err // stores no results
		},
	}
}

// Links returns the number of held links.
func Links() int {
	n := 0
	links.all.Range(func(any, any) bool { n++; return true })
	return n
}

// KeepAliveAfter sets the longest silence of a stream, and returns a function that resets it.
func KeepAliveAfter(d time.Duration) (undo func()) {
	before := keepAlive
	keepAlive = d
	return func() { keepAlive = before }
}

// Match reports whether a name matches a pattern.
var Match = match
