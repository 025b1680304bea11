package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// errResent is the error of a handler that wants to send a body again, more often than the
// route allows.
var errResent = errors.New("the request was sent as often as 'resend' allows: not sent again")

// kindName returns the option of 'unspooled' because of which the body is passed on as it
// arrives, empty if there is none. It may be called on any goroutine once the run is
// listed.
func (b *runBody) kindName() string {
	if b.kind == nil {
		return ""
	}
	return b.kind.Word
}

// take reads the request's body into the spool, unless the body must be passed on as it
// arrives. Before that, it rejects a request that the pool cannot admit. From then on the
// request belongs to the pool, even if a reload removes the pool.
func (b *runBody) take() error {
	run := b.run
	r, rt := run.client, run.Route
	if r.ContentLength == 0 || r.Body == nil || rt.RequestBounds.Sum() == 0 {
		return nil
	}
	kind, refused := rt.Unspooled.Of(r)
	switch {
	case refused:
		return rt.Pool.Reject(requests.IncrementalRefused)
	case kind != nil:
		b.kind = kind
		if rt.Unspooled.Bounds(kind, r) {
			run.ticket.CappedBy = requests.UnspooledLimit
		}
		return nil
	}
	if err := run.ticket.Announce(); err != nil {
		return err
	}
	rt.Pool.Entered()
	err := b.spool()
	if err != nil {
		run.ticket.Withdraw()
	}
	return err
}

// price sets the request's cost from its spooled body, if the cost depends on the body. It
// reads the body with a separate reader, so that the backend still gets all of it.
func (b *runBody) price() {
	rules := b.run.Route.Claims
	if rules == nil || !rules.ByBody() || b.spooled == nil || b.run.ticket.Claim == nil {
		return
	}
	body := b.spooled.Open()
	defer func() { _ = body.Close() }()
	cost := rules.CostOf(body)
	b.run.mu.Lock()
	defer b.run.mu.Unlock()
	b.run.ticket.Claim.Cost = cost
}

// spool reads the body while the request is listed as an upload.
func (b *runBody) spool() error {
	run, pool := b.run, b.run.Route.Pool
	run.enter(requests.PhaseUploading, run.arrived)
	err := b.readInTime()
	switch cut := b.endUpload(); {
	case cut:
		return pool.Reject(offloader.Cancelled)
	case errors.Is(err, spool.ErrTooLarge):
		return pool.Reject(requests.BodyTooLarge)
	case errors.Is(err, spool.ErrFull):
		run.Route.logSpoolFull("a request body could not be spooled", err)
		return pool.Reject(requests.SpoolFull)
	case err != nil && requestbody.IsTooSlow(err):
		run.Route.logTooSlow(run.client)
	case err == nil && b.spooled.Broken() != nil:
		run.Route.logSpoolFull("a request body could not be spooled to a file: it stays in memory", b.spooled.Broken())
	}
	return err
}

// readInTime is read with the time limit of the request. A body that has not arrived by
// then counts as too slow.
func (b *runBody) readInTime() error {
	l := limits{b.run}.inAll()
	if !l.Any() {
		return b.read()
	}
	timer := time.AfterFunc(time.Until(l.End), (&requestbody.Upload{W: b.run.w}).Stop)
	err := b.read()
	if !timer.Stop() && err == nil && b.broken == nil {
		b.spooled.Close()
		b.spooled, err = nil, spool.ErrTooSlow
	}
	return err
}

// endUpload ends the upload phase. It reports whether an operator has cancelled the upload.
func (b *runBody) endUpload() (cut bool) {
	run := b.run
	run.mu.Lock()
	defer run.mu.Unlock()
	run.uploaded()
	run.progress.Enter(requests.PhaseWaiting, run.arrived)
	return run.ending.late != 0
}

