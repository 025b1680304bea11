package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// forwarded is the request as the run gets it: under a context of its own, and
// with the spooled body.
func (run *Run) forwarded(ctx context.Context) *http.Request {
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
func (run *Run) restoreBody() {
	run.showBody()
	run.giveBody(run.client)
}

// showBody lets placeholders read the body that was spooled. They know the request
// itself, and none of the copies that runs get.
func (run *Run) showBody() {
	if run.body == nil {
		return
	}
	known := run.root().client
	run.hidden = known.Body
	known.Body = run.body.Open()
}

// giveBody gives r the body that was spooled, whose length is known now.
func (run *Run) giveBody(r *http.Request) {
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

// takenBody is the body that the run reads without the connection, nil if it reads from
// that.
func (run *Run) takenBody() bridge.RequestBody {
	switch {
	case run.body != nil:
		return run.body
	case run.unspooled == nil && run.client.Header.Get("Upgrade") == "":
		return noBody{}
	}
	return nil
}

// noBody has nothing that could come too late.
type noBody struct{}

// SetReadDeadline does nothing.
func (noBody) SetReadDeadline(time.Time) {}

// A resumable upload that breaks off is worth what has come of it: its client asks the
// backend how much that is, and sends the rest. So the part is handed on, with the break at
// its end. It waits and runs as any body does, although its client has left.

// errBrokenOff is what a backend's transport gets at the end of a part. It wraps a cancel,
// so that it is not the upstream's failure.
var errBrokenOff = fmt.Errorf("the client's upload broke off: %w", context.Canceled)

// readBody reads the client's body into the spool. What came of one that fails is a body
// too, if a handler in front has taken the rest, or a resumable upload has broken off.
func (run *Run) readBody() error {
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
		run.broken, err = err, nil
	default:
		body.Close()
		return err
	}
	run.body = body
	return err
}

// openSpooled returns the spooled body from its beginning.
func (run *Run) openSpooled() io.ReadCloser {
	body := run.body.Open()
	if run.broken == nil {
		return body
	}
	return &part{ReadCloser: body, run: run}
}

// part is the body of an upload that has broken off.
type part struct {
	io.ReadCloser
	run *Run
}

// Read fails where the body ends. From then on the client is answered for its break,
// whatever handlers behind make of that.
func (p *part) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	if errors.Is(err, io.EOF) {
		p.run.handedOnPart.Store(true)
		p.run.writer.KillBeforeHead(errBrokenOff)
		err = fmt.Errorf("%w: %w", errBrokenOff, p.run.broken)
	}
	return n, err
}

// refuseBroken answers for a run whose upload broke off. Most clients are not there.
func (run *Run) refuseBroken() error {
	if cutOff(run.client, run.broken) {
		run.clientGone(true)
		run.logLeft()
		return nil
	}
	return run.refuseBody(run.broken)
}
