package caddymodule

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
)

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

// takenBody is the body that the run reads without the connection, nil if it reads from
// that.
func (run *run) takenBody() bridge.RequestBody {
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
