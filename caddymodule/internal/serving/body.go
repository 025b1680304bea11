package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// errResent is what a handler gets that would send a body once more than it may.
var errResent = errors.New("the request was sent again before: not sent once more")

// runBody is the request body of a run. It is spooled, or passed on as it comes, or the
// request has none.
type runBody struct {
	run     *Run
	spooled *spool.Body
	passed  *clientBody
	kind    *requestbody.Kind  // for which it is passed on, nil if not because of the request's fields
	ahead   *requestbody.Ahead // which has read the beginning of passed, nil if nothing has
	hidden  io.ReadCloser      // the body as it came, while placeholders are shown spooled

	// broken is why spooled is only a part of the body, nil if it is whole. handedOnPart
	// says that a handler has read the part to its end.
	broken       error
	handedOnPart atomic.Bool

	reopened int32 // how often, by handlers without an exchange; guarded by run.mu
}

// kindName is the kind for which the body is passed on, empty if it is not. It may be read
// on any goroutine once the run is listed.
func (b *runBody) kindName() string {
	if b.kind == nil {
		return ""
	}
	return b.kind.Word
}

// take reads the request's body into the spool, unless it must be passed on as it comes.
// A request that the pool cannot admit is rejected before that. From then on the request
// belongs to the pool, even if a reload removes it.
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

// spool reads the body while the request is listed as an upload.
func (b *runBody) spool() error {
	run, pool := b.run, b.run.Route.Pool
	run.enter(requests.PhaseUploading, run.arrived)
	err := b.read()
	switch cut := b.endUpload(); {
	case cut:
		return pool.Reject(offloader.Cancelled)
	case errors.Is(err, spool.ErrTooLarge):
		return pool.Reject(requests.BodyTooLarge)
	case errors.Is(err, spool.ErrFull):
		run.Route.logSpoolFull("a request body could not be spooled", err)
		return pool.Reject(requests.SpoolFull)
	case err != nil && tooSlow(err):
		run.Route.logTooSlow(run.client)
	case err == nil && b.spooled.Broken() != nil:
		run.Route.logSpoolFull("a request body could not be spooled to a file, it stays in memory", b.spooled.Broken())
	}
	return err
}

// endUpload ends the phase in which cutUpload works. It reports whether it has.
func (b *runBody) endUpload() (cut bool) {
	run := b.run
	run.mu.Lock()
	defer run.mu.Unlock()
	run.uploaded()
	run.progress.Enter(requests.PhaseWaiting, run.arrived)
	return run.ending.late != 0
}

// readAhead makes the run's body a spooled one if it is complete within a moment. On HTTP/1
// a read that waits for the client could not be ended without the connection, and a client
// that waits to be asked for its body may be rejected before that.
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
	if body := a.Whole(run.Route.RequestBounds); body != nil {
		b.spooled, b.kind, run.ticket.CappedBy = body, nil, 0
		return nil
	}
	b.ahead, run.client.Body = a, a
	return nil
}

// pass lets a body through that is not spooled. It comes before the run can be cancelled.
func (b *runBody) pass() {
	if r := b.run.client; b.spooled == nil && r.Body != nil && r.ContentLength != 0 {
		b.passed = &clientBody{run: b.run, own: r.Body}
		if b.kind != nil {
			b.passed.watchRate()
		}
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

// restore makes the body readable again for routes that answer in the run's place.
func (b *runBody) restore() {
	b.show()
	b.give(b.run.client)
}

// show lets placeholders read the body that was spooled. They know the request itself, and
// none of the copies that runs get.
func (b *runBody) show() {
	if b.spooled == nil {
		return
	}
	known := b.run.root().client
	b.hidden = known.Body
	known.Body = b.spooled.Open()
}

// hide ends the time in which placeholders are shown the spooled body. The routes that
// answer an error run after this, and may try elsewhere: they get it again.
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

// give gives r the body that was spooled, whose length is known now.
func (b *runBody) give(r *http.Request) {
	if b.spooled == nil {
		return
	}
	r.Body = b.open()
	// The client has sent all; there is nothing left to ask it for.
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

// reopen lets a handler behind send the body again, as often as the route allows. Where an
// exchange sends, it counts by itself.
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

// apart is the body as the run reads it without the connection, nil if it reads from that.
func (b *runBody) apart() bridge.RequestBody {
	switch {
	case b.spooled != nil:
		return b.spooled
	case b.passed == nil && b.run.client.Header.Get("Upgrade") == "":
		return noBody{}
	}
	return nil
}

// clientAtFault reports whether the run has ended because its client's body, which is
// passed on as it comes, did not come, or because it broke off.
func (b *runBody) clientAtFault() bool {
	return (b.passed != nil && b.passed.failed.Load()) || b.handedOnPart.Load()
}

// lacks reports whether the run got a body that is not whole.
func (b *runBody) lacks() bool { return b.spooled != nil && b.spooled.Err() != nil }

// drop gives back the memory and the file of the body. The server ends the request's context when the
// routes that answer an error are done.
func (b *runBody) drop() {
	switch {
	case b.spooled == nil:
	case b.run.failed:
		context.AfterFunc(b.run.root().client.Context(), b.spooled.Close)
	default:
		b.spooled.Close()
	}
}

// noBody has nothing that could come too late.
type noBody struct{}

// SetReadDeadline does nothing.
func (noBody) SetReadDeadline(time.Time) {}

// A part of a resumable upload is of use: its client asks the backend for the length that it
// has, and sends the rest. So a part is passed on, with an error at its end. It waits and
// runs as any body does, although its client has left.

// errBrokenOff is what a backend's transport gets at the end of a part. It wraps a cancel,
// so that it is not the upstream's failure.
var errBrokenOff = fmt.Errorf("the client's upload broke off: %w", context.Canceled)

// read reads the client's body into the spool. What came of one that fails is a body too,
// if a handler in front has taken the rest, or a resumable upload has broken off.
func (b *runBody) read() error {
	run := b.run
	u := requestbody.NewUpload(run.w, run.client, run)
	body, err := spool.ReadPart(u, run.client.ContentLength, pools.Budget, run.Route.RequestBounds)
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

// Read fails where the body ends. From then on the client is answered for its break,
// whatever handlers behind make of that.
func (p *part) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	if errors.Is(err, io.EOF) {
		p.of.handedOnPart.Store(true)
		p.of.run.writer.KillBeforeHead(errBrokenOff)
		err = fmt.Errorf("%w: %w", errBrokenOff, p.of.broken)
	}
	return n, err
}
