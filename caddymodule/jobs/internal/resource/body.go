package resource

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

const (
	// chunk is how much of a result is in memory for each reader.
	chunk = 64 << 10
	// stall is how long a client may take for a chunk.
	stall = 2 * time.Minute
)

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// isEnd reports whether a read has found the end of a complete result.
func isEnd(err error) bool { return errors.Is(err, io.EOF) }

// body is a result that is sent.
type body struct {
	jobs.Reader
	head *jobs.Response
	tag  string // the entity tag of the attempt

	size     int64 // bytes when the request came
	complete bool  // these are all
	length   int64 // of the complete result, -1 if it is not known yet
}

func newBody(reader jobs.Reader, head *jobs.Response, method string) *body {
	b := &body{Reader: reader, head: head, length: -1}
	generation, attempt := reader.Attempt()
	b.tag = quote(fmt.Sprintf("%d.%d", generation, attempt))
	if b.size, b.complete = reader.Size(); b.complete {
		b.length = b.size
	} else if n, ok := position(value(head.Header, "Content-Length")); ok && method != http.MethodHead {
		b.length = max(n, b.size)
	}
	return b
}

// hasBody reports whether responses of a status have bodies.
func hasBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// sendBytes sends the bytes of a result from one place up to another one, or to its end if that
// is negative, and waits for those that are still to come. If the result ends before, so
// does the connection: the client must not take a part for the whole. It returns false if
// the client has left.
func sendBytes(c *call, b *body, from, to int64) bool {
	control := http.NewResponseController(c.w)
	if c.r.Method == http.MethodHead {
		return false
	}
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }() // HTTP/3 has none
	buf := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buf)
	for to < 0 || from < to {
		if n, complete := b.Size(); from >= n && !complete {
			_ = control.Flush() // the client gets what there is, before more comes
		}
		part := buf[:]
		if to >= 0 {
			part = part[:min(chunk, to-from)]
		}
		n, err := b.ReadAt(c.r.Context(), part, from)
		if n > 0 {
			_ = control.SetWriteDeadline(time.Now().Add(stall))
			if _, err := c.w.Write(part[:n]); err != nil {
				return false
			}
			from += int64(n)
		}
		if isEnd(err) && (to < 0 || from >= to) {
			return true
		}
		if err != nil {
			abort()
		}
	}
	return true
}

// abort ends the connection, or the stream of HTTP/2 and 3, without the end of a response.
func abort() { panic(http.ErrAbortHandler) }
