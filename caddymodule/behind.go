package caddymodule

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/serving"
)

// What handlers behind "offload" may ask of their run.

// NoticesCancel is for handlers that stop their work when the request's context is
// cancelled. With on_abandon auto a run of such a handler is cancelled as soon as its
// client leaves. Call it before the work starts.
func NoticesCancel(ctx context.Context) { serving.NoticesCancel(ctx) }

// Deadlines returns when the run that a context belongs to is cancelled: at firstByte
// unless its answer has begun, and at end in any case. Zero is never. The context itself
// has no deadline, so that handlers do not take it for a failure of theirs.
func Deadlines(ctx context.Context) (firstByte, end time.Time) { return serving.Deadlines(ctx) }

// BodyInMemory is a request's body for a handler that needs all of it at once.
type BodyInMemory = serving.BodyInMemory

// BodyOptions of [TakeBody].
type BodyOptions = serving.BodyOptions

// TakeBody reads a request's body for a handler, which closes what it gets. Until it has
// come it is spooled, and in memory it is part of what all spools may keep: it waits for
// that until ctx ends. The body of a run that is spooled already is only read: the run's
// permit bounds how many there are.
//
// The error is spool.ErrTooLarge above the limit, spool.ErrTooSlow below the least
// rate, wraps spool.ErrFull if there is no room, and is a spool.ReadError otherwise.
func TakeBody(ctx context.Context, w http.ResponseWriter, r *http.Request, as BodyOptions) (*BodyInMemory, error) {
	return serving.TakeBody(ctx, w, r, as)
}

// NoStore keeps caches from keeping an answer that a handler makes, whatever the site has
// said before about those of its backend. What the site says afterwards counts.
func NoStore(header http.Header) { serving.NoStore(header) }
