package answers

import (
	"fmt"
	"net/http"
	"strconv"
)

// Say answers a request that is no gRPC call, in the form for its kind of client. Describe
// has set the other fields.
func (a Answer) Say(w http.ResponseWriter, r *http.Request) {
	switch a.kindOf(r) {
	case events:
		// The browser reconnects after that time; to the script of the page it is an
		// interruption.
		send(w, r, http.StatusOK, "text/event-stream", fmt.Appendf(nil, "retry: %d\n\n", a.retryMs()))
	case page:
		send(w, r, a.Status, "text/html; charset=utf-8", a.page(w.Header(), r.Method))
	case problem:
		send(w, r, a.Status, "application/problem+json", a.problem())
	case plain:
		send(w, r, a.Status, "text/plain; charset=utf-8", []byte(a.Plain()))
	}
}

// SayCall answers a gRPC call with a response that has only trailers, sent as its header.
func (a Answer) SayCall(w http.ResponseWriter) {
	a.DescribeCall(w.Header())
	w.WriteHeader(http.StatusOK)
}

func send(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client may have left
	}
}
