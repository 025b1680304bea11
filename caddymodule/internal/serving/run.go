package serving

import (
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
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/exchange"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// stuckAfter is how long a run may take to return after its cancel before it is
// answered for. Handlers that notice cancels need microseconds.
const stuckAfter = 50 * time.Millisecond

// causes of a run's cancel. They wrap context.Canceled, so that reverse_proxy
// takes a cancel for the client's doing and not for an upstream's failure.
var (
	errClientLeft = fmt.Errorf("the client left: %w", context.Canceled)
	errRunEnded   = fmt.Errorf("the run has ended: %w", context.Canceled)
	errGivenUp    = fmt.Errorf("the backend took too long for a run that nobody waits for: %w", context.Canceled)
)

// errResent is what a handler gets that would send a body once more than it may.
var errResent = errors.New("the request was sent again before: not sent once more")

// run is one request on its way through a pool. Everything in it belongs to the
// goroutine of the connection unless it says otherwise.
type Run struct {
	Route  *Route
	client *http.Request // as it came
	w      http.ResponseWriter
	outer  *Run // in which this one is nested, nil without
	body   *spool.Body
	hidden io.ReadCloser // the body as it came, while placeholders are shown body
	writer bridge.Writer
	ctx    detached

	// For lists of requests.
	who      requests.Identity // written once
	progress requests.Progress // may be read on any goroutine
	ticket   offloader.Ticket
	entry    pools.Entry // in the pool's list
	listed   bool

	facts  // written under mu; others than the run read a copy
	permit offloader.Permit
	span   trace.Span // of the wait or the run, nil if nobody traces

	early    timerlist.Timer // for what waits for the head: the notice, the first byte
	runTime  timerlist.Timer
	cancel   context.CancelCauseFunc
	sends    atomic.Int32 // requests sent to the backend, by all handlers behind
	upgraded bool         // it has left the pool
	grpc     bool         // it is a call of gRPC
	endless  bool         // its answer is a stream of events; written under mu

	// unspooled is the client's body where it is passed on as it comes, nil if not.
	unspooled *clientBody
	kind      *requestbody.Kind // why it is, nil if it is not because of the request's fields
	// broken is why body is only a part of it, which is handed on all the same, nil if
	// it is whole. handedOnPart says that a handler has read it to its end.
	broken       error
	handedOnPart atomic.Bool
	ahead        *requestbody.Ahead // which has read its beginning, nil if nothing has
	// sent is the last request that it has sent itself, nil without.
	sent *exchange.Exchange

	mu       sync.Mutex         // guards the rest
	tells    *Run               // whose facts are shown, in the outermost run
	exchange *exchange.Exchange // the last one, nil once it is over
	earlier  *earlierOnes       // those that it has left for another one, nil without
	unwatch  func() bool        // ends the watch over the client's leaving, nil without

	unwatchExit func() bool // ends the watch over the process's exit, nil without

	cause     error            // why it was cut off from its client, nil if it was not
	patience  *time.Timer      // how long its permit may wait for the backend, nil without
	reopened  int32            // how often its body was, by handlers without an exchange
	late      offloader.Reason // why it was ended from outside, zero if it was not
	noticed   bool             // it has gone on for longer than most
	ended     bool             // next has returned
	over      bool             // and the client has got what it will get
	abandoned bool             // cut off because nobody has any use for it
	notices   bool             // a handler behind stops when the context is cancelled
	cancelled bool             // the backend was cancelled before it had answered
	tooSlow   bool             // its client's body came too slowly, which has ended it
	held      bool             // next has returned, and the permit waits for the backend
	gone      bool             // the request is over for its client
	failed    bool             // its handler returned an error
}

// earlierOnes are exchanges that go on while a run is in another one. They are rare, and
// kept apart so that a run is no larger for them.
type earlierOnes struct{ exchanges []*exchange.Exchange }

// detached is a request's context without its end, which a run has to survive.
// It leads handlers behind back to their run.
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
		return d.run.current()
	}
	return d.Context.Value(key)
}

// runOf returns the run that a context belongs to, nil outside of one.
func RunOf(ctx context.Context) *Run {
	run, _ := ctx.Value(runKey{}).(*Run)
	return run
}