// readAhead spools a body that would be passed on, if all of it arrives within a moment. It
// does nothing on HTTP/1, where a read that waits for the client could be ended only with
// the connection, nor for a client that waits to be asked for its body, since it may be
// rejected before.
func (b *runBody) readAhead(ctx context.Context) error {
	run := b.run
	if r := run.client; r.ProtoMajor < 2 || r.Header.Get("Expect") != "" {
		return nil
	}
	run.ticket.CappedBy = 0
	err := run.ticket.Announce()
	run.ticket.CappedBy = requests.UnspooledLimit
	if err != nil {
		return err // the pool rejects it with any body
	}
	run.Route.Pool.Entered()
	a := requestbody.ReadAhead(run.client.Body)
	a.Await(ctx)
	if body := a.Whole(run.Route.Process.Budget, run.Route.RequestBounds); body != nil {
		b.spooled, b.kind, run.ticket.CappedBy = body, nil, 0
		return nil
	}
	b.ahead, run.client.Body = a, a
	return nil
}

// pass prepares a body that is not spooled for being passed on as it arrives. It is called
// before the run can be cancelled. The body of a job does not come from a client.
func (b *runBody) pass() {
	if r := b.run.client; b.spooled == nil && !b.run.ticket.Patient && r.Body != nil && r.ContentLength != 0 {
		b.passed = requestbody.PassOn(b.run.w, r, &b.run.permit)
	}
}

// forward gives r, which is for the handlers behind, the body.
func (b *runBody) forward(r *http.Request) {
	switch {
	case b.spooled != nil:
		b.give(r)
		b.show()
	case b.passed != nil:
		r.Body = b.passed
	}
}

// restore makes the body readable again for routes that answer in place of the run.
func (b *runBody) restore() {
	b.show()
	b.give(b.run.client)
}

// show gives placeholders the spooled body. They read the original request, not the copies
// that runs get.
func (b *runBody) show() {
	if b.spooled == nil {
		return
	}
	known := b.run.root().client
	if b.hidden == nil { // not yet, by a run before
		b.hidden = known.Body
	}
	known.Body = b.spooled.Open()
}

// hide undoes show at the end of the run. After a failure the server's error routes run
// next and may call another backend, so they get the spooled body again.
func (b *runBody) hide() {
	if b.spooled == nil {
		return
	}
	known := b.run.root().client
	switch {
	case b.run.failed:
		b.give(known)
	case b.hidden != nil:
		known.Body = b.hidden
	}
}

// give sets the spooled body, with its length, as the body of r.
func (b *runBody) give(r *http.Request) {
	if b.spooled == nil {
		return
	}
	r.Body = b.open()
	// The body is complete, so the backend need not ask for it with 100 Continue.
	r.Header.Del("Expect")
	if b.broken != nil {
		return // the length is still that of the whole
	}
	r.GetBody = b.reopen
	if len(r.Trailer) == 0 && b.spooled.Err() == nil { // trailers and cuts need the chunked form
		r.ContentLength = b.spooled.Size()
		r.TransferEncoding = nil
	}
}

// reopen returns the body again for a handler that sends the request again, as often as the
// route allows. Within an exchange, the exchange counts the sends.
func (b *runBody) reopen() (io.ReadCloser, error) {
	b.run.mu.Lock()
	defer b.run.mu.Unlock()
	if b.run.backend.current == nil {
		if b.reopened++; int(b.reopened) > b.run.Route.Resends {
			return nil, errResent
		}
	}
	return b.open(), nil
}

// open returns the spooled body from its beginning.
func (b *runBody) open() io.ReadCloser {
	body := b.spooled.Open()
	if b.broken == nil {
		return body
	}
	return &part{ReadCloser: body, of: b}
}

// apart returns the body if the run reads it without the connection, nil if the run reads
// from the connection.
func (b *runBody) apart() bridge.RequestBody {
	switch {
	case b.spooled != nil:
		return b.spooled
	case b.passed == nil && b.run.client.Header.Get("Upgrade") == "":
		return noBody{}
	}
	return nil
}

// clientAtFault reports whether the run has failed because of its client: a body that is
// passed on did not arrive, or an upload broke off.
func (b *runBody) clientAtFault() bool {
	return (b.passed != nil && b.passed.Failed()) || b.handedOnPart.Load()
}

