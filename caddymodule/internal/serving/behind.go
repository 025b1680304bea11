package serving

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// NoticesCancel is called by handlers behind "offload" that stop their work when the
// request's context is cancelled, before the work starts. With on_abandon auto, a run of
// such a handler is cancelled as soon as its client leaves.
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

// Deadlines returns when the run that a context belongs to will be cancelled: at firstByte
// unless its answer has begun, and at end in any case. Zero is never. It is for handlers
// that pass work on. The context itself has no deadline, since handlers would take that for
// a failure of theirs.
func Deadlines(ctx context.Context) (firstByte, end time.Time) {
	return limits{runOf(ctx)}.endsAt()
}

// Binder binds a run to upstreams.
type Binder struct{ run *Run }

// BinderOf returns the binder of the innermost run that a request belongs to and whose pool
// counts the permits of its upstreams. Preflights have none: they hold no permits.
func BinderOf(r *http.Request) (b Binder, ok bool) {
	for run := runOf(r.Context()); run != nil; run = run.outer {
		if run.Route.Pool.BindsUpstreams() && run.attempts != nil {
			return Binder{run}, !run.ticket.Preflight
		}
	}
	return Binder{}, false
}

// Pool returns the pool of the run.
func (b Binder) Pool() *pools.Pool { return b.run.Route.Pool }

// Last returns the upstream to which the same request was bound before, also in a run that
// went back to the queue, empty for none.
func (b Binder) Last(r *http.Request) string {
	if a := b.run.attempts; a.sent == r || b.run.first != nil {
		return a.upstream
	}
	return ""
}

// Bind binds the run to an upstream for a request that is about to be sent, as
// [offloader.Permit.Bind] does.
func (b Binder) Bind(r *http.Request, c offloader.UpstreamChoice, wait time.Duration) (name string, ok bool) {
	name, ok = b.run.permit.Bind(r.Context(), c, wait)
	if a := b.run.attempts; ok {
		a.sent, a.upstream = r, name
	} else {
		a.sent, a.upstream = nil, ""
	}
	return name, ok
}

// LacksRoom notes whether the run has found no upstream with room. Then it goes back to the
// queue, if its handlers return an error.
func (b Binder) LacksRoom(lacks bool) { b.run.attempts.lacksRoom = lacks }

// BodyInMemory is a request's body for a handler that needs all of it at once.
type BodyInMemory struct {
	// Bytes must not be used after Close.
	Bytes []byte

	body *spool.Body // nil if it is not part of the budget
}

// Close gives back the memory of the body. It may be called again.
func (b *BodyInMemory) Close() {
	b.Bytes = nil
	if b.body != nil {
		b.body.Close()
	}
}

// stranger is a request outside of any pool. Its spooled body counts for the handler that
// reads it, as the bodies of a pool count for the pool.
type stranger struct {
	*http.Request
	handler string
}

// Owner identifies the client and the handler that the request's body counts for.
func (s stranger) Owner() spool.Owner {
	return spool.Owner{Client: requests.ClientOf(s.Request, requests.DeterminedClient(s.Request)).Address, Pool: s.handler}
}

// TakeBody reads a request's body into memory for a handler, which closes the result. The
// body is spooled until it has arrived. Then TakeBody waits, until ctx ends, for memory
// from the budget of all spools. A body that its run has spooled already is only read, and
// needs no budget: the permits of the pool bound how many there are.
//
// The error is spool.ErrTooLarge above limit, spool.ErrTooSlow below the least rate,
// wraps spool.ErrFull if there is no room, and is a spool.ReadError otherwise.
func TakeBody(ctx context.Context, w http.ResponseWriter, r *http.Request, as BodyOptions) (*BodyInMemory, error) {
	run := runOf(r.Context())
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		return new(BodyInMemory), nil
	case run != nil && run.body.spooled != nil:
		return readSpooled(w, r, as.Limit)
	}
	var owner spool.Owned = stranger{r, as.Handler}
	if run != nil {
		owner = run
	}
	memory := min(as.Limit, spool.BlockSize) // in one piece it needs all of it anyway
	body, err := spool.ReadBody(requestbody.NewUpload(w, r, owner), r.ContentLength, as.Budget,
		spool.Bounds{Memory: memory, File: as.Limit - memory})
	if err != nil {
		if run != nil {
			run.body.leave()
		} else {
			bridge.LeaveUpload(w, r)
		}
		return nil, err
	}
	all, err := body.Load(ctx.Done())
	if err != nil {
		body.Close()
		return nil, err
	}
	return &BodyInMemory{Bytes: all, body: body}, nil
}

// BodyOptions of TakeBody.
type BodyOptions struct {
	// Handler is its name, for requests that are in no pool.
	Handler string
	// Limit is the largest body, in bytes.
	Limit int64
	// Budget is that of the process.
	Budget *spool.Budget
}

func readSpooled(w http.ResponseWriter, r *http.Request, limit int64) (*BodyInMemory, error) {
	var all bytes.Buffer
	_, err := io.Copy(&all, http.MaxBytesReader(w, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, spool.ErrTooLarge
	}
	if err != nil {
		return nil, &spool.ReadError{Err: err}
	}
	return &BodyInMemory{Bytes: all.Bytes()}, nil
}
