package bridge

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// The deadlines of http.ResponseController bound how long the run may be blocked. For a
// spooled body they are not set on the connection, since a slow client must not use up the
// time of the run. Writer has no Unwrap: handlers must not reach the client's writer past
// it.

// SetReadDeadline sets the deadline for reading the request's body.
func (w *Writer) SetReadDeadline(t time.Time) error {
	if w.opts.Body != nil {
		w.opts.Body.SetReadDeadline(t)
		return nil
	}
	return w.client.control().SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline for writing the body. If the body is spooled, writes
// fail after the deadline, and a write that is blocked by a full spool fails when it
// passes: with [os.ErrDeadlineExceeded], and the response is cut short. Bytes that were
// written before reach the client, however long it takes, unless the spool was full.
// SetWriteDeadline may be called from any goroutine.
func (w *Writer) SetWriteDeadline(t time.Time) error {
	m := w.state.setWriteDeadline(t)
	if m.apart() || (m == undecided && w.opts.spools()) { // the latter is open: passWriteDeadline follows
		return nil
	}
	return w.client.control().SetWriteDeadline(t)
}

// passWriteDeadline sets a deadline that the run set before the head on the client's
// writer. It is for bodies that are not spooled.
func (w *Writer) passWriteDeadline(t time.Time) {
	if !t.IsZero() {
		_ = w.client.control().SetWriteDeadline(t) // too late to say that it cannot
	}
}

// EnableFullDuplex lets the run answer before it has read the request's body. With a
// spooled body that is always possible. After the head the call has no effect, as with
// net/http.
func (w *Writer) EnableFullDuplex() error {
	if m, _ := w.state.current(); w.opts.Body != nil || m == spooled {
		return nil
	}
	return w.client.control().EnableFullDuplex()
}

// Hijack gives the connection to a run that upgrades it. It fails for a response whose body
// is spooled.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	before, undo, err := w.state.beginHijack()
	if err != nil {
		return nil, nil, err
	}
	w.passWriteDeadline(before.limits.writeBy)
	conn, buf, err := w.client.control().Hijack()
	if err != nil {
		undo()
		return nil, nil, err
	}
	if before.mode == undecided { // the run answers on the connection itself
		w.opts.Owner.HeadSent(http.StatusSwitchingProtocols, true)
		w.opts.Owner.Upgraded()
	}
	return conn, buf, nil
}

var (
	_ http.ResponseWriter = (*Writer)(nil)
	_ http.Hijacker       = (*Writer)(nil)
)

// LeaveBody makes net/http on HTTP/1 answer without reading the rest of the request's body,
// and then close the connection: its own direction first and the other one half a second
// later, since a client that still sends would lose the answer to a reset. net/http does
// all of this only for a body above its limit, so LeaveBody reads one. Package discard
// reads the rest meanwhile, and for longer.
func LeaveBody(w http.ResponseWriter) {
	server := innermost(w)
	if outer, ok := server.(*Writer); ok { // of a pool around this one
		LeaveBody(outer.client.innermost())
		return
	}
	tooLarge := http.MaxBytesReader(server, io.NopCloser(strings.NewReader("x")), 0)
	_, _ = io.Copy(io.Discard, tooLarge) // it says that it is too large
}

// smallUpload is the size up to which the server reads and discards the rest of a body.
// Such a rest is on its way already, and reading it costs less than a new connection.
const smallUpload = 64 << 10

// LeaveUpload stops the reading of the request's body. It returns false if there is nothing
// to do: there is no body, or a small one that the server discards. On HTTP/1 it calls
// LeaveBody, also where the client waits for a 100 Continue; on later versions the caller
// has to discard the rest.
func LeaveUpload(w http.ResponseWriter, r *http.Request) bool {
	small := r.ContentLength >= 0 && r.ContentLength <= smallUpload
	if r.ContentLength == 0 || (small && r.Header.Get("Expect") == "") {
		return false
	}
	if r.ProtoMajor == 1 {
		LeaveBody(w)
	}
	return true
}
