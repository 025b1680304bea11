package bridge

import (
	"mime"
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
)

// NeverSpooled reports whether a response with this header must be passed on without a
// spool: gRPC, whose client may wait for one message before it sends the next, and
// responses that ask for it with the field Incremental (RFC 10036).
func NeverSpooled(h http.Header) bool {
	return IsGRPC(h) || IsIncremental(h)
}

// IsGRPC reports whether the content is gRPC. gRPC-Web is made for proxies that
// buffer and does not count.
func IsGRPC(h http.Header) bool {
	ct := h.Get("Content-Type")
	if !strings.HasPrefix(ct, "application/grpc") {
		return false
	}
	media, _, err := mime.ParseMediaType(ct)
	return err == nil && (media == "application/grpc" || strings.HasPrefix(media, "application/grpc+"))
}

// IsIncremental reports whether a message asks with the field Incremental to be passed on
// as it arrives (RFC 10036).
func IsIncremental(h http.Header) bool {
	values, ok := h["Incremental"]
	if !ok {
		return false
	}
	item, err := httpsfv.UnmarshalItem(values)
	if err != nil {
		return false
	}
	yes, ok := item.Value.(bool)
	return ok && yes
}
