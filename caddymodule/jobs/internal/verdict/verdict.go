// Package verdict judges how the attempts of jobs have ended, and so whether they are made
// again.
package verdict

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobhost"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/outcome"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Facts are those of an attempt whose run has ended.
type Facts struct {
	Run jobhost.Result
	// Header of the response.
	Header http.Header
	// Stored is the error of storing the response, nil without one.
	Stored error
	// Cause is why the attempt had to end, nil if it had not.
	Cause error
	// Repeatable: the upstream may get the request once more.
	Repeatable bool
	// FailOn are the statuses that are failures.
	FailOn outcome.Statuses
}

// Of returns the verdict.
func (f Facts) Of(now time.Time) jobs.Verdict {
	switch {
	case errors.Is(f.Stored, jobs.ErrTooLarge):
		return jobs.Verdict{Class: jobs.TooLarge, Reason: "result_too_large"}
	case errors.Is(f.Stored, jobs.ErrFull):
		return jobs.Verdict{Class: jobs.TooLarge, Reason: "no_space"}
	case f.Run.Complete && f.Stored == nil:
		return f.response(now)
	case errors.Is(f.Cause, jobs.ErrCancelled):
		return jobs.Verdict{Class: jobs.Aborted}
	case errors.Is(f.Cause, jobs.ErrAttemptTimeout):
		return f.failed("attempt_timeout")
	case errors.Is(f.Cause, jobs.ErrTotalTime):
		return f.failed("total_time")
	case f.Cause != nil:
		return jobs.Verdict{Class: f.classOf(jobs.Interrupted), Reason: "stopping"}
	case f.Stored != nil:
		return f.failed("store_error")
	case f.Run.Reason != 0:
		return f.failed(f.Run.Reason.String())
	}
	return f.failed(reasonOf(f.Run))
}

// response judges a response that is complete.
func (f Facts) response(now time.Time) jobs.Verdict {
	status, wait := f.Run.Status, outcome.RetryAfter(f.Header, now)
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable && f.Header.Get("Retry-After") != "":
		return jobs.Verdict{Class: jobs.Busy, Reason: statusReason(status), RetryAfter: wait}
	case f.FailOn.Failure(status) && f.Repeatable:
		return jobs.Verdict{Class: jobs.Broken, Reason: statusReason(status), RetryAfter: wait}
	case f.FailOn.Failure(status), status >= 400:
		return jobs.Verdict{Class: jobs.Declined, Reason: statusReason(status)}
	}
	return jobs.Verdict{Class: jobs.Completed}
}

// failed is the verdict for an attempt without a complete response.
func (f Facts) failed(reason string) jobs.Verdict {
	return jobs.Verdict{Class: f.classOf(jobs.Broken), Reason: reason, RetryAfter: f.Run.RetryAfter}
}

// classOf returns a class, or NotSent if the upstream cannot have noticed the request.
func (f Facts) classOf(c jobs.Class) jobs.Class {
	if !f.Run.Sent {
		return jobs.NotSent
	}
	return c
}

// reasonOf names the failure of a run that the pool has not ended.
func reasonOf(run jobhost.Result) string {
	if !run.Sent {
		return "not_reached"
	}
	if handlerErr, ok := errors.AsType[caddyhttp.HandlerError](run.Err); ok && run.Status == 0 {
		return statusReason(handlerErr.StatusCode)
	}
	return "connection_lost"
}

func statusReason(status int) string {
	const digits = "0123456789"
	return "status_" + string([]byte{digits[status/100%10], digits[status/10%10], digits[status%10]})
}
