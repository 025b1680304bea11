package exchange

import (
	"errors"
	"io"
	"maps"
	"net/http"
)

// outlaster is the part of [Owner] that a body needs.
type outlaster interface{ Outlasts() bool }

// body is the answer's body as the run reads it. Close may be called during Read.
type body struct {
	state         *state
	owner         outlaster
	own, trailers *http.Response // where trailers go to and come from, nil without
}

// reset prepares the body for the next answer, which has not arrived. Between requests
// owner is nil.
func (b *body) reset(owner outlaster) { b.owner, b.own, b.trailers = owner, nil, nil }

// replace sets b as the body of an answer, and returns the answer for the run. An answer
// that may have trailers is copied, since the transport writes trailers into the original
// at the end of the body.
func (b *body) replace(res *http.Response) *http.Response {
	if res.ContentLength < 0 || res.ProtoMajor > 1 {
		own := *res
		own.Trailer = maps.Clone(res.Trailer)
		b.own, b.trailers = &own, res
		res = &own
	}
	res.Body = b
	return res
}

// Read returns bytes that the worker, the goroutine of the exchange, has read.
func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	held, err := b.state.awaitBytes()
	n := copy(p, held)
	if n > 0 {
		err = b.state.taken(n)
	}
	if errors.Is(err, io.EOF) && b.own != nil {
		b.own.Trailer = b.trailers.Trailer
	}
	return n, err
}

// Close ends the body. If the body has not ended and the backend presumably works on, the
// exchange goes on without the run. Otherwise the connection is closed, as it would be
// without an exchange.
func (b *body) Close() error {
	source := b.state.close(!b.state.ended() && b.owner.Outlasts())
	if source == nil {
		return nil
	}
	return source.Close()
}
