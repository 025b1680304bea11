package serving

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// statusClientLeft is what logs say of a request whose client left. It is
// nginx's invention, and what reverse_proxy uses.
const statusClientLeft = 499

// takeBody reads the request's body into the spool, unless it must be passed on
// as it comes. What would be refused anyway is refused before that. From then on the
// request belongs to the pool, whatever becomes of that meanwhile.
func (run *Run) takeBody() error {
	r, rt := run.client, run.Route
	if r.ContentLength == 0 || r.Body == nil || rt.RequestBounds.Sum() == 0 {
		return nil
	}
	kind, refused := rt.Unspooled.Of(r)
	switch {
	case refused:
		return rt.Pool.Reject(requests.IncrementalRefused)
	case kind != nil:
		run.body.kind = kind
		if rt.Unspooled.Bounds(kind, r) {
			run.ticket.CappedBy = requests.UnspooledLimit
		}
		return nil
	}
	if err := run.ticket.Announce(); err != nil {
		return err
	}
	rt.Pool.Entered()
	err := run.spoolBody()
	if err != nil {
		run.ticket.Withdraw()
	}
	return err
}

func (run *Run) spoolBody() error {
	pool := run.Route.Pool
	run.enter(requests.PhaseUploading, run.arrived)
	err := run.body.read()
	switch cut := run.endUpload(); {
	case cut:
		return pool.Reject(offloader.Cancelled)
	case errors.Is(err, spool.ErrTooLarge):
		return pool.Reject(requests.BodyTooLarge)
	case errors.Is(err, spool.ErrFull):
		run.Route.logSpoolFull("a request body could not be spooled", err)
		return pool.Reject(requests.SpoolFull)
	case err != nil && tooSlow(err):
		run.Route.logTooSlow(run.client)
	case err == nil && run.body.spooled.Broken() != nil:
		run.Route.logSpoolFull("a request body could not be spooled to a file, it stays in memory", run.body.spooled.Broken())
	}
	return err
}

// refuse answers a request that gets no permit.
func (run *Run) refuse(err error) error {
	rejected, ok := errors.AsType[*offloader.RejectedError](err)
	if ok {
		run.reasoned(rejected.Reason)
	} else {
		run.clientGone(cutOff(run.client, err))
	}
	run.endSpan()
	switch {
	case ok:
		return run.reject(rejected)
	case run.left:
		run.logLeft()
		return nil
	}
	return run.refuseBody(err)
}

// refuseBody judges a body that could not be read to its end.
func (run *Run) refuseBody(err error) error {
	if handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err); ok { // as request_body makes them
		return handlerErr
	}
	NoStore(run.w.Header())
	if tooSlow(err) {
		leaveBody(run.w, run.client)
		if run.grpc {
			rejectGRPC(run.w, grpcDeadlineExceeded, spool.ErrTooSlow.Error())
			return nil
		}
		return caddyhttp.Error(http.StatusRequestTimeout, err)
	}
	if run.client.ProtoMajor == 1 { // nobody knows where the next request begins
		run.w.Header().Set("Connection", "close")
	}
	return caddyhttp.Error(http.StatusBadRequest, err)
}

// cutOff reports whether a request is not served because its client has left.
// While a body is read HTTP/1 says so by the read's error alone, and it ends the
// context after any; on later versions a body can have no other fault but that it
// is shorter than it should be, for which net/http has no value.
func cutOff(r *http.Request, err error) bool {
	var handlerErr caddyhttp.HandlerError
	switch {
	case tooSlow(err), errors.As(err, &handlerErr):
		return false
	case r.Context().Err() != nil:
		return true
	case r.ProtoMajor > 1:
		return !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "declared a Content-Length")
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// tooSlow reports whether it was a timeout that ended a body.
func tooSlow(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, spool.ErrTooSlow) || (errors.As(err, &timeout) && timeout.Timeout())
}

var _ bridge.Owner = (*Run)(nil)

// acquire gets the run its permit.
func (run *Run) acquire() (offloader.Permit, error) {
	ctx, stop := run.waitContext()
	defer stop()
	if run.ticket.CappedBy != 0 {
		permit, err := run.ticket.AcquireNow()
		if !errors.Is(err, offloader.ErrNotNow) {
			return permit, err
		}
		if err := run.readAhead(ctx); err != nil {
			return permit, err
		}
	}
	return run.ticket.Acquire(ctx)
}

// readAhead makes the run's body a spooled one if it is complete within a moment. On HTTP/1
// a read that waits for the client could not be ended without the connection, and a client
// that waits to be asked for its body may be refused before that.
func (run *Run) readAhead(ctx context.Context) error {
	if r := run.client; r.ProtoMajor < 2 || r.Header.Get("Expect") != "" {
		return nil
	}
	run.ticket.CappedBy = 0
	err := run.ticket.Announce()
	run.ticket.CappedBy = requests.UnspooledLimit
	if err != nil {
		return err // it would be refused however its body is
	}
	run.Route.Pool.Entered()
	a := requestbody.ReadAhead(run.client.Body)
	a.Await(ctx)
	if body := a.Whole(run.Route.RequestBounds); body != nil {
		run.body.spooled, run.body.kind, run.ticket.CappedBy = body, nil, 0
		return nil
	}
	run.body.ahead, run.client.Body = a, a
	return nil
}
