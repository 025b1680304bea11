package caddymodule

import (
	"context"
	"errors"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// acquire gets the run its permit.
func (run *run) acquire() (offloader.Permit, error) {
	ctx, stop := run.waitContext()
	defer stop()
	pool := run.route.Pool
	if run.place.Unspooled {
		permit, err := pool.AcquireNow(&run.place)
		if !errors.Is(err, offloader.ErrNotNow) {
			return permit, err
		}
		if err := run.readAhead(ctx); err != nil {
			return permit, err
		}
	}
	return pool.AcquireAt(ctx, &run.place)
}

// readAhead makes the run's body a spooled one if it is complete within a moment. On HTTP/1
// a read that waits for the client could not be ended without the connection, and a client
// that waits to be asked for its body may be refused before that.
func (run *run) readAhead(ctx context.Context) error {
	if r := run.client; r.ProtoMajor < 2 || r.Header.Get("Expect") != "" {
		return nil
	}
	run.place.Unspooled = false
	err := run.route.Pool.BeginUpload(&run.place)
	run.place.Unspooled = true
	if err != nil {
		return err // it would be refused however its body is
	}
	run.route.Pool.entered()
	a := &ahead{ReadCloser: run.client.Body, done: make(chan struct{})}
	go a.read()
	a.await(ctx)
	if body := a.whole(run.route.RequestBounds); body != nil {
		run.body, run.kind, run.place.Unspooled = body, nil, false
		return nil
	}
	run.ahead, run.client.Body = a, a
	return nil
}
