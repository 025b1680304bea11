package requestbody

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// Most gRPC calls have one message, which arrives together with the head. With a complete
// body such a call cannot hold its permit for long, so it need not count for the half of
// the permits that streams share. No header field distinguishes it from a stream. So if the
// pool has no permit for a stream at once, the body gets a moment to end.

const (
	// aheadFor is how long a body may take to be complete.
	aheadFor = 100 * time.Millisecond

	// aheadSize is how much of the body may be read meanwhile. This memory is not part of
	// the budget.
	aheadSize = 64 << 10
)

// Ahead is a request body whose beginning is read before its run.
type Ahead struct {
	io.ReadCloser               // the rest
	done          chan struct{} // closed when fill has returned

	mu     sync.Mutex // guards the rest
	got    bytes.Buffer
	err    error // of the body, behind got
	enough bool  // no more is to be read
}

// ReadAhead starts a goroutine that reads the beginning of a body. The goroutine ends with
// the body, when it has read enough, or with Settle.
func ReadAhead(body io.ReadCloser) *Ahead {
	a := &Ahead{ReadCloser: body, done: make(chan struct{})}
	go a.fill()
	return a
}

// fill reads the body until it ends, until aheadSize bytes have arrived, or until Await has
// ended.
func (a *Ahead) fill() {
	defer close(a.done)
	buf := make([]byte, 4<<10)
	for {
		n, err := a.ReadCloser.Read(buf)
		a.mu.Lock()
		a.got.Write(buf[:n])
		a.err = err
		enough := a.enough || err != nil || a.got.Len() >= aheadSize
		a.mu.Unlock()
		if enough {
			return
		}
	}
}

// Await waits until the body has ended, but for aheadFor at most.
func (a *Ahead) Await(ctx context.Context) {
	moment := time.NewTimer(aheadFor)
	defer moment.Stop()
	select {
	case <-a.done:
	case <-moment.C:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.enough = true
}

// Whole returns the body in a spool of the budget, nil if it has not ended or there is no room.
func (a *Ahead) Whole(budget *spool.Budget, bounds spool.Bounds) *spool.Body {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !errors.Is(a.err, io.EOF) {
		return nil
	}
	body, err := spool.ReadBody(bytes.NewReader(a.got.Bytes()), int64(a.got.Len()), budget, bounds)
	if err != nil {
		return nil
	}
	return body
}

// Read returns the bytes that were read ahead, and then the rest.
func (a *Ahead) Read(p []byte) (int, error) {
	if n := a.take(p); n > 0 {
		return n, nil
	}
	<-a.done
	if n := a.take(p); n > 0 {
		return n, nil
	}
	if a.err != nil { // the reading goroutine has ended
		return 0, a.err
	}
	return a.ReadCloser.Read(p)
}

func (a *Ahead) take(p []byte) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, _ := a.got.Read(p) // empty is no error here
	return n
}

// Settle ends a read that still waits for the client, since the server must not find a read
// in progress when the request is over.
func (a *Ahead) Settle(w http.ResponseWriter) {
	select {
	case <-a.done:
		return
	default:
	}
	if http.NewResponseController(w).SetReadDeadline(time.Now()) == nil {
		<-a.done
	}
}
