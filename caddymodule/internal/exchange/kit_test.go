package exchange_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/exchange"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// errLeft is why runs leave.
var errLeft = errors.New("the run leaves")

// owner is a run of which all can be set and seen.
type owner struct {
	refuses  error
	resends  int
	outlasts bool
	endless  bool
	suspects bool

	sent  atomic.Int32
	again atomic.Int32 // sends after one that the backend may have noticed
	ends  atomic.Int32
	began chan *exchange.Exchange
	ended chan bool // whether it was cut
	x     atomic.Pointer[exchange.Exchange]
}

func newOwner() *owner {
	return &owner{resends: 1, outlasts: true, began: make(chan *exchange.Exchange, 1), ended: make(chan bool, 1)}
}

func (o *owner) Begin(x *exchange.Exchange) error {
	if o.refuses != nil {
		return o.refuses
	}
	o.x.Store(x)
	o.began <- x
	return nil
}

func (o *owner) Send(req *http.Request) *http.Request {
	o.sent.Add(1)
	return req
}

func (o *owner) Resends() int             { return o.resends }
func (o *owner) Noticed()                 { o.again.Add(1) }
func (o *owner) Suspects() bool           { return o.suspects }
func (o *owner) Endless(http.Header) bool { return o.endless }
func (o *owner) Outlasts() bool           { return o.outlasts }
func (o *owner) End(_ *exchange.Exchange, cut bool) {
	o.ends.Add(1)
	o.ended <- cut
}

// wantEnd waits until the backend is known to have ended.
func (o *owner) wantEnd(t *testing.T, cut bool) {
	t.Helper()
	if got := testkit.Receive(t, o.ended); got != cut {
		t.Errorf("cut: %v, want %v", got, cut)
	}
}

// wantGoingOn fails if the backend is taken to have ended.
func (o *owner) wantGoingOn(t *testing.T) {
	t.Helper()
	if n := o.ends.Load(); n != 0 {
		t.Fatal("it has ended while the backend works")
	}
}

// within leads a request to the exchange of its owner, as the context of a run does.
type within struct {
	context.Context
	o *owner
}

func (w within) Value(key any) any {
	if key == exchange.Key {
		return w.o.x.Load()
	}
	return w.Context.Value(key)
}

// of gives req to an owner.
func (o *owner) of(req *http.Request) *http.Request {
	return req.WithContext(within{req.Context(), o})
}

// backend is a server and the transport to it.
type backend struct {
	url string
	*http.Transport
}

var versions = []string{"h1", "h2", "h2c"}

// serve starts a server of a version of HTTP.
func serve(t *testing.T, version string, h http.HandlerFunc) backend {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	switch version {
	case "h1":
		s.Start()
	case "h2":
		s.EnableHTTP2 = true
		s.StartTLS()
		transport = s.Client().Transport.(*http.Transport)
	case "h2c":
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		s.Config.Protocols, transport.Protocols = protocols, protocols
		s.Start()
	}
	exchange.Bound(transport)
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.CloseClientConnections()
		s.Close()
	})
	return backend{s.URL, transport}
}

// eachVersion runs f for each version of HTTP.
func eachVersion(t *testing.T, h http.HandlerFunc, f func(t *testing.T, b backend)) {
	t.Helper()
	for _, version := range versions {
		t.Run(version, func(t *testing.T) { f(t, serve(t, version, h)) })
	}
}

func request(t *testing.T, method, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}
