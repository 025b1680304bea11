package requestbody

import (
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

// NewUpload returns the client's body. net/http asks clients that wait for a 100
// Continue by itself; on HTTP/3 nothing else does.
func NewUpload(w http.ResponseWriter, r *http.Request, o spool.Owned) *Upload {
	waits := strings.EqualFold(r.Header.Get("Expect"), "100-continue")
	return &Upload{Reader: r.Body, Owned: o, r: r, W: w, asks: waits && r.ProtoMajor >= 3}
}

// Read asks once, before the first read.
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

var (
	_ spool.Stopper = (*Upload)(nil)
	_ spool.Owned   = (*Upload)(nil)
)
