package caddymodule

import (
	"errors"
	"io"
	"sync/atomic"
)

// clientBody is the body of a request that is not spooled. It notes when it is
// the client that fails, which handlers report like a failure of the backend, and
// when the run waits for it.
type clientBody struct {
	run *run
	src io.ReadCloser // nil before the first read

	failed  atomic.Bool
	reading atomic.Int32 // reads under way
	atEnd   atomic.Bool
}

// Read reads from the client, or what a placeholder has read before and put in the
// body's place.
func (b *clientBody) Read(p []byte) (int, error) {
	if b.src == nil {
		b.src = b.run.client.Body
	}
	b.reading.Add(1)
	n, err := b.src.Read(p)
	b.reading.Add(-1)
	switch {
	case errors.Is(err, io.EOF):
		b.atEnd.Store(true)
	case err != nil:
		b.failed.Store(true)
	}
	return n, err
}

// Close ends the client's body.
func (b *clientBody) Close() error { return b.run.client.Body.Close() }

// ended reports whether the backend has been sent all of it.
func (b *clientBody) ended() bool { return b.atEnd.Load() }

// waits reports whether the backend waits for more of it.
func (b *clientBody) waits() bool { return b.reading.Load() > 0 }

// stop makes a read fail that waits for the client.
func (b *clientBody) stop() { (&upload{w: b.run.w}).Stop() }
