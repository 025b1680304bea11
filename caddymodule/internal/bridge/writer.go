// Package bridge is the response writer that a run gets instead of the client's.
// It keeps the run apart from a slow client: body bytes go to a stream, and a
// helper hands them on while the run goes on. It knows net/http, not Caddy.
//
// Everything of a run but that helper stays on the connection's own goroutine,
// the final head included: outer handlers expand placeholders in WriteHeader,
// and the maps behind those have no lock.
package bridge

import (
	"errors"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// inlineLimit is how large a response may grow before the helper hands it on during the
// run. Smaller ones are written when the run has ended, without a second goroutine.
const inlineLimit = 128 << 10

// leadSize is how much of a body is written on the run's goroutine: with a head
// of usual size it fits into the buffers of net/http, on every version of HTTP.
const leadSize = 2 << 10

// flushIdle is how long bytes wait for more before they are flushed although the
// run has not asked for it. net/http alone would keep them until there are more.
const flushIdle = time.Millisecond

// usualHeader is how many fields a run usually sets.
const usualHeader = 6

// maxInformational is how many 1xx heads are passed on. No server sends many;
// a broken one could send them without end.
const maxInformational = 32

// Owner follows the course of a response. Its methods are called without locks and must not
// block.
type Owner interface {
	// HeadSent is called once, on the run's goroutine, when the final head has
	// been handed on. direct says that the body will not be spooled.
	HeadSent(status int, direct bool)
	// GoesOn is called, on any goroutine, when a body that is not spooled has
	// been going on for a while. Nothing here notices that its client leaves, or
	// that it had left before the head.
	GoesOn()
	// Upgraded is called after HeadSent if the connection is no longer HTTP.
	Upgraded()
	// ClientLost is called, on any goroutine, when the client has left after
	// the head was sent.
	ClientLost()
}

// Options of a writer.
type Options struct {
	// Stream holds the body. A budget is required; bounds of zero mean that
	// nothing is spooled.
	Stream stream.Options
	// Nudge starts the helper for a response that is begun but not complete.
	// Its entries expire as soon as a delay would be noticed.
	Nudge *timerlist.List
	// Body is the request's, nil if the run reads it from the connection.
	Body RequestBody
	// Finish lets the run write on, without a reader, when the client has left.
	Finish bool
	// Owner may be a spool.Owned, to which the stream belongs then.
	Owner Owner
}

type mode uint8

const (
	undecided mode = iota // no final head yet
	spooled               // the body goes to the stream
	direct                // the body goes to the client at once
	discarded             // without a reader
	hijacked
)

// Writer is the response writer of one run. It belongs to the goroutine of the
// run, but for 1xx heads, which a transport writes from its own, and Kill and
// AnswerStuck, which may be called from any.
type Writer struct {
	opts   Options
	client http.ResponseWriter // body bytes are written by one goroutine at a time
	req    *http.Request       // of the client, with its context
	header http.Header         // the run's own map
	led    bool                // the first bytes of a spooled body are written
	eager  bool                // the run has asked not to be buffered

	// sending is held while a head goes to the client, which may block, and
	// while its header map is touched. mu may be taken under it.
	sending sync.Mutex

	mu        sync.Mutex // never held while the client or the owner is called
	mode      mode
	status    int
	dead      error // why no more bytes of the run may reach the client
	answered  bool  // by AnswerStuck
	informed  int   // number of 1xx heads
	declared  int64 // Content-Length, -1 if not known
	written   int64
	finished  bool
	helper    chan struct{} // closed when the helper has ended, nil without one
	streaming bool          // the stream is in use
	left      bool          // the client was gone before the head
	lost      bool          // the body could not be handed on to its end
	failed    bool          // a write to the client has, or the client has left
	writing   bool          // the run is in a write to the client
	writeBy   time.Time     // when writes of a spooled body fail, zero for never
	helperErr any           // what the helper panicked with

	stream stream.Stream
	reader stream.Reader
	nudge  timerlist.Timer
}

// Init makes a zero Writer the writer of a run that answers req on client.
func (w *Writer) Init(client http.ResponseWriter, req *http.Request, o Options) {
	w.client, w.req, w.opts = client, req, o
	own := client.Header()
	w.header = make(http.Header, len(own)+usualHeader)
	replaceHeader(w.header, own)
}

// Header returns the run's own header map. It reaches the client's with the
// head, and its trailers with the end.
func (w *Writer) Header() http.Header { return w.header }

// WriteHeader hands the head on: 1xx as they come, the final one once. It is
// done at once, on this goroutine; net/http keeps it until there is a body, a
// flush or the end.
func (w *Writer) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.inform(status)
		return
	}
	w.commit(status)
}

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
	w.mu.Lock()
	m, err := w.mode, w.account(len(p))
	outgrown, late := w.written > w.inline(), w.late()
	w.writing = err == nil && m == direct
	w.mu.Unlock()
	switch {
	case err != nil:
		return 0, err
	case late:
		return 0, w.failLate()
	case m == discarded:
		return len(p), nil
	case m != spooled:
		return w.writeDirect(p)
	}
	led, err := w.lead(p)
	if err == nil && led < len(p) {
		if outgrown {
			w.startHelper()
		}
		var n int
		n, err = w.stream.Write(p[led:])
		led += n
		if errors.Is(err, stream.ErrStalled) {
			w.breakOff(err)
			w.wake() // the helper is stuck in a write and would keep all that is spooled
		}
	}
	if w.opts.Finish && errors.Is(err, errLost) {
		return len(p), nil
	}
	return led, err
}

