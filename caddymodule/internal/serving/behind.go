package serving

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// Deadlines returns when the run that a context belongs to will be cancelled:
// at firstByte unless its answer has begun, and at end in any case. Zero is
// never. The context itself has no deadline, so that handlers do not take it for
// a failure of theirs; handlers that pass work on learn how long it is of use.
func Deadlines(ctx context.Context) (firstByte, end time.Time) {
	for run := runOf(ctx); run != nil; run = run.outer {
		started := run.arrived.Add(run.waited)
		firstByte = earlier(firstByte, started, run.Route.FirstByteTimeout)
		end = earlier(end, started, run.Route.RunTimeout)
	}
	return firstByte, end
}

// earlier returns the earlier of a moment, where zero is never, and the end of a
// timeout.
func earlier(than, started time.Time, timeout time.Duration) time.Time {
	if timeout <= 0 {
		return than
	}
	at := started.Add(timeout)
	if than.IsZero() || at.Before(than) {
		return at
	}
	return than
}

// BodyInMemory is a request's body for a handler that needs all of it at once.
type BodyInMemory struct {
	// Bytes must not be used after Close.
	Bytes []byte

	body *spool.Body // nil if it is not part of the budget
}

// Close gives back what the body has taken. It may be called again.
func (b *BodyInMemory) Close() {
	b.Bytes = nil
	if b.body != nil {
		b.body.Close()
	}
}

// stranger is a request that is in no pool. It is counted for the handler.
type stranger struct {
	*http.Request
	handler string
}

// Owner says whose the request's body is.
func (s stranger) Owner() spool.Owner {
	return spool.Owner{Client: requests.ClientOf(s.Request, requests.DeterminedClient(s.Request)).Address, Pool: s.handler}
}

// TakeBody reads a request's body for the handler of that name, which closes what it
// gets. Until it has come it is spooled, and in memory it is part of what all spools may
// keep: it waits for that until ctx ends. The body of a run that is spooled already is
// only read: the run's permit bounds how many there are.
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
	body, err := spool.ReadBody(requestbody.NewUpload(w, r, owner), r.ContentLength, pools.Budget,
		spool.Bounds{Memory: memory, File: as.Limit - memory})
	if err != nil {
		leaveBody(w, r)
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
