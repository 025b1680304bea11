package serving

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/claims"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/deadline"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/exchange"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/original"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// The state of a run is in this file. The files of the package are layers: each calls the
// ones below it, and serve.go calls them all.

// causes of a run's cancel. All but errHandlers wrap context.Canceled, so that
// reverse_proxy does not take the cancel for a failure of the upstream.
var (
	errClientLeft = fmt.Errorf("the client left: %w", context.Canceled)
	errGivenUp    = fmt.Errorf("the abandoned run has reached abandon_timeout: %w", context.Canceled)
	errHandlers   = errors.New("the handlers panicked or ended their goroutine")
	errTooSlow    = fmt.Errorf("%w: %w", spool.ErrTooSlow, context.Canceled) // its client's body trickles
)

// Run is one request on its way through a pool. Everything in it belongs to the
// goroutine of the connection unless it says otherwise.
type Run struct {
	Route  *Route
	client *http.Request // as it came
	w      http.ResponseWriter
	outer  *Run // in which this one is nested, nil without
	first  *Run // of the same request, nil for the first one itself
	ctx    detached

	// The parts of a run.
	body     runBody
	backend  backend
	timeouts timeouts
	ending   ending
	spans    spans
	writer   bridge.Writer

	// For lists of requests.
	who      requests.Identity // written once
	progress requests.Progress // may be read on any goroutine
	ticket   offloader.Ticket
	entry    pools.Entry // in the pool's list

	record
	permit   offloader.Permit
	budget   *budget   // nil without a limit; set before others know the run
	attempts *attempts // nil if no other run can follow

	listed   bool // it has an entry
	upgraded bool // it has left the pool
	grpc     bool // it is a call of gRPC
	endless  bool // its answer is a stream of events; written under mu

	mu     sync.Mutex // guards the rest, and the parts where they say so
	ended  bool       // next has returned
	over   bool       // and the client has got what it will get
	gone   bool       // the request is over for its client
	failed bool       // its handler returned an error
	tells  *Run       // whose facts are shown, in the outermost run
}

// attempts are the runs of one request in a pool whose breaker holds its callers, or that
// binds runs to upstreams: one that failed without an answer, or found no upstream with room,
// goes back to the queue, and the next one follows it.
type attempts struct {
	request original.Request // as the first run got it
	next    *Run             // follows the last one, nil if that was the last
	count   int              // runs that went back, also those that are nested in these
	spent   int              // noticed sends, before the last run

	sent      *http.Request // the last one that was bound to an upstream, nil for none
	upstream  string        // of sent
	lacksRoom bool          // no upstream had room for the last one

	// Written by the goroutines that send.
	noticed    atomic.Int32 // sends that the backend may have noticed
	once       atomic.Bool  // one of them must not be sent again
	unanswered atomic.Bool  // the backend has not answered the last send
}

// runBody is the request body of a run: spooled first, passed on as it arrives, or absent.
type runBody struct {
	run     *Run
	spooled *spool.Body
	passed  *requestbody.Passed
	kind    *requestbody.Kind  // for which it is passed on, nil if not because of the request's fields
	ahead   *requestbody.Ahead // which has read the beginning of passed, nil if nothing has
	hidden  io.ReadCloser      // the body as it came, while placeholders are shown spooled

	// broken is the error that cut the spooled body short, nil if the body is whole.
	// handedOnPart: a handler has read such a part to its end.
	broken       error
	handedOnPart atomic.Bool

	reopened int16 // how often, by handlers without an exchange; guarded by run.mu

	left bool // a run answers before all of it has come; in the outermost run
}

// backend is the work of a run in its backend: the exchanges, each with its requests and
// the answer. An exchange belongs to the innermost of nested runs, and keeps the permits of
// all.
type backend struct {
	run *Run

	own   *exchange.Exchange // the last one that this run began itself, nil without
	sends atomic.Int32       // requests sent, by all handlers behind

	// Guarded by run.mu.
	cancelled bool                 // before it had answered
	held      bool                 // next has returned, and the permit waits for the answer
	current   *exchange.Exchange   // the last one, nil once it is over
	earlier   []*exchange.Exchange // those that the run has left for another one
}

