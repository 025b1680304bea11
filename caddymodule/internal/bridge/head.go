package bridge

import (
	"net/http"
	"strconv"
	"strings"
)

// maxInformational is how many 1xx heads are passed on. No server sends many;
// a broken one could send them without end.
const maxInformational = 32

// WriteHeader passes the head on to the client's writer, on this goroutine: each 1xx head,
// and one final head. net/http keeps the final head until there is a body, a flush or the
// end.
func (w *Writer) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.inform(status)
		return
	}
	w.commit(status)
}

// inform passes a 1xx head on. The transport's goroutine calls it while the run waits for
// the final head, and sometimes later, when the head is dropped.
func (w *Writer) inform(status int) {
	w.client.Lock()
	defer w.client.Unlock()
	if w.state.awaitsHead() && w.informed < maxInformational && !w.client.left() {
		w.informed++
		w.client.inform(status, w.header)
	}
}

// commit passes the final head on, once, and calls the owner.
func (w *Writer) commit(status int) {
	if status < 100 || status > 999 {
		// net/http would panic; such a status can only come from a backend.
		status = http.StatusBadGateway
	}
	now, first := w.begin(status)
	if !first {
		return
	}
	w.eager = unbuffered(w.header)
	if now.mode == direct {
		w.passWriteDeadline(now.limits.writeBy)
	}
	if now.mode != discarded {
		w.client.send(status, w.header)
	}
	w.opts.Owner.HeadSent(status, now.mode == direct)
	if w.client.upgrades(status) {
		w.opts.Owner.Upgraded()
	}
	w.relay.begin(w.header["Content-Encoding"] != nil)
}

// begin notes the final head. first is false if there was a head before, or if it is too
// late for one.
func (w *Writer) begin(status int) (now standing, first bool) {
	if !w.state.awaitsHead() {
		return standing{}, false
	}
	h := head{status: status, declared: contentLength(w.header), left: w.client.left()}
	if !h.left && w.spools(status) {
		h.stream = w.relay.open()
	}
	return w.state.begin(h)
}

// spools reports whether the body goes through the stream.
func (w *Writer) spools(status int) bool {
	return w.opts.spools() && !w.client.upgrades(status) &&
		// A response without a body is not spooled, since the client's writer then returns
		// the right error to a run that writes a body nevertheless.
		!w.client.bodiless(status) &&
		!NeverSpooled(w.header)
}

// unbuffered reports whether a response asks that each write be sent at once, by a field of
// nginx that many backends set for any proxy. The response must not be delayed, but its
// body is spooled as usual, so that a slow client does not block the run.
func unbuffered(h http.Header) bool { return strings.EqualFold(h.Get("X-Accel-Buffering"), "no") }

// contentLength returns the declared length of a body, -1 if there is none.
func contentLength(h http.Header) int64 {
	text := h.Get("Content-Length")
	if text == "" {
		return -1 // the usual case, and an error costs an allocation
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}
