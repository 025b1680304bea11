package discard

import (
	"context"
	"net"
	"net/http"
	"os"
	"time"
)

// socket is a connection to a client, below TLS and other layers.
type socket interface {
	SetReadDeadline(time.Time) error
	File() (*os.File, error)
}

type socketKey struct{}

// ConnContext adds the socket of a connection to its context, for the requests on it. It is
// for [http.Server.ConnContext].
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if s := socketOf(c); s != nil && ctx.Value(socketKey{}) == nil {
		return context.WithValue(ctx, socketKey{}, s)
	}
	return ctx
}

// socketOf returns the socket of a connection, nil if it has none.
func socketOf(c net.Conn) socket {
	switch c := c.(type) {
	case socket:
		return c
	case interface{ NetConn() net.Conn }: // TLS
		return socketOf(c.NetConn())
	case interface{ Raw() net.Conn }: // the PROXY protocol
		return socketOf(c.Raw())
	}
	return nil
}

// AfterAnswer discards the rest of an upload on HTTP/1 after the server has sent the
// answer. The server must not read the body itself, and must close the connection after the
// answer. r has the server's context, or one derived from it.
//
// The server closes the connection half a second after its own direction. AfterAnswer goes
// on to read through a duplicate of the socket.
func (d *Discarder) AfterAnswer(r *http.Request) {
	s, ok := r.Context().Value(socketKey{}).(socket)
	if !ok || !d.begin() {
		return
	}
	context.AfterFunc(r.Context(), func() { // net/http ends it when the handlers have returned
		defer d.done()
		duplicate, err := s.File()
		if err != nil {
			return // it is closed already
		}
		defer duplicate.Close()
		// Before net/http closes its direction it would wait for chunks of the body, which
		// this goroutine reads. The duplicate has separate deadlines.
		_ = s.SetReadDeadline(time.Unix(1, 0))
		d.read(duplicate, d.bounds.Time)
	})
}