// timeouts are those of a run.
type timeouts struct {
	run     *Run
	early   timerlist.Timer // until the head: first the notice, then the first byte
	runTime timerlist.Timer
	noticed bool // the run has gone on for longer than most; guarded by run.mu
}

// budget is the time that the request of a run may take in all, queue included.
type budget struct {
	deadline.Limit
	rejected bool               // it has ended the request before a run
	forecast offloader.Forecast // by which the pool has decided, zero without
	timer    *time.Timer        // of the run; guarded by run.mu
}

// ending describes the early end of a run: cancelled by a timeout or an operator, or
// abandoned, since no client receives its answer. The fields are guarded by run.mu.
type ending struct {
	run    *Run
	cancel context.CancelCauseFunc // cancels the backend; written before the run can end

	cause       error            // why the run was cut off from its client, nil if it was not
	late        offloader.Reason // why it was cancelled, zero if it was not
	abandoned   bool             // it was cut off because its client has left
	tooSlow     bool             // its client's body came too slowly, which has ended it
	byBudget    bool             // the time of its request was over, which has ended it
	notices     bool             // a handler behind stops when its context is cancelled
	patience    *time.Timer      // how long its permit can wait for the backend, nil without
	unwatch     func() bool      // ends the watch over the client's leaving, nil without
	unwatchExit func() bool      // ends the watch over the process's exit, nil without
}

// spans are the trace spans of a run: first its wait, then its handlers.
type spans struct {
	run  *Run
	span trace.Span // of the wait or the run, nil without a trace
}

// detached is a request's context that does not end with the client, since the run may
// outlive the client. The handlers behind this one find their run by this context.
type detached struct {
	context.Context
	run *Run
}

type runKey struct{}

func (detached) Deadline() (time.Time, bool) { return time.Time{}, false }
func (detached) Done() <-chan struct{}       { return nil }
func (detached) Err() error                  { return nil }

func (d *detached) Value(key any) any {
	switch key {
	case runKey{}:
		return d.run
	case exchange.Key:
		return d.run.sending()
	}
	return d.Context.Value(key)
}

// runOf returns the run that a context belongs to, nil outside of one.
func runOf(ctx context.Context) *Run {
	run, _ := ctx.Value(runKey{}).(*Run)
	return run
}

// sending returns the exchange in which the run sends its requests, nil without one. A
// handler begins another exchange only when it has the answer of the last one, or does not
// need it.
func (rn *Run) sending() *exchange.Exchange {
	rn.mu.Lock()
	defer rn.mu.Unlock()
	return rn.backend.current
}

// admittedTo reports whether the run, or one around it, holds a permit of p.
func (rn *Run) admittedTo(p *pools.Pool) bool {
	for ; rn != nil; rn = rn.outer {
		if rn.Route.Pool == p {
			return true
		}
	}
	return false
}

// outermost is the outermost of nested runs.
func outermost(rn *Run) *Run {
	for rn.outer != nil {
		rn = rn.outer
	}
	return rn
}

// root is the first one of the outermost runs of the request.
func (rn *Run) root() *Run {
	rn = outermost(rn)
	return cmp.Or(rn.first, rn)
}

// rule returns the on_abandon rule of the run. A run without one follows the run around it,
// in an outer pool.
func (rn *Run) rule() abandonRule {
	for r := rn; r != nil; r = r.outer {
		if r.Route.OnAbandon != abandonInherit {
			return r.Route.OnAbandon
		}
	}
	return abandonAuto
}

// enter notes the phase that the run is in from that time on, and lists it.
func (rn *Run) enter(phase requests.Phase, at time.Time) {
	rn.progress.Enter(phase, at)
	if !rn.listed {
		rn.listed = true
		rn.Route.Pool.Requests.Add(&rn.entry, rn)
	}
}

