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

// ServeHTTP takes a request through its pool.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	outer := runOf(r.Context())
	if outer.admittedTo(h.pool) {
		return next.ServeHTTP(w, r)
	}
	if !h.app.linking.done.Load() {
		h.app.link()
	}
	run := newRun(h, w, r, outer)
	defer func() { run.leave(err) }()
	run.place.PassDrain = outer != nil && exitBegan.Load()
	err = h.takeBody(run)
	run.beginWait()
	if err != nil {
		run.decide()
		return h.refuse(run, err)
	}
	permit, err := run.acquire()
	h.pool.entered()
	run.decide()
	if err != nil {
		return h.refuse(run, err)
	}
	run.admit(permit)
	h.pool.waits.Observe(run.waited.Seconds())
	return run.serve(next)
}

// takeBody reads the request's body into the spool, unless it must be passed on
// as it comes. What would be refused anyway is refused before that. From then on the
// request belongs to the pool, whatever becomes of that meanwhile.
func (h *Handler) takeBody(run *run) error {
	r := run.client
	if r.ContentLength == 0 || r.Body == nil || h.reqBounds.Sum() == 0 {
		return nil
	}
	kind, refused := h.unspooledKind(r)
	switch {
	case refused:
		return h.pool.Reject(offloader.IncrementalRefused)
	case kind != nil:
		run.kind = kind
		run.place.Unspooled = h.bounded(kind, r)
		return nil
	}
	if err := h.pool.BeginUpload(&run.place); err != nil {
		return err
	}
	h.pool.entered()
	err := h.spoolBody(run)
	if err != nil {
		h.pool.EndUpload(&run.place)
	}
	return err
}

func (h *Handler) spoolBody(run *run) error {
	run.enter(phaseUploading, run.arrived)
	err := run.readBody()
	switch cut := run.endUpload(); {
	case cut:
		return h.pool.Reject(offloader.Cancelled)
	case errors.Is(err, spool.ErrTooLarge):
		return h.pool.Reject(offloader.BodyTooLarge)
	case errors.Is(err, spool.ErrFull):
		h.logSpoolFull("a request body could not be spooled", err)
		return h.pool.Reject(offloader.SpoolFull)
	case err != nil && tooSlow(err):
		h.logTooSlow(run.client)
	case err == nil && run.body.Broken() != nil:
		h.logSpoolFull("a request body could not be spooled to a file, it stays in memory", run.body.Broken())
	}
	return err
}

// refuse answers a request that gets no permit.
func (h *Handler) refuse(run *run, err error) error {
	rejected, ok := errors.AsType[*offloader.RejectedError](err)
	if ok {
		run.reasoned(rejected.Reason)
	} else {
		run.clientGone(cutOff(run.client, err))
	}
	run.endSpan()
	switch {
	case ok:
		return h.reject(run, rejected)
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
