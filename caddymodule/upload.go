package caddymodule

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// upload is a request's body on its way into the spool.
type upload struct {
	io.Reader
	spool.Owned
	r    *http.Request
	w    http.ResponseWriter
	asks bool  // the client waits to be asked for it
	came int64 // bytes
}

// newUpload returns the client's body. net/http asks clients that wait for a 100
// Continue by itself; on HTTP/3 nobody would.
func newUpload(w http.ResponseWriter, r *http.Request, o spool.Owned) *upload {
	waits := strings.EqualFold(r.Header.Get("Expect"), "100-continue")
	return &upload{Reader: r.Body, Owned: o, r: r, w: w, asks: waits && r.ProtoMajor >= 3}
}

// Read asks once, before the first read.
func (u *upload) Read(p []byte) (int, error) {
	if u.asks {
		u.asks = false
		u.w.WriteHeader(http.StatusContinue)
	}
	n, err := u.Reader.Read(p)
	u.came += int64(n)
	return n, err
}

// Stop makes reading fail, also a read that waits for the client.
func (u *upload) Stop() {
	_ = http.NewResponseController(u.w).SetReadDeadline(time.Now()) // as good as it gets
}

var (
	_ spool.Stopper = (*upload)(nil)
	_ spool.Owned   = (*upload)(nil)
)
