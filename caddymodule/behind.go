package caddymodule

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
)

// Functions that handlers behind "offload" may call about their run.

// NoticesCancel is called by handlers that stop their work when the request's context is
// cancelled, before the work starts. With on_abandon auto, a run of such a handler is
// cancelled as soon as its client leaves.
func NoticesCancel(ctx context.Context) { serving.NoticesCancel(ctx) }

// Deadlines returns when the run that a context belongs to is cancelled: at firstByte
// unless its response has begun, and at end in any case. Zero is never. The context has no
// deadline, so that handlers do not count it as their own failure.
func Deadlines(ctx context.Context) (firstByte, end time.Time) { return serving.Deadlines(ctx) }

// BodyInMemory is a request's body for a handler that needs all of it at once.
type BodyInMemory = serving.BodyInMemory

// BodyOptions of [TakeBody].
type BodyOptions struct {
	// Handler is the name of the handler, for requests that are in no pool.
	Handler string
	// Limit is the largest body, in bytes.
	Limit int64
}

// TakeBody reads a request's body into memory for a handler, which closes the result. It
// spools the body until all of it has arrived. Then TakeBody waits, until ctx ends, for
// memory from the budget of all spools. A body that its run has spooled already is only
// read, and needs no budget: the permits limit the number of such bodies.
//
// The error is spool.ErrTooLarge above the limit, spool.ErrTooSlow below the least
// rate, wraps spool.ErrFull if there is no room, and is a spool.ReadError otherwise.
func TakeBody(ctx context.Context, w http.ResponseWriter, r *http.Request, as BodyOptions) (*BodyInMemory, error) {
	return serving.TakeBody(ctx, w, r, serving.BodyOptions{Handler: as.Handler, Limit: as.Limit, Budget: process.Budget})
}

// NoStore forbids caches to store a handler's response, although the site may have allowed
// it before for responses of its backend. Fields that the site sets later still count.
func NoStore(header http.Header) { answers.NoStore(header) }
