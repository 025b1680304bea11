package requestbody

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// Upload is a request's body on its way into the spool.
type Upload struct {
	io.Reader
	spool.Owned
	r    *http.Request
	W    http.ResponseWriter
	asks bool  // the client waits to be asked for it
	came int64 // bytes
}

// NewUpload returns the body of r for the spool. For a client that waits for a 100
// Continue, net/http sends that itself; on HTTP/3, Read does.
func NewUpload(w http.ResponseWriter, r *http.Request, o spool.Owned) *Upload {
	waits := strings.EqualFold(r.Header.Get("Expect"), "100-continue")
	return &Upload{Reader: r.Body, Owned: o, r: r, W: w, asks: waits && r.ProtoMajor >= 3}
}

// Read sends the 100 Continue, if the client waits for it, before the first read.
func (u *Upload) Read(p []byte) (int, error) {
	if u.asks {
		u.asks = false
		u.W.WriteHeader(http.StatusContinue)
	}
	n, err := u.Reader.Read(p)
	u.came += int64(n)
	return n, err
}

// Stop makes reading fail, also a read that waits for the client.
func (u *Upload) Stop() {
	_ = http.NewResponseController(u.W).SetReadDeadline(time.Now()) // as good as it gets
}

// IsTooSlow reports whether a body has ended with a timeout.
func IsTooSlow(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, spool.ErrTooSlow) || (errors.As(err, &timeout) && timeout.Timeout())
}

var (
	_ spool.Stopper = (*Upload)(nil)
	_ spool.Owned   = (*Upload)(nil)
)
