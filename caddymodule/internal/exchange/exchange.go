// Package exchange sends the request of a run to the backend so that the run can
// leave. An [Exchange] is one call of a [http.RoundTripper] on a separate goroutine.
// The run waits for the head of the answer and reads the body. When it has to answer
// its client without them it leaves: both return at once, and the goroutine goes on
// until the backend has answered or its connection has ended. So the owner of the
// permit learns when the work is over.
//
// Two facts make this necessary. net/http ends a stream of HTTP/2 only when its handler
// returns. And a canceled request closes its connection, which most backends do not
// notice. The package knows net/http, not Caddy.
package exchange

import (
	"context"
	"io"
	"net/http"
	"sync"
)

// drainLimit is how much of an answer is read, and dropped, after the run has left.
// More would keep a backend busy for an answer without a reader.
const drainLimit = 1 << 20

// Owner is the run that an exchange belongs to. Its methods must not block, and are
// called without locks.
type Owner interface {
	// Begin is called on the run's goroutine before anything is sent. An error
	// keeps the request from being sent.
	Begin(x *Exchange) error
	// Sent is called, on any goroutine, before each send to the backend.
	Sent()
	// Resends is how often the request may be sent again although a backend may
	// have begun to work on it.
	Resends() int
	// Endless reports whether an answer with this header goes on until its client
	// leaves, so that it is of no use to wait for its end.
	Endless(header http.Header) bool
	// Outlasts reports whether the backend is presumed to work on when the run
	// closes the body before its end.
	Outlasts() bool
	// End is called once, on any goroutine, when the backend has answered or its
	// connection has ended. cut says that it was ended here, because there was too
	// much to read.
	End(x *Exchange, cut bool)
}

// Exchange is one request on its way to the backend and back.
type Exchange struct {
	wake  chan struct{} // for the run, which waits for the head or for bytes
	room  chan struct{} // for the worker, which waits for room in the ring
	begin func()        // work, made once

	inner http.RoundTripper
	owner Owner
	req   *http.Request // belongs to the worker, like the sends
	sends sends
	body  body // belongs to the run

	mu       sync.Mutex // guards the rest
	res      *http.Response
	err      error
	panicked any           // what the transport panicked with
	left     error         // why the run has left, nil if it has not
	over     bool          // the owner knows that it is over
	cut      bool          // the answer was longer than is read of it
	endless  bool          // the answer goes on until its client leaves
	finished bool          // the worker or the owner is done with it
	source   io.ReadCloser // the body as it comes, nil if the run reads it itself
	ring     ring
}

// kept are exchanges that have ended well, for others.
var kept sync.Pool

func begun(inner http.RoundTripper, req *http.Request, owner Owner) *Exchange {
	x, ok := kept.Get().(*Exchange)
	if !ok {
		x = &Exchange{wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
		x.begin = x.work
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.inner, x.req, x.owner, x.over = inner, req, owner, false
	return x
}

// Done says that the owner is done with an exchange and its answer, and nothing of its
// run refers to them: they may serve another run. It need not be called. The worker says
// the same, and the second of both keeps the exchange, unless the run has left: then
// others may still know it.
func (x *Exchange) Done() {
	x.mu.Lock()
	second := x.finished
	x.finished = true
	keep := second && x.left == nil && x.panicked == nil && !x.ring.reading
	if keep {
		x.reset()
	}
	x.mu.Unlock()
	if keep {
		kept.Put(x)
	}
}

// reset makes the exchange as good as new. It requires x.mu.
func (x *Exchange) reset() {
	drop(x.wake)
	drop(x.room)
	x.inner, x.owner, x.req, x.res, x.err, x.source = nil, nil, nil, nil, nil, nil
	x.cut, x.finished = false, false // and over until it begins again
	x.sends.reset()
	x.body, x.ring = body{}, ring{}
}

type exchangeKey struct{}

// Key is what the context of a request is asked for its [*Exchange] with.
var Key any = exchangeKey{}

// of returns the exchange that a request belongs to, nil without one.
func of(ctx context.Context) *Exchange {
	x, _ := ctx.Value(Key).(*Exchange)
	return x
}

// RoundTrip sends req through inner for owner. The answer's body must be closed, as
// with any RoundTripper. A panic of inner goes on from here, as the identical value.
func RoundTrip(inner http.RoundTripper, req *http.Request, owner Owner) (*http.Response, error) {
	x := begun(inner, req, owner)
	if err := owner.Begin(x); err != nil {
		closeBody(req)
		return nil, err
	}
	go x.begin()
	<-x.wake
	return x.head()
}

// head returns what the worker or Leave has woken the run for.
func (x *Exchange) head() (*http.Response, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.left != nil:
		return nil, x.left
	case x.panicked != nil && x.res == nil: // else the body panics
		panic(x.panicked)
	}
	return x.res, x.err
}

// Leave makes RoundTrip and the reading of the body return cause from now on. What the
// backend still sends is dropped. It reports false if the exchange is over.
func (x *Exchange) Leave(cause error) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return false
	}
	if x.left == nil {
		x.left = cause
		signal(x.wake)
		signal(x.room)
	}
	return true
}

