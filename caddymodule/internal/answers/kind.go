package answers

import (
	"net/http"
	"slices"
)

// kind is a kind of client, as far as the request shows it.
type kind uint8

const (
	plain kind = iota
	events
	page
	problem
)

const modeField = "Sec-Fetch-Mode"

// kindOf returns the kind of client of a request that is no gRPC call.
func (a Answer) kindOf(r *http.Request) kind {
	accept, mode := r.Header["Accept"], r.Header.Get(modeField)
	switch {
	case mode == "" && (len(accept) == 0 || len(accept) == 1 && accept[0] == "*/*"):
		return plain // most programs
	case a.comesBack() && mode != "" && isEventSource(r.Method, accept):
		return events
	}
	return preferred(accept, mode, mayBePage(r.Method))
}

// isEventSource reports whether a browser's EventSource has sent a request. An EventSource
// never comes back after an error status, but always after a stream that has ended. Other
// programs that read event streams do not send the browser's fields.
func isEventSource(method string, accept []string) bool {
	return method == http.MethodGet && slices.Equal(accept, []string{"text/event-stream"})
}

// mayBePage reports whether browsers show the answer to a request as a page.
func mayBePage(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodPost
}

// preferred returns the kind by the mode of a browser's request, or otherwise by the media
// type that the client prefers; of several with the same weight the first one counts.
func preferred(accept []string, mode string, mayBePage bool) kind {
	if mode == "navigate" && mayBePage {
		return page
	}
	var best mediaRange // of all
	var text mediaRange // of those that are made here, without pages
	for m := range acceptable(accept) {
		if m.weight > best.weight {
			best = m
		}
		if m.weight > text.weight && (m.isJSON() || m.is("text/plain")) {
			text = m
		}
	}
	switch {
	case mode == "" && mayBePage && best.is("text/html"):
		return page
	case text.isJSON():
		return problem
	}
	return plain
}
