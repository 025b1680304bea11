package exchange

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// A [http.Transport] sends a request again by itself when the connection ends without an
// answer: once for each idle connection that it has. If a request makes workers of the
// backend crash, one client could crash all of them that way. So the exchange decides about
// each try, through Transport.Proxy, the only function of a transport that is called before
// each one.

// errAgain is the error for a transport that is about to send a request again.
var errAgain = errors.New("the transport is about to send the request again")

// errUnanswered is the error for a run whose request is not sent again.
var errUnanswered = errors.New("the backend closed the connection without an answer")

// Unanswered reports whether err, of a round trip, says that the connection to the backend
// could not be made or has ended without an answer. A timeout does not: the backend may still
// answer.
func Unanswered(err error) bool {
	if broken, ok := errors.AsType[*net.OpError](err); ok {
		return !broken.Timeout()
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errUnanswered)
}

// sender is the part of [Owner] that the sends need.
type sender interface {
	Send(req *http.Request) *http.Request
	Resends() int
	Noticed()
	Suspects() bool
}

// sends counts the sends of one exchange. It belongs to its worker.
type sends struct {
	state   *state
	through *http.Transport // of the last try, nil if it is another one
	tries   int             // of the transport, in one call
	resends int             // that the backend may have noticed
	traced  bool            // wrote is known
	wrote   atomic.Bool
}

// reset prepares the counters for another request.
func (s *sends) reset() {
	s.through, s.tries, s.resends, s.traced = nil, 0, 0, false
	s.wrote.Store(false)
}

// try is called by the transport before each try. It reports whether that is allowed.
func (s *sends) try(through *http.Transport, req *http.Request) bool {
	s.through = through
	s.tries++
	return s.tries == 1 || once(req)
}

// once reports whether a request has a body that cannot be sent twice. A transport tries
// again with such a body only before it has read any of it, when an idle connection turns
// out to be unusable. It closes the body if another try is not allowed.
func once(req *http.Request) bool {
	return req.Body != nil && req.Body != http.NoBody && req.GetBody == nil
}

// send sends the request through inner, and sends it again where that is allowed.
func (s *sends) send(inner http.RoundTripper, req *http.Request, owner sender) (*http.Response, error) {
	if owner.Resends() == 0 { // then the first send must be traced
		req = s.trace(req)
	}
	for {
		if left := s.state.leaving(); left != nil { // no caller would get the answer
			closeBody(req)
			return nil, left
		}
		s.tries = 0
		res, err := inner.RoundTrip(owner.Send(req))
		again := errors.Is(err, errAgain)
		if (again || Unanswered(err)) && s.through != nil && owner.Suspects() {
			s.through.CloseIdleConnections()
		}
		if !again {
			return res, err
		}
		if req, err = s.again(req, owner); err != nil {
			return nil, err
		}
	}
}

// again prepares a request for the next send, or returns the error that forbids it. Another
// send is always allowed if the backend cannot have noticed the last one; the number of
// such sends is bounded by the number of idle connections.
func (s *sends) again(req *http.Request, owner sender) (*http.Request, error) {
	if s.noticed(req) {
		if s.resends >= owner.Resends() {
			return nil, fmt.Errorf("%w, %d times: not sent again", errUnanswered, s.resends+1)
		}
		s.resends++
		owner.Noticed()
	}
	next := s.trace(req)
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
func (s *sends) noticed(req *http.Request) bool {
	return Replayable(req) && (!s.traced || s.wrote.Load())
}

// Replayable reports whether a request is idempotent, by the rules of [http.Transport]: it may
// be sent again although a backend may have begun to work on it.
func Replayable(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	_, key := req.Header["Idempotency-Key"]
	_, xKey := req.Header["X-Idempotency-Key"]
	return key || xKey
}

// trace returns a copy of the request that records whether its header was written, so that
// the backend may notice it. If resends are allowed, the first send is not traced, since a
// trace costs more than most requests have to spare.
func (s *sends) trace(req *http.Request) *http.Request {
	s.wrote.Store(false)
	if s.traced {
		return req.WithContext(req.Context())
	}
	s.traced = true
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		WroteHeaders: func() { s.wrote.Store(true) },
	}))
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
