// Package answers writes the answer to a client whose request was not served: it was
// rejected, timed out or cancelled. An [Answer] has the content, which is decided once. Its
// form depends on the kind of client: gRPC, an event source, a page, JSON or plain text.
// The package does not use runs.
package answers

import (
	"net/http"
	"strconv"

	"github.com/dunglas/httpsfv"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/grpccall"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Answer is the content of a response that offload writes itself, instead of the handlers.
type Answer struct {
	Reason offloader.Reason
	Status int
	GRPC   grpccall.Code
	// Later: the request may be served at a later time. The caller then sets Retry.
	Later bool

	// ID is that of the request.
	ID string
	// Retry is when the client should send the request again, zero if it should not.
	Retry offloader.Retry
	// Proxy is this server's name in the field Proxy-Status, empty for no such field.
	Proxy string
	// Budget is the option that has limited the time of the request, if that limit has
	// ended the request; otherwise empty.
	Budget string

	final      bool // the client should not send it again by itself
	proxyError httpsfv.Token
	detail     string // a sentence for people
}

// Statuses are those that a route sets.
type Statuses struct {
	Reject  int // of rejections because of overload
	Timeout int // of runs that time out
}

// For returns the answer for a reason, without the fields that differ between requests. No
// other code decides what a reason means in HTTP.
func For(r offloader.Reason, s Statuses) Answer {
	m, ok := meanings[r]
	if !ok {
		m = unknown
	}
	a := Answer{
		Reason: r, Status: m.status, GRPC: m.grpc,
		Later: m.later, final: m.final, proxyError: m.proxyError, detail: m.detail,
	}
	switch {
	case r.Shed():
		a.Status = s.Reject
	case r == requests.RunTimeout, r == requests.FirstByteTimeout:
		a.Status = s.Timeout
	}
	return a
}

// Plain is the answer in plain text.
func (a Answer) Plain() string { return a.title() + "\n" }

// title returns the text of the status. A route may set a status that has no text.
func (a Answer) title() string {
	if text := http.StatusText(a.Status); text != "" {
		return text
	}
	return "Status " + strconv.Itoa(a.Status)
}

// meaning is what a reason means to clients.
type meaning struct {
	status     int // zero if the route sets it
	grpc       grpccall.Code
	later      bool // later is better
	final      bool // to send it again could run it twice, or undo what an operator did
	proxyError httpsfv.Token
	detail     string
}

// Errors for the field Proxy-Status (RFC 9209, section 2.3).
const (
	overload    = httpsfv.Token("connection_limit_reached")
	unavailable = httpsfv.Token("destination_unavailable")
	timeout     = httpsfv.Token("http_response_timeout")
	badRequest  = httpsfv.Token("http_request_error")
	denied      = httpsfv.Token("http_request_denied")
	internal    = httpsfv.Token("proxy_internal_error")
)

var meanings = map[offloader.Reason]meaning{
	offloader.QueueFull: {
		grpc: grpccall.Unavailable, later: true, proxyError: overload,
		detail: "The service is busy, and its queue is full.",
	},
	offloader.WaitTimeout: {
		grpc: grpccall.Unavailable, later: true, proxyError: overload,
		detail: "The service is busy: the turn of the request did not come in time.",
	},
	offloader.PredictedLate: {
		grpc: grpccall.Unavailable, later: true, proxyError: overload,
		detail: "The service is busy: the turn of the request would have come too late.",
	},
	offloader.Displaced: {
		grpc: grpccall.Unavailable, later: true, proxyError: overload,
		detail: "The service is busy, and another request took the place of this one in its queue.",
	},
	offloader.KeyQueueFull: {
		grpc: grpccall.Unavailable, later: true, proxyError: overload,
		detail: "The service is busy, and too many requests of this client wait already.",
	},
	offloader.BreakerOpen: {
		status: http.StatusServiceUnavailable, grpc: grpccall.Unavailable, later: true, proxyError: unavailable,
		detail: "The service has failed too often, and gets no requests for a while.",
	},
	offloader.Draining: {
		status: http.StatusServiceUnavailable, grpc: grpccall.Unavailable, later: true, proxyError: unavailable,
		detail: "The service takes no new requests at the moment.",
	},
	offloader.Closed: {
		status: http.StatusServiceUnavailable, grpc: grpccall.Unavailable, later: true, proxyError: unavailable,
		detail: "The service takes no new requests at the moment.",
	},
	offloader.Cancelled: {
		status: http.StatusServiceUnavailable, grpc: grpccall.Canceled, final: true, proxyError: internal,
		detail: "An operator has cancelled the request.",
	},
	requests.SpoolFull: {
		status: http.StatusServiceUnavailable, grpc: grpccall.Unavailable, later: true, proxyError: internal,
		detail: "There is no room for the body of the request at the moment.",
	},
	requests.UnspooledLimit: {
		status: http.StatusTooManyRequests, grpc: grpccall.ResourceExhausted, later: true, proxyError: overload,
		detail: "Too many requests are sending their bodies to the service at the moment.",
	},
	requests.RunTimeout: {
		grpc: grpccall.DeadlineExceeded, final: true, proxyError: timeout,
		detail: "The service did not answer in time. It may still do what the request asks for.",
	},
	requests.FirstByteTimeout: {
		grpc: grpccall.DeadlineExceeded, final: true, proxyError: timeout,
		detail: "The service did not answer in time. It may still do what the request asks for.",
	},
	requests.BodyTooLarge: {
		status: http.StatusRequestEntityTooLarge, grpc: grpccall.ResourceExhausted, proxyError: badRequest,
		detail: "The body of the request is too large.",
	},
	requests.IncrementalRefused: {
		status: http.StatusNotImplemented, grpc: grpccall.Unimplemented, proxyError: denied,
		detail: "The body of a request is not passed on here while it arrives.",
	},
}

// unknown is the meaning of a reason that a program has added to the engine's.
var unknown = meaning{
	status: http.StatusInternalServerError, grpc: grpccall.Unavailable, proxyError: internal,
	detail: "The request was not served.",
}
