package bridge

import "net/http"

// Finish ends the response after the run has ended: it sends the rest of the body and the
// trailers, and releases all memory. It returns when the client has received everything, so
// the permit should be released before. An error in cut means that the body is not
// complete; then, and after Kill, Finish flushes what there is, and the caller must abort
// the connection. A panic of the helper is raised again here, with the same value.
func (w *Writer) Finish(cut error) {
	helper, streams, cutShort := w.state.end(cut != nil)
	w.opts.Nudge.Stop(&w.relay.nudge)
	var panicked any
	if streams {
		w.relay.stream.End(cut)
		panicked = w.relay.drain(helper)
	}
	w.endHeader()
	if panicked != nil {
		panic(panicked)
	}
	if cutShort && w.state.mayFlush() {
		_ = w.client.flush() // the connection is aborted next, whatever this says
	}
}

// endHeader sends the fields that the run has set after the head, which are trailers, or
// the whole header if there was no head.
func (w *Writer) endHeader() {
	w.client.Lock() // a 1xx or an answer in the run's place may be on its way
	defer w.client.Unlock()
	switch {
	case !w.state.takesHeader():
	case w.Status() == 0:
		w.client.replaceHeader(w.header)
	default:
		w.client.copyTrailers(w.header)
	}
}

// Withdraw ends the response of a run before its head, so that another run can answer: nothing
// of it reaches the client, whatever it still says. It reports false if the head was passed on
// or the run was killed.
func (w *Writer) Withdraw() bool {
	w.client.Lock() // a 1xx may be on its way
	defer w.client.Unlock()
	return w.state.KillBeforeHead(errFinished)
}

// SpoolError returns the error because of which the body could not go to a file, nil
// without one. It is for the run's goroutine.
func (w *Writer) SpoolError() error { return w.relay.stream.Broken() }

// Kill cuts the run off from the client. What the run has written still reaches the client,
// followed by an abort of the connection. If the head was not sent, Kill returns true, and
// the caller has to write the answer.
func (w *Writer) Kill(cause error) bool {
	if w.KillBeforeHead(cause) {
		return true
	}
	switch m, writing := w.state.kill(cause); {
	case m == spooled:
		w.relay.stream.End(cause)
	case writing: // else its bytes could not be flushed later
		w.wake()
	}
	return false
}

// Cut ends a response whose run has ended, while the client still receives the rest.
func (w *Writer) Cut(cause error) {
	w.relay.breakOff(cause)
	w.wake()
}

// wake ends a blocked write to the client, of the run or of the helper.
func (w *Writer) wake() {
	outer := w.outer()
	if outer == nil {
		w.client.wake()
		return
	}
	if m, _ := outer.state.current(); m != spooled {
		outer.wake()
	}
}

// outer returns the writer of a pool around this one, nil without one.
func (w *Writer) outer() *Writer {
	outer, _ := w.client.innermost().(*Writer)
	return outer
}

// AnswerStuck answers in place of a run that was killed before its head and has not
// returned. It writes directly to the server's writer, since all outer handlers belong to
// the goroutine of the stuck run. On HTTP/2 the stream ends only when the run returns:
// net/http has no way to end it before.
func (w *Writer) AnswerStuck(status int, text string, fields http.Header) {
	w.client.Lock()
	defer w.client.Unlock()
	cause := w.state.beginAnswer(status)
	if cause == nil {
		return
	}
	outer := w.outer()
	if outer == nil {
		w.client.answer(status, text, fields)
		return
	}
	if outer.KillBeforeHead(cause) {
		outer.AnswerStuck(status, text, fields)
	}
}
