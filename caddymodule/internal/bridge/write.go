package bridge

import (
	"errors"
	"net/http"
	"os"

	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// Write appends to the body.
func (w *Writer) Write(p []byte) (int, error) {
	w.commit(http.StatusOK)
	n, err := w.write(p)
	if err == nil && w.eager {
		err = w.FlushError()
	}
	return n, err
}

func (w *Writer) write(p []byte) (int, error) {
	now, err := w.state.beginWrite(len(p))
	switch {
	case err != nil:
		return 0, err
	case now.late(): // what it would write is missing: the client must not take the response for complete
		w.Kill(os.ErrDeadlineExceeded)
		return 0, os.ErrDeadlineExceeded
	case now.mode == discarded:
		return len(p), nil
	case now.mode != spooled:
		return w.writeDirect(p)
	}
	n, err := w.relay.write(p, now.limits)
	if errors.Is(err, stream.ErrStalled) {
		w.wake() // the helper is stuck in a write and would keep all that is spooled
	}
	return n, err
}

func (w *Writer) writeDirect(p []byte) (int, error) {
	n, err := w.client.write(p)
	if w.state.endWrite(err) {
		return len(p), nil
	}
	return n, err
}

// FlushError sends the bytes written so far to the client. It fails when the client is
// known to have left, and after the deadline for writing.
func (w *Writer) FlushError() error {
	w.commit(http.StatusOK)
	now, err := w.state.beginFlush()
	switch {
	case err != nil:
		return err
	case now.late():
		return os.ErrDeadlineExceeded
	case now.mode == spooled:
		return w.relay.flush()
	case now.mode == direct:
		if err := w.client.flush(); !w.state.endWrite(err) {
			return err
		}
	}
	return nil
}
