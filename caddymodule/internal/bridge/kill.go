package bridge

import (
	"bufio"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"
)

// KillBeforeHead cuts the run off from the client if its final head has not
// been sent. It reports whether it did: then the answer is the caller's.
func (w *Writer) KillBeforeHead(cause error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status != 0 || w.dead != nil || w.mode == hijacked {
		return false
	}
	w.dead = cause
	return true
}

// Kill cuts the run off from the client. What it has written still reaches the
// client, followed by an abort. It reports whether the head had not been sent:
// then the answer is the caller's.
func (w *Writer) Kill(cause error) bool {
	if w.KillBeforeHead(cause) {
		return true
	}
	w.mu.Lock()
	if w.dead == nil {
		w.dead = cause
	}
	m, writing := w.mode, w.writing
	w.mu.Unlock()
	switch {
	case m == spooled:
		w.stream.End(cause)
	case writing: // else its bytes could not be flushed later
		w.wake()
	}
	return false
}

// wake ends a write to the client that the run or the helper may be blocked in.
// Outer handlers have no locks, so it goes past them.
func (w *Writer) wake() {
	client := innermost(w.client)
	if outer, ok := client.(*Writer); ok { // of a pool around this one
		if !outer.isSpooled() {
			outer.wake()
		}
		return
	}
	_ = http.NewResponseController(client).SetWriteDeadline(time.Now()) // as good as it gets
}

// Cut cuts short what the client still gets after the run has ended.
func (w *Writer) Cut(cause error) {
	w.breakOff(cause)
	w.wake()
}

// AnswerStuck answers in place of a run that was killed before its head and
// still has not returned. It goes past all outer handlers to the server's own
// writer: they belong to the goroutine that the run occupies. On HTTP/2 the end
// of the stream comes only when the run returns, since net/http has no way to
// send it before.
func (w *Writer) AnswerStuck(status int, text string, fields http.Header) {
	w.sending.Lock()
	defer w.sending.Unlock()
	cause := w.beginAnswer()
	if cause == nil {
		return
	}
	client := innermost(w.client)
	if outer, ok := client.(*Writer); ok { // of a pool around this one
		if outer.KillBeforeHead(cause) {
			outer.AnswerStuck(status, text, fields)
		}
		return
	}
	h := client.Header()
	maps.Copy(h, fields)
	if text != "" { // else its head says it all
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(len(text)))
	}
	if w.req.ProtoMajor == 1 {
		h.Set("Connection", "close")
	}
	client.WriteHeader(status)
	_, _ = client.Write([]byte(text)) // no caller can handle an error
	_ = http.NewResponseController(client).Flush()
}

// beginAnswer returns why the run was killed, nil if there is nothing to answer.
func (w *Writer) beginAnswer() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status != 0 || w.answered || w.finished {
		return nil
	}
	w.answered = w.dead != nil
	return w.dead
}

// Answered reports whether AnswerStuck has answered.
func (w *Writer) Answered() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answered
}

func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}

// Hijack hands the connection over, for a run that upgrades it. A response that
// goes through the stream cannot be hijacked.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	before, err := w.beginHijack()
	if err != nil {
		return nil, nil, err
	}
	w.passWriteDeadline()
	conn, buf, err := w.control().Hijack()
	if err != nil {
		w.enter(before)
		return nil, nil, err
	}
	if before == undecided { // the run answers on the connection itself
		w.opts.Owner.HeadSent(http.StatusSwitchingProtocols, true)
		w.opts.Owner.Upgraded()
	}
	return conn, buf, nil
}

// beginHijack comes first, lest the run is killed before its head while it
// hijacks: then two would answer.
func (w *Writer) beginHijack() (before mode, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.usable() != nil:
		return w.mode, w.usable()
	case w.mode == spooled || w.mode == discarded:
		return w.mode, http.ErrNotSupported
	case w.mode == hijacked:
		return w.mode, http.ErrHijacked
	}
	before, w.mode = w.mode, hijacked
	return before, nil
}

func (w *Writer) enter(m mode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mode = m
}

func (w *Writer) isSpooled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mode == spooled
}

var (
	_ http.ResponseWriter = (*Writer)(nil)
	_ http.Hijacker       = (*Writer)(nil)
)
