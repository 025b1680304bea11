package bridge

import (
	"os"
	"time"
)

// The deadlines of ResponseController bound how long the run may be blocked.
// While a body goes through a spool that is not for the connection to decide: what the
// client still has to send or to get is none of the run's time. There is no Unwrap: the
// client's writer must not be reached past this one.

// RequestBody is a body that is not read from the connection.
type RequestBody interface {
	// SetReadDeadline makes reading fail from t on, with an error that is
	// [os.ErrDeadlineExceeded]. The zero value removes the deadline.
	SetReadDeadline(t time.Time)
}

// SetReadDeadline sets the deadline for reading the request's body.
func (w *Writer) SetReadDeadline(t time.Time) error {
	if w.opts.Body != nil {
		w.opts.Body.SetReadDeadline(t)
		return nil
	}
	return w.control().SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline for writing the body. If that is spooled, writes
// fail after the deadline, and a write that is blocked by a full spool fails when it
// passes: with [os.ErrDeadlineExceeded], and the response is cut. What was written before
// reaches the client, however long it takes, unless the spool was full. It may be called
// from any goroutine.
func (w *Writer) SetWriteDeadline(t time.Time) error {
	if w.keepWriteDeadline(t) {
		return nil
	}
	return w.control().SetWriteDeadline(t)
}

// keepWriteDeadline notes the deadline. It reports false if the client's writer has to
// know of it. Before the head that is open: passWriteDeadline follows.
func (w *Writer) keepWriteDeadline(t time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeBy = t
	if w.streaming {
		w.stream.SetWriteDeadline(t)
	}
	return w.mode == spooled || w.mode == discarded || (w.mode == undecided && w.opts.Stream.Bounds.Sum() > 0)
}

// passWriteDeadline hands a deadline that was set before the head on to the client's
// writer. It is for bodies that are not spooled.
func (w *Writer) passWriteDeadline() {
	w.mu.Lock()
	t := w.writeBy
	w.mu.Unlock()
	if !t.IsZero() {
		_ = w.control().SetWriteDeadline(t) // too late to say that it cannot
	}
}

// late reports whether the deadline for writing a spooled body has passed. It requires
// w.mu.
func (w *Writer) late() bool {
	return !w.writeBy.IsZero() && (w.mode == spooled || w.mode == discarded) && !time.Now().Before(w.writeBy)
}

// failLate fails a write that came too late. What it would have written is missing, so
// the client must not take the response for complete.
func (w *Writer) failLate() error {
	w.Kill(os.ErrDeadlineExceeded)
	return os.ErrDeadlineExceeded
}

// EnableFullDuplex lets the run answer before it has read the request's body. If that is
// spooled it always may. After the head it has no effect, as with net/http.
func (w *Writer) EnableFullDuplex() error {
	if w.opts.Body != nil || w.isSpooled() {
		return nil
	}
	return w.control().EnableFullDuplex()
}
