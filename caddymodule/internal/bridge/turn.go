package bridge

import (
	"net/http"
	"sync"
	"time"
)

// encoderKeeps is how many bytes an encoder in front may keep and write with a later piece.
const encoderKeeps = 256 << 10

// waitForMiB is how long a run may wait for its client for each MiB of the response: a
// client slower than a gigabit per second counts as slow.
const waitForMiB = 8 * time.Millisecond

// timesPatience bounds one such wait, in units of Options.Stream.Patience: a client that
// stops after many bytes must not keep the permit for long.
const timesPatience = 4

// turn decides which goroutine writes a spooled body to the client: the run, a goroutine
// that flushes for it, or the helper. The first two hold the lock while they write. The
// state may be locked under it.
type turn struct {
	sync.Mutex
	socket    *socket // nil if it cannot be asked
	keeps     int     // bytes that outer writers may keep
	found     bool    // the socket was looked for
	encoded   bool    // by the run
	led       bool    // the first bytes are written
	helping   bool    // it is the helper's turn
	writing   bool    // the run is in a write to the stream, which may block
	prompt    bool    // the run flushes
	unflushed bool    // the client's writer has bytes that no flush has followed
	armed     bool    // the nudge will come
	active    bool    // the run has written or flushed since the last nudge
	watched   bool    // the owner watches the client

	wrote  int64         // bytes that the client has taken at once
	waited time.Duration // for the client
}

// find looks for the socket, once. It returns nil where the room of the socket does not
// show whether a write blocks: on later versions than HTTP/1, while net/http may still have
// to read the request's body before it writes a head, and inside another pool, which may
// block a write itself.
func (t *turn) find(c *client, o *Options) *socket {
	if t.found {
		return t.socket
	}
	t.found = true
	if c.req.ProtoMajor != 1 || (o.Body == nil && c.req.ContentLength != 0) || c.nested() {
		return nil
	}
	t.socket = socketOf(c.req.Context())
	if t.socket != nil {
		t.socket.forget()
	}
	return t.socket
}

// room returns how many bytes the client takes at once, zero if they are few or not known.
func (t *turn) room() int {
	if t.socket == nil {
		return 0
	}
	return t.socket.room(t.keeps)
}

// awaitRoom is room, but waits a moment for a client that keeps up: the stream would cost
// more.
func (t *turn) awaitRoom(patience time.Duration) int {
	room := t.room()
	if room > 0 || t.socket == nil || patience == 0 {
		return room
	}
	allowed := min(timesPatience*patience, patience+time.Duration(t.wrote)*waitForMiB>>20-t.waited)
	if allowed <= 0 {
		return 0
	}
	began := time.Now()
	ready := t.socket.await(allowed)
	t.waited += time.Since(began)
	if !ready {
		return 0
	}
	return t.room()
}

// took counts n bytes that the client's writer has taken. flushed reports whether they were
// flushed.
func (t *turn) took(n int, flushed bool) {
	t.unflushed = !flushed
	t.wrote += int64(n)
	if t.socket != nil {
		t.socket.use(n)
	}
}

// began is called after the first bytes: now the header shows whether an outer writer
// encodes the body.
func (t *turn) began(client http.Header) {
	if !t.encoded && client["Content-Encoding"] != nil {
		t.keeps = encoderKeeps
	}
}
