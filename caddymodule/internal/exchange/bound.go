package exchange

import (
	"context"
	"net/http"
	"net/url"
)

type exchangeKey struct{}

// Key is the key of the [*Exchange] in the context of a request.
var Key any = exchangeKey{}

// of returns the exchange that a request belongs to, nil without one.
func of(ctx context.Context) *Exchange {
	x, _ := ctx.Value(Key).(*Exchange)
	return x
}

// Bound prevents a transport from sending requests of an exchange again by itself. It must
// be called before the transport is used.
func Bound(t *http.Transport) {
	proxy := t.Proxy
	t.Proxy = func(req *http.Request) (*url.URL, error) {
		if x := of(req.Context()); x != nil && !x.sends.try(t, req) {
			return nil, errAgain
		}
		if proxy == nil {
			return nil, nil //nolint:nilnil // this is how http.Transport.Proxy says "no proxy"
		}
		return proxy(req)
	}
}
