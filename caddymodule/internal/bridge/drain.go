package bridge

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// What a run gets when it writes to a client that has left, or after its end.
var (
	errLost     = errors.New("the client has left")
	errFinished = errors.New("the response has ended")
)

// nudger is called for a response that has begun and stays incomplete. It starts the
// helper: from then on bytes are handed on as they come, and the departure of the client is
// noticed. Without a helper it calls the owner.
type nudger struct{ w *Writer }

// Expired is called by the nudge's timer.
func (n nudger) Expired(*timerlist.Timer) {
	w := n.w
	w.mu.Lock()
	m, finished := w.mode, w.finished
	w.mu.Unlock()
	switch {
	case m == spooled:
		w.startHelper()
	case (m == direct || m == discarded) && !finished:
		w.opts.Owner.GoesOn()
	}
}

func (w *Writer) startHelper() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.helper != nil || w.finished || w.mode != spooled {
		return
	}
	w.helper = make(chan struct{})
	go w.help()
}

// help hands the body on until its end. Finish waits for it.
func (w *Writer) help() {
	defer close(w.helper)
	defer func() {
		// A panic here would end the process. It goes on in Finish, on the
		// goroutine where net/http and Caddy expect it.
		if v := recover(); v != nil {
			w.helperErr = v
			w.lose()
		}
	}()
	w.handOn(w.req.Context().Done())
}

// handOn copies from the stream to the client, and flushes where the run did.
func (w *Writer) handOn(left <-chan struct{}) {
	for {
		piece, err := w.reader.Next(left)
		switch {
		case errors.Is(err, io.EOF):
			return
		case errors.Is(err, stream.ErrLeft):
			w.lose()
			return
		case err != nil:
			w.breakOff(err)
			return
		}
		if err := w.pass(piece); err != nil {
			w.lose()
			return
		}
	}
}

func (w *Writer) pass(piece stream.Piece) error {
	if len(piece.Data) > 0 {
		if _, err := w.client.Write(piece.Data); err != nil {
			return err
		}
	}
	if piece.Flush {
		return w.flushClient()
	}
	return nil
}

// lose ends a response that cannot reach the client, and calls the owner once.
// With Options.Finish the run may go on, and what it writes is discarded.
func (w *Writer) lose() {
	w.mu.Lock()
	w.failed = true
	if w.opts.Finish {
		w.mode = discarded
	}
	w.mu.Unlock()
	if w.breakOff(errLost) {
		w.opts.Owner.ClientLost()
	}
}

// breakOff ends a response whose body has ended too early, or cannot be read or
// written. It reports whether it is the first to do so.
func (w *Writer) breakOff(cause error) bool {
	w.mu.Lock()
	first := !w.lost
	w.lost = true
	w.mu.Unlock()
	w.stream.Abort(cause)
	return first
}

// Finish ends the response after the run has ended: it hands on the rest and the trailers,
// and gives all memory back. cut says that the body is not complete;
// then, and after Kill, what came is flushed, and the caller must abort the
// connection. It returns when the client has it all, so the permit should be back before.
// A panic of the helper goes on from here, as the identical value.
func (w *Writer) Finish(cut error) {
	w.mu.Lock()
	w.finished = true
	helper, streaming := w.helper, w.streaming
	cutShort := cut != nil || w.dead != nil
	w.mu.Unlock()
	w.opts.Nudge.Stop(&w.nudge)
	if streaming {
		w.stream.End(cut)
		w.drain(helper)
	}
	w.endHeader()
	if w.helperErr != nil {
		panic(w.helperErr)
	}
	if cutShort && w.mayFlush() {
		_ = w.flushClient() // the connection is aborted next, whatever this says
	}
}

// mayFlush reports whether what the client has got of a response that is cut can
// be flushed, and is not left to the run: it could not, once it was killed.
func (w *Writer) mayFlush() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.failed && (w.streaming || (w.mode == direct && w.dead != nil))
}

// drain returns when the stream has been handed on, and gives it back.
func (w *Writer) drain(helper <-chan struct{}) {
	defer w.stream.Close()
	if helper == nil {
		w.handOn(nil)
		return
	}
	<-helper
}

// endHeader hands on the fields that the run has set after the head: trailers, or the whole
// header without a head.
func (w *Writer) endHeader() {
	w.sending.Lock() // a 1xx or an answer in the run's place may be on its way
	defer w.sending.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.client.Header()
	switch {
	case w.dead != nil || w.answered || w.lost || w.mode == discarded || w.mode == hijacked:
	case w.status == 0:
		replaceHeader(h, w.header)
	default:
		copyTrailers(h, w.header)
	}
}

// copyTrailers copies the trailers that the head has announced and those with
// the prefix that net/http gives to the ones that were not.
func copyTrailers(dst, src http.Header) {
	for _, names := range dst["Trailer"] {
		for name := range strings.SplitSeq(names, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if values, ok := src[name]; ok {
				dst[name] = values
			}
		}
	}
	for name, values := range src {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			dst[name] = values
		}
	}
}

// Complete reports whether a run that ended well wrote all that it declared.
func (w *Writer) Complete() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mode != spooled || w.declared < 0 || w.written == w.declared
}

// Status returns the final status, zero before the head.
func (w *Writer) Status() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// Lost reports whether the response could not be handed on to its end: the
// client was too slow or has left, or Finish or Kill has cut it short. If it was
// begun, the client must not take it for complete.
func (w *Writer) Lost() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost || w.mode == discarded || (w.dead != nil && w.status != 0)
}

// SpoolError says why the body could not go to a file, nil if that is not so.
func (w *Writer) SpoolError() error {
	w.mu.Lock()
	streaming := w.streaming
	w.mu.Unlock()
	if !streaming {
		return nil
	}
	return w.stream.Broken()
}

// Broken reports whether the run was made to fail by its client, which was too
// slow or has left: its writes have failed.
func (w *Writer) Broken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost && !w.opts.Finish
}

// HeadPassedOn reports whether the client's writer has got a final head.
func (w *Writer) HeadPassedOn() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answered || (w.status != 0 && !w.left)
}
