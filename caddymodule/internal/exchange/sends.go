package exchange

import (
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

func (s *sends) reset() {
	s.tries, s.resends, s.traced = 0, 0, false
	s.wrote.Store(false)
}

// Bound keeps a transport from sending again by itself what belongs to an exchange. It
// must be called before the transport is used.
func Bound(t *http.Transport) {
	proxy := t.Proxy
	t.Proxy = func(req *http.Request) (*url.URL, error) {
		if x := of(req.Context()); x != nil {
			if x.sends.tries++; x.sends.tries > 1 && !once(req) {
				return nil, errAgain
			}
		}
		if proxy == nil {
			return nil, nil //nolint:nilnil // this is how http.Transport.Proxy says "no proxy"
		}
		return proxy(req)
	}
}

// once reports whether a request has a body that cannot be sent twice. A transport tries
// again with it only before it has read of it, when an idle connection turns out to be
// useless. It closes the body if it is kept from that.
func once(req *http.Request) bool {
	return req.Body != nil && req.Body != http.NoBody && req.GetBody == nil
}

// send sends the request, and again where that is right.
func (x *Exchange) send(req *http.Request) (*http.Response, error) {
	if x.owner.Resends() == 0 { // then the first send must be traced
		req = x.traced(req)
	}
	for {
		if left := x.leaving(); left != nil { // no caller would get the answer
			closeBody(req)
			return nil, left
		}
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
	next := x.traced(req)
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
	return replayable(req) && (!x.sends.traced || x.sends.wrote.Load())
}

// replayable is how a transport decides it.
func replayable(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	_, key := req.Header["Idempotency-Key"]
	_, xKey := req.Header["X-Idempotency-Key"]
	return key || xKey
}

// traced returns a copy of the request whose send reports whether the backend may notice
// it, as far as a transport says so. The first one does without where there is a resend
// to lose: a trace costs more than most requests have to spare.
func (x *Exchange) traced(req *http.Request) *http.Request {
	x.sends.wrote.Store(false)
	if x.sends.traced {
		return req.WithContext(req.Context())
	}
	x.sends.traced = true
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		WroteHeaders: func() { x.sends.wrote.Store(true) },
	}))
}
