package requests

import "github.com/caddy-offload/caddy-offload/offloader"

// Temporary reports whether a request that is rejected for that reason could be served at
// another time.
func Temporary(r offloader.Reason) bool {
	switch r {
	case offloader.BreakerOpen, offloader.Draining, UnspooledLimit, SpoolFull:
		return true
	}
	return r.Shed()
}

// Reasons that this module adds to those of package offloader.
var (
	// UnspooledLimit: requests whose bodies are not spooled hold as many permits as
	// they may.
	UnspooledLimit = offloader.NewReason("unspooled_limit", "too many permits are held by request bodies that are passed on as they come")
	// SpoolFull: the body of the request or of the response does not fit in the spool.
	SpoolFull = offloader.NewReason("spool_full", "no room to keep the body")
	// RunTimeout: the run took longer than it may.
	RunTimeout = offloader.NewReason("run_timeout", "the run took too long")
	// FirstByteTimeout: the response did not begin in time.
	FirstByteTimeout = offloader.NewReason("first_byte_timeout", "the answer did not begin in time")
	// BodyTooLarge: the request's body is larger than the spool takes.
	BodyTooLarge = offloader.NewReason("body_too_large", "the request body is too large")
	// IncrementalRefused: the request asks for its body to be passed on as it arrives,
	// which the route does not do.
	IncrementalRefused = offloader.NewReason("incremental_refused", "the request body is not passed on as it comes here")
)
