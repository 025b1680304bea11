// Package outcome judges answers of backends for the breaker.
package outcome

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/grpccall"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// OfStatus returns the outcome of an answer with that status.
func (s Statuses) OfStatus(status int) offloader.Outcome {
	if s.Failure(status) {
		return offloader.Failure
	}
	return offloader.Success
}

// OfCall returns the outcome of a gRPC answer. An answer without a gRPC status is
// incomplete, a failure. Exhausted resources and aborted calls are excluded: a quota of the
// client is used up, or two clients conflict.
func (s Statuses) OfCall(status int, h http.Header) offloader.Outcome {
	if !bridge.IsGRPC(h) || status != http.StatusOK {
		return s.OfStatus(status)
	}
	code, ok := grpccall.Status(h)
	if !ok {
		return offloader.Failure
	}
	switch code {
	case grpccall.Unavailable, grpccall.Internal, grpccall.Unknown, grpccall.DataLoss, grpccall.DeadlineExceeded:
		return offloader.Failure
	case grpccall.ResourceExhausted, grpccall.Aborted:
		return offloader.Excluded
	}
	return offloader.Success
}

// OfError returns the outcome of a handler that has returned an error instead of an answer.
// The statuses of a pool do not count: there is no answer of a backend. An error below 500
// is about the client.
func OfError(err error) offloader.Outcome {
	status := http.StatusInternalServerError // which Caddy answers other errors with
	if handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		status = handlerErr.StatusCode
	}
	if status < 500 {
		return offloader.Excluded
	}
	return Statuses{}.OfStatus(status)
}
