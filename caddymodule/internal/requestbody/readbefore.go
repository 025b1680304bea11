package requestbody

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"reflect"
	"strings"

	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// ReadBefore reports whether the read failed because a handler in front has read or closed
// the body, such as a reverse_proxy around a handle_response. Then handlers behind shall
// find the same body as without this handler.
func (u *Upload) ReadBefore(err *spool.ReadError) bool {
	if err.Short {
		return u.r.ProtoMajor < 3 || lacksLess(u.Reader, u.r.ContentLength-u.came)
	}
	return closedHere(err)
}

// closedHere reports whether a body cannot be read because a handler has closed it.
func closedHere(err error) bool {
	local, ok := errors.AsType[*http3.Error](err)
	switch {
	case errors.Is(err, http.ErrBodyReadAfterClose), errors.Is(err, fs.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return true
	case ok:
		return !local.Remote && local.ErrorCode == http3.ErrCodeRequestCanceled
	}
	return strings.HasSuffix(err.Error(), "body closed by handler") // HTTP/2 has no value for it
}

const (
	// maxWrappers is how many wrappers around the server's body are looked through.
	maxWrappers = 8
	// serverOfHTTP3 is the package of the HTTP/3 server.
	serverOfHTTP3 = "github.com/quic-go/quic-go/http3"
)

// lacksLess reports whether the server counts fewer missing bytes than much for an HTTP/3
// body that has ended too early. Then a handler in front has read the difference; otherwise
// the client has sent less than it declared. quic-go ends both in the same way and does not
// export its count, while other servers return an error for the second. A body that is not
// the server's was put there by a handler.
func lacksLess(body io.Reader, much int64) bool {
	v := reflect.ValueOf(body)
	for range maxWrappers {
		for v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return true
		}
		if v.Type().PkgPath() == serverOfHTTP3 {
			left := v.FieldByName("remainingContentLength")
			return left.IsValid() && left.CanInt() && left.Int() < much
		}
		v = wrapped(v)
	}
	return true
}

// wrapped returns the reader that a struct wraps, the zero value if there is none.
func wrapped(v reflect.Value) reflect.Value {
	reader := reflect.TypeFor[io.Reader]()
	for _, field := range v.Fields() {
		if field.Kind() == reflect.Interface && field.Type().Implements(reader) {
			return field
		}
	}
	return reflect.Value{}
}