// id returns the ID of the request, which runs of nested pools share.
func (rn *Run) id() requests.ID { return rn.root().who.ID }

// Client identifies the origin of a rejected request, for which the pool keeps a turn: the
// key in a pool with keys, otherwise the client's address as Caddy determines it, by
// trusted_proxies.
func (rn *Run) Client() offloader.Client {
	c := requests.ClientOf(rn.client, rn.who.Client)
	if claim := rn.ticket.Claim; claim != nil && claim.Key != "" {
		c.Address = claims.Address(claim.Key)
	}
	return c
}

// Owner identifies the client and the pool that the spooled bodies of the request count
// for, since each of them has only a share of the spools.
func (rn *Run) Owner() spool.Owner {
	return spool.Owner{Client: rn.Client().Address, Pool: rn.Route.Pool.Name()}
}

var (
	_ offloader.Caller = (*Run)(nil)
	_ spool.Owned      = (*Run)(nil)
)

// facts are the values of a run for placeholders and the access log. The run writes them.
// If a handler in front has answered without waiting for the run, the log reads them at the
// same time.
type facts struct {
	uploadTook time.Duration // taking its body in
	arrived    time.Time     // at the queue, after that
	waited     time.Duration // until it was decided
	took       time.Duration // from there until next returned
	decided    bool          // it was admitted or rejected
	admitted   bool          // it got a permit
	outcome    offloader.Outcome
	reason     offloader.Reason // why it was rejected or timed out, zero if not
	left       bool             // the client did
	script     bool             // it came with its origin; handlers may change its header
}

// record holds the facts of a run. The run writes them through its methods, and reads them
// without the lock; other goroutines read a copy.
type record struct {
	lock sync.Mutex // held to write, and to read on other goroutines
	facts
}

// known returns the facts as they are now, on any goroutine.
func (rec *record) known() facts {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	return rec.facts
}

// uploaded records how long the upload took, when the body has arrived.
func (rec *record) uploaded() {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	rec.uploadTook = time.Since(rec.arrived)
	rec.arrived = rec.arrived.Add(rec.uploadTook)
}

// decide ends the wait.
func (rec *record) decide() {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	rec.waited = time.Since(rec.arrived)
	rec.decided = true
}

// admit notes that it got a permit.
func (rec *record) admit() {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	rec.admitted = true
}

// reasoned records the reason for which the run was rejected or timed out.
func (rec *record) reasoned(r offloader.Reason) {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	rec.reason = r
}

// clientGone notes whether the client has left.
func (rec *record) clientGone(left bool) {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	rec.left = left
}

// cutShort records the reason for which the run was cancelled, zero if it was not, and
// whether its client has left before its end.
func (rec *record) cutShort(r offloader.Reason, left bool) {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	rec.reason, rec.left = r, left
}

// judged records the outcome and the length of the run when its handlers have returned.
func (rec *record) judged(o offloader.Outcome, left bool) {
	rec.lock.Lock()
	defer rec.lock.Unlock()
	rec.took = time.Since(rec.arrived) - rec.waited
	rec.outcome, rec.left = o, left
}

func (f facts) queueWait() time.Duration {
	if f.decided {
		return f.waited
	}
	return time.Since(f.arrived)
}

func (f facts) runTook() time.Duration {
	switch {
	case f.took > 0:
		return f.took
	case !f.admitted:
		return 0
	}
	return time.Since(f.arrived) - f.waited
}

// outcomeWord returns the outcome of a run that has ended, and nothing while the run goes
// on.
func (f facts) outcomeWord() string {
	switch {
	case f.took > 0:
		return f.outcome.String()
	case f.reason != 0:
		return "rejected"
	case f.left:
		return "left"
	}
	return ""
}

func (f facts) reasonWord() string {
	if f.reason == 0 {
		return ""
	}
	return f.reason.String()
}