// lacks reports whether the run got only a part of the body.
func (b *runBody) lacks() bool { return b.spooled != nil && b.spooled.Err() != nil }

// drop releases the memory and the file of the body. After a failure it waits until the
// server ends the request's context, since routes that answer the error may read the body.
func (b *runBody) drop() {
	switch {
	case b.spooled == nil:
	case b.run.failed:
		context.AfterFunc(b.run.root().client.Context(), b.spooled.Close)
	default:
		b.spooled.Close()
	}
}

// whole reports whether the body, if there is one, can be read again from its beginning.
func (b *runBody) whole() bool { return b.passed == nil && b.broken == nil && !b.lacks() }

// follow takes the body over from the run before, without a deadline that this one has set.
func (b *runBody) follow(before *runBody) {
	b.spooled, b.hidden = before.spooled, before.hidden
	if b.spooled != nil {
		b.spooled.SetReadDeadline(time.Time{})
	}
}

// noBody stands for a request without a body, which cannot come too late.
type noBody struct{}

// SetReadDeadline does nothing.
func (noBody) SetReadDeadline(time.Time) {}

// A part of a resumable upload is useful: its client asks the backend later how much has
// arrived, and sends the rest. So when such an upload breaks off, the part goes to the
// backend, with an error at its end. It waits and runs like any body, although its client
// has left.

// errBrokenOff is the error of a backend's transport at the end of a part. It wraps
// context.Canceled, so that it does not count as a failure of the upstream.
var errBrokenOff = fmt.Errorf("the client's upload broke off: %w", context.Canceled)

// read reads the client's body into the spool. If the read fails, the bytes before that are
// used as the body in two cases: a handler in front has read the rest, or the upload is
// resumable.
func (b *runBody) read() error {
	run := b.run
	u := requestbody.NewUpload(run.w, run.client, run)
	body, err := spool.ReadPart(u, run.client.ContentLength, run.Route.Process.Budget, run.Route.RequestBounds)
	failed, _ := errors.AsType[*spool.ReadError](err)
	_, refused := errors.AsType[caddyhttp.HandlerError](err)
	switch {
	case err == nil, body == nil:
	case failed != nil && u.ReadBefore(failed):
		body.EndWith(failed.End())
		err = nil
	case requestbody.IsResumable(run.client) && body.Size() > 0 && !refused:
		b.broken, err = err, nil
	default:
		body.Close()
		return err
	}
	b.spooled = body
	return err
}

// part is the body of an upload that has broken off.
type part struct {
	io.ReadCloser
	of *runBody
}

// Read fails with errBrokenOff at the end of the part. From then on the answer to the
// client is the one for a broken upload, whatever the handlers behind write.
func (p *part) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	if errors.Is(err, io.EOF) {
		p.of.handedOnPart.Store(true)
		p.of.run.writer.KillBeforeHead(errBrokenOff)
		err = fmt.Errorf("%w: %w", errBrokenOff, p.of.broken)
	}
	return n, err
}

// leave stops reading the body of a request that is answered before its body has arrived.
// The rest is discarded after the outermost run, without a permit.
func (b *runBody) leave() {
	if bridge.LeaveUpload(b.run.w, b.run.client) {
		b.run.root().body.left = true
	}
}

// discard reads and drops the rest of a body that was left. If the handler returns an
// error, another handler writes the answer: discard then returns err in a form that runs
// the same step before the end of that answer.
func (b *runBody) discard(err error) error {
	run := b.run
	switch d := run.Route.Process.Discarder; {
	case !b.left || b.spooled != nil:
	case run.client.ProtoMajor == 1:
		d.AfterAnswer(run.client)
	case run.grpc: // its clients read while they send, and need the end of the answer at once
	case err == nil:
		d.BeforeEnd(run.w, run.client)
	default:
		return answers.Then(err, func(w http.ResponseWriter) { d.BeforeEnd(w, run.client) })
	}
	return err
}
