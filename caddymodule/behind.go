package caddymodule

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
)

// The functions that handlers behind "offload" may call for their run.

// NoticesCancel is for handlers that stop their work when the request's context is
// cancelled. With on_abandon auto a run of such a handler is cancelled as soon as its
// client leaves. Call it before the work starts.
func NoticesCancel(ctx context.Context) { serving.NoticesCancel(ctx) }

// Deadlines returns when the run that a context belongs to is cancelled: at firstByte
// unless its response has begun, and at end in any case. Zero is never. The context has no
// deadline, so that handlers do not count it as their own failure.
func Deadlines(ctx context.Context) (firstByte, end time.Time) { return serving.Deadlines(ctx) }

// BodyInMemory is a request's body for a handler that needs all of it at once.
type BodyInMemory = serving.BodyInMemory

// BodyOptions of [TakeBody].
type BodyOptions = serving.BodyOptions

// TakeBody reads a request's body for a handler, which closes the result. It spools the
// body until that is complete. The memory counts for the budget of all spools: TakeBody
// waits for room until ctx ends. The body of a run that is spooled already is only read:
// the permits limit the number of such bodies.
//
// The error is spool.ErrTooLarge above the limit, spool.ErrTooSlow below the least
// rate, wraps spool.ErrFull if there is no room, and is a spool.ReadError otherwise.
func TakeBody(ctx context.Context, w http.ResponseWriter, r *http.Request, as BodyOptions) (*BodyInMemory, error) {
	return serving.TakeBody(ctx, w, r, as)
}

// NoStore keeps caches from storing a handler's response, regardless of header fields that
// the site has set before for those of its backend. Fields that the site sets later count.
func NoStore(header http.Header) { serving.NoStore(header) }