// NoticesCancel is for handlers behind "offload" that stop their work when the
// request's context is cancelled. With on_abandon auto a run of such a handler
// is cancelled as soon as its client leaves. Call it before the work starts.
func NoticesCancel(ctx context.Context) {
	run := RunOf(ctx)
	if run == nil {
		return
	}
	run.mu.Lock()
	run.notices = true
	run.mu.Unlock()
	if run.rule() != abandonFinish {
		run.watchClient()
	}
}

func newRun(rt *Route, w http.ResponseWriter, r *http.Request, outer *Run) *Run {
	now := time.Now()
	run := &Run{
		Route: rt, client: r, w: w, outer: outer, facts: facts{arrived: now},
		who: requests.IdentityOf(r, now, rt.ShowQuery), grpc: requestbody.IsCall(r),
	}
	run.ctx = detached{Context: r.Context(), run: run}
	run.ticket.Pool, run.ticket.Caller = rt.Pool.Pool, run
	run.progress.Enter(requests.PhaseWaiting, now)
	run.publish()
	return run
}

// admittedTo reports whether the run, or one around it, holds a permit of p.
func (run *Run) admittedTo(p *pools.Pool) bool {
	for ; run != nil; run = run.outer {
		if run.Route.Pool == p {
			return true
		}
	}
	return false
}

// openBody lets a handler behind send the body again, as often as the route allows.
// Where an exchange sends, it counts by itself.
func (run *Run) openBody() (io.ReadCloser, error) {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.exchange == nil {
		if run.reopened++; int(run.reopened) > run.Resends() {
			return nil, errResent
		}
	}
	return run.openSpooled(), nil
}

// enter notes the phase that the run is in from that time on, and lists it.
func (run *Run) enter(phase requests.Phase, at time.Time) {
	run.progress.Enter(phase, at)
	if !run.listed {
		run.listed = true
		run.Route.Pool.Requests.Add(&run.entry, run)
	}
}

// leave is the last thing that a request does. err is what its handler returns.
func (run *Run) leave(err error) {
	run.ticket.Withdraw() // of one that panics while its body is read
	run.remember()
	run.mu.Lock()
	run.failed = err != nil
	run.gone = true
	held := run.held
	run.mu.Unlock()
	if run.sent != nil {
		run.sent.Done()
	}
	if run.ahead != nil {
		run.ahead.Settle(run.w)
	}
	if run.body != nil {
		run.hideBody()
	}
	if !held {
		run.dispose()
	}
}

// hideBody ends the time in which placeholders are shown the spooled body. The routes
// that answer an error run after this, and may try elsewhere: they get it anew.
func (run *Run) hideBody() {
	known := run.root().client
	switch {
	case run.failed:
		run.giveBody(known)
	case run.hidden != nil:
		known.Body = run.hidden
	}
}

// dispose gives back what the run has, once neither its client nor its backend can
// want it any more. The server ends the request's context when the routes that answer
// an error are done.
func (run *Run) dispose() {
	if run.listed {
		run.Route.Pool.Requests.Remove(&run.entry)
	}
	switch {
	case run.body == nil:
	case run.failed:
		context.AfterFunc(run.root().client.Context(), run.body.Close)
	default:
		run.body.Close()
	}
}

// root is the outermost of nested runs.
func (run *Run) root() *Run {
	for run.outer != nil {
		run = run.outer
	}
	return run
}

// kindWord is the kind for which the run's body is passed on, empty if it is not. It may
// be read by anybody once the run is listed.
func (run *Run) kindWord() string {
	if run.kind == nil {
		return ""
	}
	return run.kind.Word
}

// Client says where the request comes from, for the turn that its pool keeps when it is
// refused: by the client's address as Caddy determines it, so trusted_proxies counts.
func (run *Run) Client() offloader.Client { return requests.ClientOf(run.client, run.who.Client) }

// Owner says whose the request's body and its response are, for their shares of what
// the process may keep: the same client's, in this pool.
func (run *Run) Owner() spool.Owner {
	return spool.Owner{Client: run.Client().Address, Pool: run.Route.Pool.Name()}
}

var (
	_ offloader.Caller = (*Run)(nil)
	_ spool.Owned      = (*Run)(nil)
)
