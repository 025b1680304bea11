package bridge

import (
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// inlineLimit is the size above which the helper, a second goroutine, sends a response to
// the client during the run. Smaller responses are sent when the run has ended.
const inlineLimit = 128 << 10

// Owner is called at the events of a response. Its methods must not block, write or flush.
type Owner interface {
	// HeadSent is called once, on the run's goroutine, when the final head has been passed
	// on. direct means that the body is not spooled.
	HeadSent(status int, direct bool)
	// GoesOn is called, on any goroutine, when a body has been going on for a while that is
	// not spooled, or that the run writes to the client itself. From then on the owner has
	// to watch the client, since the bridge does not notice that it leaves.
	GoesOn()
	// Upgraded is called after HeadSent if the connection is no longer HTTP.
	Upgraded()
	// ClientLost is called, on any goroutine, when the client has left after
	// the head was sent.
	ClientLost()
}

// RequestBody is a request body that is not read from the connection.
type RequestBody interface {
	// SetReadDeadline makes reading fail from t on, with an error that is
	// [os.ErrDeadlineExceeded]. The zero value removes the deadline.
	SetReadDeadline(t time.Time)
}

// Options of a writer.
type Options struct {
	// Stream has the options of the stream that holds the body. A budget is required;
	// bounds of zero mean that nothing is spooled.
	Stream stream.Options
	// Nudge is the list of timers for responses that have begun and are not complete. A
	// timer starts the helper, the goroutine that sends spooled bytes to the client, before
	// a client notices a delay.
	Nudge *timerlist.List
	// Body is the body of the request, nil if the run reads it from the connection.
	Body RequestBody
	// Finish lets the run write on after the client has left. Its bytes are dropped.
	Finish bool
	// Owner is called at the events of the response. If it is a spool.Owned, the stream
	// counts for its client and pool.
	Owner Owner
}

// inline is the largest spooled body that is kept until the end of the run, in bytes: it
// needs no helper.
func (o *Options) inline() int64 { return min(inlineLimit, o.Stream.Bounds.Memory) }

// spools reports whether a body may be spooled.
func (o *Options) spools() bool { return o.Stream.Bounds.Sum() > 0 }
