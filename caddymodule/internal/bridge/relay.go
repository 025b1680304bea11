package bridge

import (
	"errors"
	"io"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// leadSize is the number of first bytes of a body that the run's goroutine writes: together
// with a usual head they fit into the buffers of net/http, on every version of HTTP.
const leadSize = 2 << 10

// flushIdle is how long bytes wait for further ones before they are flushed without a flush
// of the run. net/http alone would keep them until there are more.
const flushIdle = time.Millisecond

// largePiece is the size from which on a write of the run goes to the client without a
// copy. Smaller writes are collected, since a write to a connection costs more than a copy.
const largePiece = 16 << 10

// relay carries a spooled body from the run to the client. The run writes into the stream.
// One goroutine at a time reads the stream and writes to the client: the run, as long as
// the client does not block it; then the helper, a second goroutine; and Finish at the end.
type relay struct {
	opts   *Options
	state  *state
	client *client

	turn     turn
	nudge    timerlist.Timer
	stream   stream.Stream
	reader   stream.Reader
	panicked any // by another goroutine than the run's, which sets it before its end
}

// open prepares the stream and returns it. It needs no lock: the caller passes the stream
// to the state afterwards, and until then no other goroutine uses it.
func (r *relay) open() *stream.Stream {
	r.stream.Init(r.opts.Stream)
	if owned, ok := r.opts.Owner.(spool.Owned); ok {
		r.stream.BelongTo(owned)
	}
	r.reader.Join(&r.stream)
	r.reader.FlushIdle = flushIdle
	return &r.stream
}

// begin is called after the head was passed on. encoded means that the run has encoded the
// body itself.
func (r *relay) begin(encoded bool) {
	r.turn.armed, r.turn.encoded = true, encoded
	r.opts.Nudge.Start(&r.nudge, r)
}

// write takes p from the run. l counts the bytes of the body, p included. After
// [stream.ErrStalled] the helper is stuck in a write and still holds the spooled bytes.
func (r *relay) write(p []byte, l limits) (int, error) {
	n, err := r.writeThrough(p, l)
	if err == nil && n < len(p) {
		var rest int
		rest, err = r.stream.Write(p[n:])
		n += rest
		r.spooled(l)
		if errors.Is(err, stream.ErrStalled) {
			r.breakOff(err)
		}
	}
	if r.opts.Finish && errors.Is(err, errLost) {
		return len(p), nil
	}
	return n, err
}

// writeThrough writes the beginning of p to the client, as far as that does not block the
// run, and returns the number of bytes. The rest has to go to the stream.
func (r *relay) writeThrough(p []byte, l limits) (n int, err error) {
	r.turn.Lock()
	defer r.turn.Unlock()
	if len(p) == 0 || r.state.Lost() {
		return 0, nil
	}
	r.touch()
	if r.goesThrough(l) && (r.turn.prompt || len(p) >= largePiece) {
		n, err = r.writeLarge(p)
	}
	if err == nil && !r.turn.led {
		n, err = r.lead(p)
	}
	r.turn.writing = err == nil && n < len(p)
	if r.turn.writing && l.written > r.opts.inline() && r.turn.socket == nil {
		r.startHelper()
	}
	return n, err
}

// goesThrough reports whether the run writes its body to the client itself: the body is too
// large to be kept until the end of the run, or the run flushes. It requires r.turn.
func (r *relay) goesThrough(l limits) bool {
	return (r.turn.prompt || max(l.written, l.declared) > r.opts.inline()) && r.turn.find(r.client, r.opts) != nil && !r.turn.helping
}

// writeLarge writes as much of p as the client takes at once, without a copy. It requires
// r.turn.
func (r *relay) writeLarge(p []byte) (n int, err error) {
	if !r.handOnNow(false, r.opts.Stream.Patience) {
		return 0, nil
	}
	for n < len(p) && err == nil && !r.state.Lost() {
		room := r.turn.awaitRoom(r.opts.Stream.Patience)
		if room == 0 {
			r.startHelper()
			break
		}
		var more int
		more, err = r.writeHere(p[n:min(len(p), n+room)])
		n += more
	}
	return n, err
}

// writeHere writes to the client on this goroutine. It requires r.turn.
func (r *relay) writeHere(p []byte) (int, error) {
	first := !r.turn.led
	r.turn.led = true
	n, err := r.client.write(p)
	if err != nil {
		r.lose()
		return n, errLost
	}
	r.turn.took(n, false)
	if first {
		r.turn.began(r.client.w.Header())
	}
	return n, nil
}

// lead writes the first leadSize bytes of a body to the client, on the run's goroutine:
// writers such as that of "encode" keep the head until then, and they must not be called
// from elsewhere. These bytes are so few that net/http takes them without waiting for the
// client. It requires r.turn.
func (r *relay) lead(p []byte) (int, error) {
	n, err := r.writeHere(p[:min(len(p), leadSize)])
	if err == nil {
		r.stream.Lead(n)
	}
	return n, err
}

// spooled is called after a write to the stream. It sends full blocks on if the run writes
// to the client itself.
func (r *relay) spooled(l limits) {
	r.turn.Lock()
	defer r.turn.Unlock()
	r.turn.writing = false
	if r.goesThrough(l) && !r.state.Lost() {
		r.handOnNow(true, r.opts.Stream.Patience)
	}
}

// handOnNow sends the bytes in the stream to the client, or only its full blocks, waiting
// at most patience each time. If the client takes longer, handOnNow starts the helper and
// returns false. It requires r.turn.
func (r *relay) handOnNow(full bool, patience time.Duration) bool {
	for {
		room := r.turn.awaitRoom(patience)
		if room == 0 {
			r.startHelper()
			return false
		}
		piece, err := r.reader.TryNext(room, full)
		switch {
		case err != nil:
			r.breakOff(err)
			return false
		case len(piece.Data) == 0 && !piece.Flush:
			return true
		}
		if err := r.client.pass(piece); err != nil {
			r.lose()
			return false
		}
		r.turn.took(len(piece.Data), piece.Flush)
	}
}

// flush sends the bytes written so far to the client and flushes, or leaves both to the
// helper. If there is nothing but a head, it always flushes.
func (r *relay) flush() error {
	if err := r.flushHere(); err != nil {
		r.lose()
	}
	if r.state.Broken() {
		return errLost
	}
	return nil
}

func (r *relay) flushHere() error {
	r.turn.Lock()
	defer r.turn.Unlock()
	r.touch()
	switch {
	case r.state.Lost():
		return nil
	case !r.turn.led:
		r.turn.prompt = true
		return r.client.flush()
	}
	r.turn.prompt = true
	r.stream.Flush()
	if !r.goesThrough(limits{}) {
		r.startHelper()
	} else if r.handOnNow(false, r.opts.Stream.Patience) {
		r.reader.Rest()
	}
	return nil
}

// touch records that the run is active, and starts the timer that flushes its bytes when it
// pauses. It requires r.turn.
func (r *relay) touch() {
	r.turn.active = true
	if r.turn.socket != nil && !r.turn.helping && !r.turn.armed {
		r.turn.armed = true
		r.opts.Nudge.Start(&r.nudge, r)
	}
}

// Expired is called when the nudge timer expires: the response has begun and is not
// complete.
func (r *relay) Expired(*timerlist.Timer) {
	switch m, finished := r.state.current(); {
	case m == spooled && r.goOn():
		r.state.unlessFinished(func() { r.opts.Nudge.Start(&r.nudge, r) })
	case (m == direct || m == discarded) && !finished:
		r.opts.Owner.GoesOn()
	}
}

// goOn takes care of a response that goes on: from now on bytes do not wait for others, and
// the bridge or the owner notices when the client leaves. It reports whether the timer has
// to call it again.
func (r *relay) goOn() (again bool) {
	if !r.turn.TryLock() {
		return true
	}
	_, finished := r.state.current()
	switch {
	case finished:
	case r.turn.helping || r.turn.find(r.client, r.opts) == nil:
		r.startHelper()
	case r.turn.active:
		r.turn.active, again = false, true
	case r.turn.writing:
		r.startHelper()
	default: // the run pauses
		r.watch()
		if r.turn.unflushed || r.reader.Pending() {
			r.turn.armed = false
			go r.flushIdle() // which gives the turn back
			return false
		}
	}
	r.turn.armed = again
	r.turn.Unlock()
	return again
}

// watch makes the owner watch the client, once. It requires r.turn.
func (r *relay) watch() {
	if !r.turn.watched {
		r.turn.watched = true
		r.opts.Owner.GoesOn()
	}
}

// flushIdle sends and flushes the bytes of a run that pauses. It releases r.turn.
func (r *relay) flushIdle() {
	defer r.turn.Unlock()
	defer r.recovered()
	if r.state.Lost() || !r.handOnNow(false, 0) || r.state.Lost() {
		return
	}
	if r.turn.unflushed {
		if err := r.client.flush(); err != nil {
			r.lose()
			return
		}
		r.turn.took(0, true)
	}
	if !r.turn.writing {
		r.reader.Rest()
	}
}

// recovered catches a panic, which would end the process. Finish raises it again on the
// run's goroutine, where net/http and Caddy expect it.
func (r *relay) recovered() {
	if v := recover(); v != nil {
		r.panicked = v
		r.lose()
	}
}

// startHelper starts the helper unless there is one, or the run has ended. It requires
// r.turn.
func (r *relay) startHelper() {
	if done := r.state.beginHelp(); done != nil {
		r.turn.helping = true
		r.reader.Linger(r.turn.unflushed)
		go r.help(done)
	}
}

// help is the helper: it sends the body to the client until the end of the body, or until
// the run can do so again. Finish waits for it.
func (r *relay) help(done chan<- struct{}) {
	defer close(done)
	defer r.recovered()
	r.handOn(r.client.leaving())
}

// handOn copies from the stream to the client, and flushes where the run has flushed. The
// helper passes a channel that is closed when the client leaves.
func (r *relay) handOn(left <-chan struct{}) {
	for {
		piece, err := r.reader.Next(left)
		switch {
		case errors.Is(err, io.EOF):
			return
		case errors.Is(err, stream.ErrLeft):
			r.lose()
			return
		case err != nil:
			r.breakOff(err)
			return
		}
		if err := r.client.pass(piece); err != nil {
			r.lose()
			return
		}
		if left != nil && piece.Flush && r.retire() {
			return
		}
	}
}

// retire ends the helper if the client has received everything: the run can continue alone.
// So an idle stream costs no goroutine.
func (r *relay) retire() bool {
	r.turn.Lock()
	defer r.turn.Unlock()
	if r.turn.socket == nil || r.turn.writing || !r.reader.Rest() {
		return false
	}
	r.watch()
	if !r.state.endHelp() {
		return false
	}
	r.turn.helping, r.turn.unflushed = false, false
	r.turn.socket.forget()
	return true
}

// lose ends a response that cannot reach the client, and calls the owner once. With
// Options.Finish the run goes on, and its writes are discarded.
func (r *relay) lose() {
	first := r.state.breakOff(true)
	r.stream.Abort(errLost)
	if first {
		r.opts.Owner.ClientLost()
	}
}

// breakOff ends a response whose body has ended too early, or cannot be read or written.
func (r *relay) breakOff(cause error) {
	r.state.breakOff(false)
	r.stream.Abort(cause)
}

// drain sends the rest of the stream to the client, or waits until the helper has done so,
// and closes the stream. It returns the value of a panic of another goroutine.
func (r *relay) drain(helper <-chan struct{}) (panicked any) {
	defer r.stream.Close()
	if helper != nil {
		<-helper
	}
	r.turn.Lock() // bytes may be on their way
	defer r.turn.Unlock()
	if r.panicked == nil {
		r.handOn(nil) // what came after, or why nothing did
	}
	return r.panicked
}
