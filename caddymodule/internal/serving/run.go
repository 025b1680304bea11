package serving

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/exchange"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
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

// Run is one request on its way through a pool. Everything in it belongs to the
// goroutine of the connection unless it says otherwise.
type Run struct {
	Route    *Route
	client   *http.Request // as it came
	w        http.ResponseWriter
	outer    *Run // in which this one is nested, nil without
	body     runBody
	backend  backend
	timeouts timeouts
	ending   ending
	spans    spans
	writer   bridge.Writer
	ctx      detached

	// For lists of requests.
	who      requests.Identity // written once
	progress requests.Progress // may be read on any goroutine
	ticket   offloader.Ticket
	entry    pools.Entry // in the pool's list
	listed   bool

	record
	permit offloader.Permit

	upgraded bool // it has left the pool
	grpc     bool // it is a call of gRPC
	endless  bool // its answer is a stream of events; written under mu

	mu    sync.Mutex // guards the rest
	tells *Run       // whose facts are shown, in the outermost run

	ended  bool // next has returned
	over   bool // and the client has got what it will get
	gone   bool // the request is over for its client
	failed bool // its handler returned an error
}

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
		return d.run.backend.sending()
	}
	return d.Context.Value(key)
}

// runOf returns the run that a context belongs to, nil outside of one.
func runOf(ctx context.Context) *Run {
	run, _ := ctx.Value(runKey{}).(*Run)
	return run
}

// NoticesCancel is for handlers behind "offload" that stop their work when the
// request's context is cancelled. With on_abandon auto a run of such a handler
// is cancelled as soon as its client leaves. Call it before the work starts.
func NoticesCancel(ctx context.Context) {
	run := runOf(ctx)
	if run == nil {
		return
	}
	run.mu.Lock()
	run.ending.notices = true
	run.mu.Unlock()
	if run.rule() != abandonFinish {
		run.ending.watchClient()
	}
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

// root is the outermost of nested runs.
func (run *Run) root() *Run {
	for run.outer != nil {
		run = run.outer
	}
	return run
}

// Client returns the origin of the request, for the turn that its pool keeps after a
// rejection: the client's address as Caddy determines it, so trusted_proxies counts.
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
