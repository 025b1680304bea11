package jobs

import (
	"context"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobhost"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/message"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/output"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/progress"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/verdict"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// offerAgain is when a job is offered again that the pool has rejected without a time.
const offerAgain = time.Second

// execution takes one stored job through the pool of its route.
type execution struct {
	*Route
	offer   *jobs.Offer
	ctx     context.Context
	cancel  context.CancelCauseFunc
	out     *output.Stored
	sink    progress.Sink
	attempt *jobs.Attempt // nil until the job has a permit
}

// Execute runs a job when it has a permit. It implements [jobs.Executor].
func (r *Route) Execute(ctx context.Context, offer *jobs.Offer) jobs.Verdict {
	x := &execution{Route: r, offer: offer, out: new(output.Stored)}
	x.ctx, x.cancel = context.WithCancelCause(x.sink.Within(ctx))
	defer x.cancel(errRunOver)
	return x.take()
}

func (x *execution) take() jobs.Verdict {
	record := x.offer.Record()
	sending := message.Sending{Request: record.Request, ID: record.ID, Repeatable: record.Repeatable, Trace: record.Trace}
	r, err := sending.Build(x.ctx, x.out, x.host.Server())
	if err != nil {
		x.host.Logger().Error("a stored job cannot be run", zap.String("job", record.ID.Short()), zap.Error(err))
		return x.unreadable()
	}
	if record.BodySize > 0 { // the cost of the job may depend on it, before there is an attempt
		r.GetBody = func() (io.ReadCloser, error) { return x.offer.Body(x.ctx) }
	}
	result := x.host.Run(x.out, r, caddyhttp.HandlerFunc(x.serve), jobhost.Options{Tenant: record.Tenant})
	if x.attempt == nil {
		v := jobs.Verdict{RetryAfter: max(result.RetryAfter, offerAgain)}
		if result.Reason == offloader.BreakerOpen {
			v.Class = jobs.NotSent
		}
		return v
	}
	return x.ended(result)
}

// serve begins an attempt, since the job has its permit now, and runs the handlers.
func (x *execution) serve(w http.ResponseWriter, r *http.Request) error {
	attempt, err := x.offer.Start()
	if err != nil {
		return err // the service knows
	}
	x.attempt = attempt
	x.out.To(attempt)
	x.sink.To(attempt.Progress)
	stop := context.AfterFunc(attempt.Context(), func() { x.cancel(context.Cause(attempt.Context())) })
	defer stop()
	record := attempt.Record()
	message.Number(r, record.Attempt)
	if record.BodySize > 0 {
		if r.Body, err = attempt.Body(x.ctx); err != nil {
			return err
		}
		r.ContentLength = record.BodySize
	}
	return x.run(w, r, record.ID, &x.sink)
}

// ended ends the attempt.
func (x *execution) ended(result jobhost.Result) jobs.Verdict {
	if result.Err == nil && result.Reason == 0 && result.Status == 0 {
		x.out.WriteHeader(http.StatusOK) // as net/http does for handlers that write nothing
		result.Status, result.Complete = http.StatusOK, true
	}
	if result.Complete {
		x.out.End()
	}
	return verdict.Facts{
		Run: result, Header: x.out.Header(), Stored: x.out.Err(), Cause: context.Cause(x.attempt.Context()),
		Repeatable: x.offer.Record().Repeatable, FailOn: x.failOn,
	}.Of(time.Now())
}

// unreadable ends a job that can never run.
func (x *execution) unreadable() jobs.Verdict {
	if _, err := x.offer.Start(); err != nil {
		return jobs.Verdict{}
	}
	return jobs.Verdict{Class: jobs.Declined, Reason: "request_unreadable"}
}
