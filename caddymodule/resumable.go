package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// A resumable upload that breaks off is worth what has come of it: its client asks the
// backend how much that is, and sends the rest. So the part is handed on, with the break at
// its end. It waits and runs as any body does, although its client has left.

// errBrokenOff is what a backend's transport gets at the end of a part. It wraps a cancel,
// so that it is not the upstream's failure.
var errBrokenOff = fmt.Errorf("the client's upload broke off: %w", context.Canceled)

// readBody reads the client's body into the spool. What came of one that fails is a body
// too, if a handler in front has taken the rest, or a resumable upload has broken off.
func (run *run) readBody() error {
	u := newUpload(run.w, run.client, run)
	body, err := spool.ReadPart(u, run.client.ContentLength, budget, run.route.RequestBounds)
	failed, _ := errors.AsType[*spool.ReadError](err)
	_, refused := errors.AsType[caddyhttp.HandlerError](err)
	switch {
	case err == nil, body == nil:
	case failed != nil && u.readBefore(failed):
		body.EndWith(failed.End())
		err = nil
	case isResumable(run.client) && body.Size() > 0 && !refused:
		run.broken, err = err, nil
	default:
		body.Close()
		return err
	}
	run.body = body
	return err
}

// openSpooled returns the spooled body from its beginning.
func (run *run) openSpooled() io.ReadCloser {
	body := run.body.Open()
	if run.broken == nil {
		return body
	}
	return &part{ReadCloser: body, run: run}
}

// part is the body of an upload that has broken off.
type part struct {
	io.ReadCloser
	run *run
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
func (run *run) refuseBroken() error {
	if cutOff(run.client, run.broken) {
		run.clientGone(true)
		run.logLeft()
		return nil
	}
	return run.refuseBody(run.broken)
}
