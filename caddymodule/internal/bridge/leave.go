package bridge

import (
	"io"
	"net/http"
	"strings"
)

// LeaveBody makes net/http answer on HTTP/1 without reading the rest of the request's body, and close the connection after that. It closes its own
// direction first and the other one half a second later, since a client that is
// still sending would lose the answer to a reset. The one thing that leads to all
// of this is a body that exceeds its limit, so one does.
func LeaveBody(w http.ResponseWriter) {
	server := innermost(w)
	if outer, ok := server.(*Writer); ok { // of a pool around this one
		LeaveBody(outer.client)
		return
	}
	tooLarge := http.MaxBytesReader(server, io.NopCloser(strings.NewReader("x")), 0)
	_, _ = io.Copy(io.Discard, tooLarge) // it says that it is too large
}
