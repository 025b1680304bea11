package bridge

import (
	"mime"
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
)

// inform passes a 1xx head on. The transport's goroutine calls it while the run
// waits for the final head.
func (w *Writer) inform(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status != 0 || w.dead != nil || w.informed >= maxInformational || w.clientLeft() {
		return
	}
	w.informed++
	h := w.client.Header()
	before := h.Clone()
	replaceHeader(h, w.header)
	w.client.WriteHeader(status)
	replaceHeader(h, before)
}

// commit hands the final head on, once. It reports whether it did, and requires
// w.mu.
func (w *Writer) commit(status int) bool {
	if w.status != 0 || w.dead != nil || w.mode == hijacked {
		return false
	}
	if status < 100 || status > 999 {
		// net/http would panic; such a status can only come from a backend.
		status = http.StatusBadGateway
	}
	w.status = status
	w.declared = contentLength(w.header)
	if w.clientLeft() {
		w.mode, w.left = discarded, true
		return true
	}
	w.mode = w.decide(status)
	replaceHeader(w.client.Header(), w.header)
	w.client.WriteHeader(status)
	if w.mode == spooled {
		w.streaming = true
		w.stream.Init(w.opts.Stream)
		w.reader.Join(&w.stream)
		w.opts.Nudge.Start(&w.nudge, nudger{w})
	}
	return true
}

// tellHead tells the owner about a head that commit has sent.
func (w *Writer) tellHead(sent bool, m mode) {
	if !sent {
		return
	}
	w.opts.Owner.HeadSent(w.status, m == direct)
	if w.upgraded() {
		w.opts.Owner.Upgraded()
	}
}

// decide says where the body goes. It requires w.mu.
func (w *Writer) decide(status int) mode {
	switch {
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

// NeverSpooled reports whether a message with this header must be handed on as
// it comes: gRPC, which may wait for an answer within its body, and messages
// that ask for it (RFC 10036).
func NeverSpooled(h http.Header) bool {
	return IsGRPC(h) || isIncremental(h)
}

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

func isIncremental(h http.Header) bool {
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
