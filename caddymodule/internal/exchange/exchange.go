// Package exchange sends the request of a run to the backend so that the run can leave. An
// [Exchange] is one call of a [http.RoundTripper] on a separate goroutine, the worker. The
// run waits for the head of the answer and reads the body. When the run has to answer its
// client earlier it leaves: both calls return at once, and the worker goes on until the
// backend has answered or its connection has ended. Then the exchange calls the owner of
// the permit, since the work is over.
//
// Two facts make this necessary. net/http ends a stream of HTTP/2 only when its handler
// returns. And a canceled request closes its connection, which most backends do not notice.
// The package uses net/http, not Caddy.
package exchange

import (
	"io"
	"net/http"
	"sync"
)

// drainLimit is how much of an answer is read and dropped after the run has left. More
// would keep a backend busy for an answer that no client gets.
const drainLimit = 1 << 20

// Owner is the run that an exchange belongs to. Its methods must not block, and are
// called without locks.
type Owner interface {
	// Begin is called on the run's goroutine before anything is sent. If it returns an
	// error, the request is not sent.
	Begin(x *Exchange) error
	// Send is called, on any goroutine, before each send to the backend. It returns the
	// request to be sent, with the same body.
	Send(req *http.Request) *http.Request
	// Resends is how often the request may be sent again although a backend may
	// have begun to work on it.
	Resends() int
	// Noticed is called, on any goroutine, before each of those sends.
	Noticed()
	// Suspects reports whether idle connections are not used after one has ended without an
	// answer: the backend may be down, and they may be dead too.
	Suspects() bool
	// Endless reports whether an answer with this header goes on until its client leaves,
	// so that the worker need not wait for its end.
	Endless(header http.Header) bool
	// Outlasts reports whether the backend presumably works on when the run closes the body
	// before its end.
	Outlasts() bool
	// End is called once, on any goroutine, when the backend has answered or its connection
	// has ended. cut means that the exchange has ended the connection, because there was
	// too much to read.
	End(x *Exchange, cut bool)
}

// Exchange is one request on its way to the backend and back. Its methods may be called on
// any goroutine.
type Exchange struct {
	state // embedded for its exported methods: Leave, Left and Endless
	sends sends
	body  body // of the answer; belongs to the run
	inner http.RoundTripper
	req   *http.Request // belongs to the worker, like the sends
	owner Owner
	start func() // work, made once
}

// kept holds exchanges that have ended without an error, for reuse by other requests of the
// process. They are reset, so a request sees nothing of an earlier one.
var kept sync.Pool

func newExchange() *Exchange {
	x := &Exchange{state: state{wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}}
	x.sends.state, x.body.state = &x.state, &x.state
	x.start = x.work
	return x
}

func begun(inner http.RoundTripper, req *http.Request, owner Owner) *Exchange {
	x, ok := kept.Get().(*Exchange)
	if !ok {
		x = newExchange()
	}
	x.inner, x.req, x.owner = inner, req, owner
	x.body.reset(owner)
	x.state.begin()
	return x
}

// Done is called by the owner when nothing of its run refers to the exchange and its
// answer. The worker calls it too. The second call keeps the exchange for reuse, unless the
// run has left, since others may still refer to it then. The owner need not call it.
func (x *Exchange) Done() {
	if !x.state.done() {
		return
	}
	x.inner, x.req, x.owner = nil, nil, nil
	x.sends.reset()
	x.body.reset(nil)
	kept.Put(x)
}

// RoundTrip sends req through inner for owner. The answer's body must be closed, as with
// any RoundTripper. A panic of inner is raised again here, with the same value.
func RoundTrip(inner http.RoundTripper, req *http.Request, owner Owner) (*http.Response, error) {
	x := begun(inner, req, owner)
	if err := owner.Begin(x); err != nil {
		closeBody(req)
		return nil, err
	}
	go x.start()
	return x.state.awaitHead()
}

// Forget ends the exchange for its owner, although the backend may go on. It is for
// transports that do not notice that the context of their request is canceled.
func (x *Exchange) Forget() {
	x.state.wasCut()
	x.end()
}

// end calls the owner, once.
func (x *Exchange) end() {
	if first, cut := x.state.end(); first {
		x.owner.End(x, cut)
	}
}

// work performs the exchange, on a separate goroutine: it sends the request and reads the
// answer.
func (x *Exchange) work() {
	defer x.Done()
	defer x.end()
	defer x.caught()
	a := x.answered(x.sends.send(x.inner, x.req, x.owner))
	arrived := x.state.arrive(a)
	switch {
	case arrived && a.pumped:
		x.pump(a.source)
	case a.err == nil && x.state.leaving() != nil:
		x.dropAnswer(a)
	}
}

// answered returns the backend's answer, with a body that the run can leave.
func (x *Exchange) answered(res *http.Response, err error) answer {
	if err != nil {
		return answer{res: res, err: err}
	}
	a := answer{
		res: res, source: res.Body, pumped: streams(res),
		endless: x.owner.Endless(res.Header), // the header is the run's soon
	}
	if a.pumped {
		a.res = x.body.replace(res)
	}
	return a
}

// streams reports whether the worker reads the body of an answer. An upgraded
// connection belongs to the run.
func streams(res *http.Response) bool {
	return res.Body != nil && res.Body != http.NoBody && res.StatusCode != http.StatusSwitchingProtocols
}

// pump reads the body into the ring until the body ends or the run stops reading.
func (x *Exchange) pump(source io.ReadCloser) {
	for {
		room, left := x.state.awaitRoom()
		if room == nil {
			if left {
				x.dropRest(source)
			}
			return
		}
		n, err := source.Read(room)
		x.state.filled(n, err)
		if err != nil {
			return
		}
	}
}

// dropAnswer reads and drops an answer that arrives after the run has left, since its end
// shows when the backend is done.
func (x *Exchange) dropAnswer(a answer) {
	switch {
	case a.source == nil:
		return
	case a.endless, a.res.StatusCode == http.StatusSwitchingProtocols:
		x.state.wasCut()
	default:
		x.drain(a.source)
	}
	_ = a.source.Close()
}

// dropRest reads and drops the rest of an answer that the run has left.
func (x *Exchange) dropRest(source io.ReadCloser) {
	if x.Endless() {
		x.state.wasCut()
	} else {
		x.drain(source)
	}
	_ = source.Close()
}

// drain reads and discards a body, up to drainLimit. A body that reaches the limit counts
// as cut. A read error counts as the end of the body.
func (x *Exchange) drain(body io.Reader) {
	if _, err := io.CopyN(io.Discard, body, drainLimit); err == nil {
		x.state.wasCut()
	}
}

// caught passes a panic of the transport to the run's goroutine, where Caddy expects it.
func (x *Exchange) caught() {
	if v := recover(); v != nil {
		x.state.hasPanicked(v)
	}
}