func (w *Writer) writeDirect(p []byte) (int, error) {
	n, err := w.client.Write(p)
	w.wrote()
	if err != nil && w.goesOn(err) {
		return len(p), nil
	}
	return n, err
}

// wrote says that a write to the client that the run was in has ended.
func (w *Writer) wrote() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = false
}

// lead writes the first bytes of a body to the client, and nothing of the rest.
// Writers such as that of "encode" keep the head until then, so this too must
// happen on the run's goroutine. It is so little that net/http takes it without
// waiting for the client.
func (w *Writer) lead(p []byte) (int, error) {
	if w.led || len(p) == 0 || w.Lost() {
		return 0, nil
	}
	w.led = true
	n, err := w.client.Write(p[:min(len(p), leadSize)])
	if err != nil {
		w.lose()
		return n, errLost
	}
	w.stream.Lead(n)
	return n, nil
}

// FlushError hands on the bytes written so far. It fails when the client is known to have
// left, and after the deadline for writing.
func (w *Writer) FlushError() error {
	w.commit(http.StatusOK)
	w.mu.Lock()
	m, err, late := w.mode, w.usable(), w.late()
	w.writing = err == nil && m == direct
	w.mu.Unlock()
	switch {
	case err != nil:
		return err
	case late:
		return os.ErrDeadlineExceeded
	case m == spooled:
		return w.flushSpooled()
	case m == direct:
		err := w.flushClient()
		w.wrote()
		if err != nil && !w.goesOn(err) {
			return err
		}
	}
	return nil
}

// flushSpooled asks the helper to flush, or does so if there is nothing but a head.
func (w *Writer) flushSpooled() error {
	if w.led {
		w.stream.Flush()
		w.startHelper()
	} else if err := w.flushClient(); err != nil {
		w.lose()
	}
	if w.Broken() {
		return errLost
	}
	return nil
}

// usable says why no more bytes of the run may reach the client. A write that
// failed half-way is a reason: on HTTP/3 the next one would go on in the middle of
// its frame. It requires w.mu.
func (w *Writer) usable() error {
	switch {
	case w.dead != nil:
		return w.dead
	case w.finished:
		return errFinished
	case w.mode == direct && w.failed:
		return errLost
	}
	return nil
}

// goesOn is asked when a body that is not spooled could not be written. It
// reports whether the run may write on, without a reader.
func (w *Writer) goesOn(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(err, http.ErrBodyNotAllowed) || w.tooMuch() {
		return false // its own fault
	}
	w.failed = true
	if w.dead != nil {
		return false
	}
	w.lost = true
	if w.opts.Finish {
		w.mode = discarded
	}
	return w.opts.Finish
}

// tooMuch reports whether the run has written more than it declared. It requires
// w.mu.
func (w *Writer) tooMuch() bool { return w.declared >= 0 && w.written > w.declared }

// account counts n more bytes, as net/http would: also those that it rejects.
// It requires w.mu.
func (w *Writer) account(n int) error {
	if err := w.usable(); err != nil {
		return err
	}
	if w.mode == hijacked {
		return http.ErrHijacked
	}
	w.written += int64(n)
	if n > 0 && w.tooMuch() && w.mode == spooled {
		return http.ErrContentLength
	}
	return nil
}

// inline is how much may wait for the end of the run. It requires w.mu.
func (w *Writer) inline() int64 { return min(inlineLimit, w.opts.Stream.Bounds.Memory) }

func (w *Writer) control() *http.ResponseController { return http.NewResponseController(w.client) }

// flushClient flushes towards the client; a writer that cannot is no error.
func (w *Writer) flushClient() error {
	if err := w.control().Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// replaceHeader makes dst equal to src, and independent of it: an outer handler
// may change values in their place, and HTTP/3 reads them late.
func replaceHeader(dst, src http.Header) {
	clear(dst)
	n := 0
	for _, values := range src {
		n += len(values)
	}
	all := make([]string, 0, n)
	for name, values := range src {
		from := len(all)
		all = append(all, values...)
		dst[name] = slices.Clip(all[from:])
	}
}

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
