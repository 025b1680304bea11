package caddymodule

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// statusClientLeft is what logs say of a request whose client left. It is
// nginx's invention, and what reverse_proxy uses.
const statusClientLeft = 499

// takeBody reads the request's body into the spool, unless it must be passed on
// as it comes. What would be refused anyway is refused before that. From then on the
// request belongs to the pool, whatever becomes of that meanwhile.
func (run *run) takeBody() error {
	r, rt := run.client, run.route
	if r.ContentLength == 0 || r.Body == nil || rt.RequestBounds.Sum() == 0 {
		return nil
	}
	kind, refused := rt.Unspooled.of(r)
	switch {
	case refused:
		return rt.Pool.Reject(offloader.IncrementalRefused)
	case kind != nil:
		run.kind = kind
		run.place.Unspooled = rt.Unspooled.bounds(kind, r)
		return nil
	}
	if err := rt.Pool.BeginUpload(&run.place); err != nil {
		return err
	}
	rt.Pool.entered()
	err := run.spoolBody()
	if err != nil {
		rt.Pool.EndUpload(&run.place)
	}
	return err
}

func (run *run) spoolBody() error {
	pool := run.route.Pool
	run.enter(phaseUploading, run.arrived)
	err := run.readBody()
	switch cut := run.endUpload(); {
	case cut:
		return pool.Reject(offloader.Cancelled)
	case errors.Is(err, spool.ErrTooLarge):
		return pool.Reject(offloader.BodyTooLarge)
	case errors.Is(err, spool.ErrFull):
		run.route.logSpoolFull("a request body could not be spooled", err)
		return pool.Reject(offloader.SpoolFull)
	case err != nil && tooSlow(err):
		run.route.logTooSlow(run.client)
	case err == nil && run.body.Broken() != nil:
		run.route.logSpoolFull("a request body could not be spooled to a file, it stays in memory", run.body.Broken())
	}
	return err
}

// refuse answers a request that gets no permit.
func (run *run) refuse(err error) error {
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
func (run *run) refuseBody(err error) error {
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

// forwarded is the request as the run gets it: under a context of its own, and
// with the spooled body.
func (run *run) forwarded(ctx context.Context) *http.Request {
	r := run.client.WithContext(ctx)
	switch {
	case run.body != nil:
		run.giveBody(r)
		run.showBody()
	case run.unspooled != nil:
		r.Body = run.unspooled
	}
	return r
}

// restoreBody makes the body readable again for routes that answer in the run's
// place.
func (run *run) restoreBody() {
	run.showBody()
	run.giveBody(run.client)
}

// showBody lets placeholders read the body that was spooled. They know the request
// itself, and none of the copies that runs get.
func (run *run) showBody() {
	if run.body == nil {
		return
	}
	known := run.root().client
	run.hidden = known.Body
	known.Body = run.body.Open()
}

// giveBody gives r the body that was spooled, whose length is known now.
func (run *run) giveBody(r *http.Request) {
	if run.body == nil {
		return
	}
	r.Body = run.openSpooled()
	// The client has sent all; there is nothing left to ask it for.
	r.Header.Del("Expect")
	if run.broken != nil {
		return // the length is still that of the whole
	}
	r.GetBody = run.openBody
	if len(r.Trailer) == 0 && run.body.Err() == nil { // trailers and cuts need the chunked form
		r.ContentLength = run.body.Size()
		r.TransferEncoding = nil
	}
}

var _ bridge.Owner = (*run)(nil)