// Endless reports whether an answer has begun that goes on until its client leaves.
func (x *Exchange) Endless() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.endless
}

// Left reports whether the run has left and the exchange goes on.
func (x *Exchange) Left() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.left != nil && !x.over
}

// Forget ends the exchange for its owner, whatever the backend does. Some transports do
// not notice that the context of their request is canceled.
func (x *Exchange) Forget() {
	x.wasCut()
	x.end()
}

// end calls the owner, once.
func (x *Exchange) end() {
	x.mu.Lock()
	first, cut := !x.over, x.cut
	x.over = true
	x.mu.Unlock()
	if first {
		x.owner.End(x, cut)
	}
}

// work is the exchange on its own goroutine.
func (x *Exchange) work() {
	defer x.Done()
	defer x.end()
	defer x.caught()
	res, err := x.send(x.req)
	switch {
	case x.headArrived(res, err):
		x.pump(res)
	case err == nil && x.leaving() != nil:
		x.dropAnswer(res)
	}
}

// headArrived hands the head to the run. It reports whether the worker reads the body.
func (x *Exchange) headArrived(res *http.Response, err error) (pumps bool) {
	endless := err == nil && x.owner.Endless(res.Header) // the header is the run's soon
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.left != nil {
		return false
	}
	x.res, x.err, x.endless = res, err, endless
	if err == nil && streams(res) {
		x.res = x.open(res)
	}
	signal(x.wake)
	return x.source != nil
}

// streams reports whether the worker reads the body of an answer. An upgraded
// connection belongs to the run.
func streams(res *http.Response) bool {
	return res.Body != nil && res.Body != http.NoBody && res.StatusCode != http.StatusSwitchingProtocols
}

// leaving returns why the run has left, nil if it has not.
func (x *Exchange) leaving() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.left
}

// dropAnswer takes an answer that comes after the run has left, so that its end shows.
func (x *Exchange) dropAnswer(res *http.Response) {
	switch {
	case res.Body == nil:
		return
	case res.StatusCode == http.StatusSwitchingProtocols, x.owner.Endless(res.Header):
		x.wasCut()
	default:
		x.drain(res.Body)
	}
	_ = res.Body.Close()
}

// dropRest takes the rest of an answer that the run has left.
func (x *Exchange) dropRest() {
	if x.Endless() {
		x.wasCut()
	} else {
		x.drain(x.source)
	}
	_ = x.source.Close()
}

// drain reads the rest of a body. An error is its end.
func (x *Exchange) drain(body io.Reader) {
	if _, err := io.CopyN(io.Discard, body, drainLimit); err == nil {
		x.wasCut()
	}
}

func (x *Exchange) wasCut() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cut = true
}

// caught hands a panic of the transport to the run, where Caddy expects it.
func (x *Exchange) caught() {
	v := recover()
	if v == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.panicked = v
	signal(x.wake)
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// drop takes a signal back that no goroutine has waited for.
func drop(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// signal wakes a waiter, now or when it begins to wait.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
