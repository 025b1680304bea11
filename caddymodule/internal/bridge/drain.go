package bridge

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// errLost is what a run gets when it writes to a client that has left.
var errLost = errors.New("the client has left")

// nudger starts the helper for a response that has begun and stays incomplete:
// from then on bytes are handed on as they come, and the client's leaving is
// noticed.
type nudger struct{ w *Writer }

// Expired is called by the nudge's timer.
func (n nudger) Expired(*offloader.Timeout) { n.w.startHelper() }

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
		if err != nil {
			if errors.Is(err, stream.ErrLeft) {
				w.lose()
			}
			return
		}
		if len(piece.Data) > 0 {
			if _, err := w.client.Write(piece.Data); err != nil {
				w.lose()
				return
			}
		}
		if piece.Flush {
			if err := w.flushClient(); err != nil {
				w.lose()
				return
			}
		}
	}
}

// lose ends a response that cannot reach the client. With Options.Finish the
// run may go on, and what it writes is discarded.
func (w *Writer) lose() {
	w.mu.Lock()
	w.lost = true
	if w.opts.Finish {
		w.mode = discarded
	}
	w.mu.Unlock()
	w.stream.Abort(errLost)
	w.opts.Owner.ClientLost()
}

// Finish ends the response after the run has: it hands on what is left and the
// trailers, and gives all memory back. cut says that the body is not complete;
// then what came is flushed, and the caller must abort the connection. It
// returns when the client has it all, so the permit should be back before.
// A panic of the helper goes on from here, as the identical value.
func (w *Writer) Finish(cut error) {
	w.mu.Lock()
	w.finished = true
	helper, streaming := w.helper, w.streaming
	w.mu.Unlock()
	if streaming {
		w.opts.Nudge.Stop(&w.nudge)
		w.stream.End(nil, cut)
		if helper != nil {
			<-helper
		} else {
			w.handOn(nil)
		}
		w.stream.Close()
	}
	w.endHeader()
	if w.helperErr != nil {
		panic(w.helperErr)
	}
	if cut != nil && streaming {
		_ = w.flushClient() // the connection is aborted next, whatever this says
	}
}

// endHeader hands on what the run has put into the header beside the head:
// trailers, or all of it if there was no head.
func (w *Writer) endHeader() {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.client.Header()
	switch {
	case w.dead != nil || w.answered || w.mode == discarded || w.mode == hijacked:
	case w.status == 0:
		replaceHeader(h, w.header)
	default:
		copyTrailers(h, w.header)
	}
}

// copyTrailers copies the announced trailers and those with the prefix that
// net/http gives to the ones that were not.
func copyTrailers(dst, src http.Header) {
	for _, names := range src["Trailer"] {
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

// Lost reports whether the response could not be handed on to its end.
func (w *Writer) Lost() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost || w.mode == discarded
}

// HeadPassedOn reports whether the client's writer has got a final head.
func (w *Writer) HeadPassedOn() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answered || (w.status != 0 && !w.left)
}
