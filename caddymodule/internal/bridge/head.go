package bridge

import (
	"mime"
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// inform passes a 1xx head on. The transport's goroutine calls it while the run
// waits for the final head, and sometimes later, when it is of no use.
func (w *Writer) inform(status int) {
	w.sending.Lock()
	defer w.sending.Unlock()
	if !w.mayInform() {
		return
	}
	h := w.client.Header()
	before := h.Clone()
	replaceHeader(h, w.header)
	defer replaceHeader(h, before)
	if w.req.ProtoMajor == 2 {
		// net/http may still read the map after WriteHeader, if the client leaves
		// meanwhile (go.dev/issue/67940). It reads a copy of one with this field,
		// which no 1xx has.
		h["Content-Length"] = []string{"0"}
	}
	w.client.WriteHeader(status)
}

func (w *Writer) mayInform() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status != 0 || w.usable() != nil || w.informed >= maxInformational || w.clientLeft() {
		return false
	}
	w.informed++
	return true
}

// commit hands the final head on, once, and calls the owner.
func (w *Writer) commit(status int) {
	if status < 100 || status > 999 {
		// net/http would panic; such a status can only come from a backend.
		status = http.StatusBadGateway
	}
	m, first := w.begin(status)
	if !first {
		return
	}
	w.eager = unbuffered(w.header)
	if m == direct {
		w.passWriteDeadline()
	}
	if m != discarded {
		w.send(status)
	}
	w.opts.Owner.HeadSent(status, m == direct)
	if w.upgraded() {
		w.opts.Owner.Upgraded()
	}
	w.opts.Nudge.Start(&w.nudge, nudger{w})
}

// begin decides what becomes of the response. It reports whether there is a head
// to be handed on: from then on it is too late for an answer from elsewhere.
func (w *Writer) begin(status int) (m mode, first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status != 0 || w.usable() != nil || w.mode == hijacked {
		return w.mode, false
	}
	w.status = status
	w.declared = contentLength(w.header)
	w.left = w.clientLeft()
	w.mode = w.decide(status)
	if w.mode == spooled {
		w.streaming = true
		w.stream.Init(w.opts.Stream)
		w.stream.SetWriteDeadline(w.writeBy)
		if owned, ok := w.opts.Owner.(spool.Owned); ok {
			w.stream.BelongTo(owned)
		}
		w.reader.Join(&w.stream)
		w.reader.FlushIdle = flushIdle
	}
	return w.mode, true
}

func (w *Writer) send(status int) {
	w.sending.Lock()
	defer w.sending.Unlock()
	replaceHeader(w.client.Header(), w.header)
	w.client.WriteHeader(status)
}

// decide says where the body goes. It requires w.mu.
func (w *Writer) decide(status int) mode {
	switch {
	case w.left:
		return discarded
	case w.opts.Stream.Bounds.Sum() <= 0,
		w.upgraded(),
		// Such an answer has no body; the client's writer knows what to say
		// to a run that writes one.
		w.req.Method == http.MethodHead, status == http.StatusNoContent, status == http.StatusNotModified,
		NeverSpooled(w.header):
		return direct
	}
	return spooled
}

// upgraded reports whether the head ends HTTP on this connection or stream.
func (w *Writer) upgraded() bool {
	return w.status == http.StatusSwitchingProtocols ||
		(w.req.Method == http.MethodConnect && w.status/100 == 2)
}

func (w *Writer) clientLeft() bool { return w.req.Context().Err() != nil }

// NeverSpooled reports whether a response with this header must be handed on as
// it comes: gRPC, whose client may wait for one message before it sends the next,
// and what asks for it (RFC 10036).
func NeverSpooled(h http.Header) bool {
	return IsGRPC(h) || IsIncremental(h)
}

// unbuffered reports whether a response asks that each write be handed on at once. The field
// is nginx's; backends that send it expect every proxy to know it. It asks for no delay, not
// for a client that blocks the run: the body goes through the stream as usual.
func unbuffered(h http.Header) bool { return strings.EqualFold(h.Get("X-Accel-Buffering"), "no") }

// IsGRPC reports whether the content is gRPC. gRPC-Web is made for proxies that
// buffer and does not count.
func IsGRPC(h http.Header) bool {
	ct := h.Get("Content-Type")
	if !strings.HasPrefix(ct, "application/grpc") {
		return false
	}
	media, _, err := mime.ParseMediaType(ct)
	return err == nil && (media == "application/grpc" || strings.HasPrefix(media, "application/grpc+"))
}

// IsIncremental reports whether a message asks to be handed on as it comes (RFC 10036).
func IsIncremental(h http.Header) bool {
	values, ok := h["Incremental"]
	if !ok {
		return false
	}
	item, err := httpsfv.UnmarshalItem(values)
	if err != nil {
		return false
	}
	yes, ok := item.Value.(bool)
	return ok && yes
}
