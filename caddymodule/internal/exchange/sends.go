package exchange

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
)

// A [http.Transport] sends a request again by itself when the connection ends without an
// answer: once for each idle connection that it has. A backend whose workers die of a
// request loses all of them to one client. So the transport is kept from it, by the one
// function of its that runs before each try, and the exchange decides.

// errAgain is what a transport gets that is about to send again.
var errAgain = errors.New("the transport would send again")

// sends are those of one exchange.
type sends struct {
	tries   int  // of the transport, in one call
	resends int  // that the backend may have noticed
	traced  bool // wrote is known
	wrote   atomic.Bool
}

// Bound keeps a transport from sending again by itself what belongs to an exchange. It
// must be called before the transport is used.
func Bound(t *http.Transport) {
	proxy := t.Proxy
	t.Proxy = func(req *http.Request) (*url.URL, error) {
		if x := of(req.Context()); x != nil {
			if x.sends.tries++; x.sends.tries > 1 {
				return nil, errAgain
			}
		}
		if proxy == nil {
			return nil, nil //nolint:nilnil // this is how http.Transport.Proxy says "no proxy"
		}
		return proxy(req)
	}
}

// send sends the request, and again where that is right.
func (x *Exchange) send(req *http.Request) (*http.Response, error) {
	for {
		x.sends.tries = 0
		x.owner.Sent()
		res, err := x.inner.RoundTrip(req)
		if !errors.Is(err, errAgain) {
			return res, err
		}
		if req, err = x.again(req); err != nil {
			return nil, err
		}
	}
}

// again prepares a request for the next send, or says why there is none. To send again
// what the backend cannot have noticed is always right, and bounded by the number of
// idle connections.
func (x *Exchange) again(req *http.Request) (*http.Request, error) {
	if x.noticed(req) {
		if x.sends.resends >= x.owner.Resends() {
			return nil, fmt.Errorf("the backend closed the connection without an answer, %d times: not sent again", x.sends.resends+1)
		}
		x.sends.resends++
	}
	next := req.WithContext(x.trace(req.Context()))
	if req.GetBody != nil {
		var err error
		if next.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// noticed reports whether the backend may have noticed the last send. A transport sends
// a request that is not idempotent again only if nothing of it was written.
func (x *Exchange) noticed(req *http.Request) bool {
	if x.sends.traced {
		return x.sends.wrote.Load()
	}
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	_, key := req.Header["Idempotency-Key"]
	_, xKey := req.Header["X-Idempotency-Key"]
	return key || xKey
}

// trace makes the next send tell whether it has written anything. The first one does
// without: a trace costs more than most requests have to spare.
func (x *Exchange) trace(ctx context.Context) context.Context {
	x.sends.wrote.Store(false)
	if x.sends.traced {
		return ctx
	}
	x.sends.traced = true
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { x.sends.wrote.Store(true) },
	})
}
