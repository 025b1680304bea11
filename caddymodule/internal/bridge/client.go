package bridge

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// client is the client's side of a response: its request, and the writer of the server or
// of an outer handler. One goroutine at a time writes bytes and flushes: the type turn
// decides which.
//
// The lock is held while a head goes to the client, which may block, and while the header
// map is used: by the run, and by the goroutines that send a 1xx head or the answer for a
// stuck run. The lock of the state may be taken under it.
type client struct {
	sync.Mutex
	w   http.ResponseWriter
	req *http.Request // with the client's context
}

// left reports whether the client is known to have left.
func (c *client) left() bool { return c.req.Context().Err() != nil }

// leaving returns a channel that is closed when the client leaves.
func (c *client) leaving() <-chan struct{} { return c.req.Context().Done() }

// upgrades reports whether the connection or stream is no longer HTTP after a head with
// this status.
func (c *client) upgrades(status int) bool {
	return status == http.StatusSwitchingProtocols ||
		(c.req.Method == http.MethodConnect && status/100 == 2)
}

// bodiless reports whether an answer has no body.
func (c *client) bodiless(status int) bool {
	return c.req.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
}

// inform sends a 1xx head. It requires the lock.
func (c *client) inform(status int, header http.Header) {
	h := c.w.Header()
	before := h.Clone()
	c.replaceHeader(header)
	defer replaceHeader(h, before)
	if c.req.ProtoMajor == 2 {
		// If the client leaves meanwhile, net/http may still read the map after WriteHeader
		// (go.dev/issue/67940). With this field, which no 1xx has, it reads a copy.
		h["Content-Length"] = []string{"0"}
	}
	c.w.WriteHeader(status)
}

// send sends the final head.
func (c *client) send(status int, header http.Header) {
	c.Lock()
	defer c.Unlock()
	c.replaceHeader(header)
	c.w.WriteHeader(status)
}

// replaceHeader makes the client's header map equal to the run's. On HTTP/1 the maps share
// their values, since net/http writes or copies them at once; an append copies a value. It
// requires the lock.
func (c *client) replaceHeader(header http.Header) {
	h := c.w.Header()
	if c.req.ProtoMajor != 1 {
		replaceHeader(h, header)
		return
	}
	clear(h)
	for name, values := range header {
		h[name] = slices.Clip(values)
	}
}

// copyTrailers copies the trailers of the run to the client's header map. It requires the
// lock.
func (c *client) copyTrailers(header http.Header) { copyTrailers(c.w.Header(), header) }

func (c *client) write(p []byte) (int, error) { return c.w.Write(p) }

// pass writes a piece of the body to the client, and flushes if the run has flushed there.
func (c *client) pass(piece stream.Piece) error {
	if len(piece.Data) > 0 {
		if _, err := c.write(piece.Data); err != nil {
			return err
		}
	}
	if piece.Flush {
		return c.flush()
	}
	return nil
}

// flush flushes towards the client. A writer that does not support it causes no error.
func (c *client) flush() error {
	if err := c.control().Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

func (c *client) control() *http.ResponseController { return http.NewResponseController(c.w) }

// answer writes a complete answer directly to the server's writer, past all outer handlers.
// It requires the lock.
func (c *client) answer(status int, text string, fields http.Header) {
	server := c.innermost()
	h := server.Header()
	maps.Copy(h, fields)
	if text != "" { // else its head says it all
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(len(text)))
	}
	if c.req.ProtoMajor == 1 {
		h.Set("Connection", "close")
	}
	server.WriteHeader(status)
	_, _ = server.Write([]byte(text)) // no caller can handle an error
	_ = http.NewResponseController(server).Flush()
}

// wake ends a blocked write to the client, of the run or of the helper, by a deadline. It
// sets the deadline on the server's writer, since outer handlers have no locks.
func (c *client) wake() {
	_ = http.NewResponseController(c.innermost()).SetWriteDeadline(time.Now()) // as good as it gets
}

// innermost returns the server's writer, or that of a pool around this one.
func (c *client) innermost() http.ResponseWriter { return innermost(c.w) }

// nested reports whether the innermost writer belongs to a pool around this one.
func (c *client) nested() bool {
	_, ofPool := c.innermost().(interface{ HeadPassedOn() bool })
	return ofPool
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

// replaceHeader makes dst an independent copy of src: an outer handler may change values in
// place, and HTTP/3 reads them late.
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

// copyTrailers copies the trailers that the head has announced, and unannounced ones, which
// have the prefix http.TrailerPrefix.
func copyTrailers(dst, src http.Header) {
	for _, names := range dst["Trailer"] {
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
