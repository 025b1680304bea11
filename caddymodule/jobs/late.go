package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobhost"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/crew"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/message"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/output"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/progress"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/verdict"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

var (
	errClientLeft = fmt.Errorf("the client left: %w", context.Canceled)
	errRunOver    = errors.New("the run has ended")
)

// promoteTime is how long it may take to make a job of a run.
const promoteTime = 30 * time.Second

// lateRun is a run whose request is stored only if its client gets a job. It has a separate
// goroutine, since the client may be answered before it ends.
type lateRun struct {
	*submission
	out    output.Late
	sink   progress.Sink
	ctx    context.Context
	cancel context.CancelCauseFunc
	came   time.Time

	attempt *jobs.Attempt // written before out stores the response
	started chan struct{} // closed when the run has its permit

	// Written before done is closed.
	result jobhost.Result
	done   chan struct{}
}

// runners are the goroutines of late runs.
var runners crew.Crew

// tryNow runs the request at once if there is a permit, and makes a job of it if the response
// does not begin in time. Otherwise it stores the job first.
func (s *submission) tryNow() error {
	run := &lateRun{submission: s, came: time.Now(), started: make(chan struct{}), done: make(chan struct{})}
	run.out.Init(s.w, s.applied())
	run.ctx, run.cancel = context.WithCancelCause(run.sink.Within(context.Background()))
	runners.Go(run.run)
	return run.await()
}

// run runs the request, and gives its response to the client or to the job.
func (x *lateRun) run() {
	defer close(x.done)
	defer x.cancel(errRunOver)
	x.result = x.send()
	if !x.result.Started {
		return
	}
	defer x.body.Close()
	if x.result.Err == nil && x.result.Reason == 0 && x.result.Status == 0 {
		x.out.WriteHeader(http.StatusOK) // as net/http does for handlers that write nothing
		x.result.Status, x.result.Complete = http.StatusOK, true
	}
	stored := x.out.Await()
	if x.result.Complete {
		x.out.End()
	}
	if stored != nil {
		x.attempt.Finish(x.judge(stored))
	}
}

// send runs the request if there is a permit now.
func (x *lateRun) send() jobhost.Result {
	sending := message.Sending{Request: x.job.Request, ID: x.job.ID, Repeatable: x.job.Repeatable, Trace: x.job.Trace}
	r, err := sending.Build(x.ctx, &x.out, x.host.Server())
	if err != nil {
		return jobhost.Result{Err: err}
	}
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(x.body.Bytes)), nil }
	return x.host.Run(&x.out, r, caddyhttp.HandlerFunc(x.handle), jobhost.Options{Tenant: x.job.Tenant, Now: true})
}

// handle runs the handlers, since the run has its permit now.
func (x *lateRun) handle(w http.ResponseWriter, r *http.Request) error {
	if size := int64(len(x.body.Bytes)); size > 0 {
		r.Body, _ = r.GetBody()
		r.ContentLength = size
	}
	message.Number(r, 1)
	close(x.started)
	return x.submission.run(w, r, x.job.ID, &x.sink)
}

// judge returns how the attempt of the job has ended.
func (x *lateRun) judge(stored *output.Stored) jobs.Verdict {
	return verdict.Facts{
		Run: x.result, Header: stored.Header(), Stored: stored.Err(), Cause: context.Cause(x.attempt.Context()),
		Repeatable: x.job.Repeatable, FailOn: x.failOn,
	}.Of(time.Now())
}

// await answers the client: with the response if it begins in time, else with a job. Most
// responses have ended by then, so that it waits for nothing else.
func (x *lateRun) await() error {
	timer := time.NewTimer(x.wait)
	defer timer.Stop()
	left := x.r.Context()
	select {
	case <-x.done:
		return x.answered()
	case <-timer.C:
	case <-left.Done():
	}
	if !x.hasPermit() {
		return x.answered()
	}
	waits := left.Err() == nil
	if waits || x.Detach {
		if accepted, ok := x.promote(); ok {
			if waits {
				x.answerJob(accepted.View)
			}
			return nil
		}
	}
	select {
	case <-x.done:
	case <-left.Done():
		x.cancel(errClientLeft)
		if x.out.Drop() {
			return nil
		}
		<-x.done // it writes to the client
	}
	return x.answered()
}

// hasPermit waits until the run has its permit, or has ended without one.
func (x *lateRun) hasPermit() bool {
	select {
	case <-x.started:
		return true
	case <-x.done:
		return x.result.Started
	}
}

// answered ends the request of a run that has ended.
func (x *lateRun) answered() error {
	switch {
	case !x.result.Started:
		defer x.body.Close()
		if x.result.Err != nil {
			return caddyhttp.Error(http.StatusInternalServerError, x.result.Err)
		}
		return x.store()
	case x.r.Context().Err() != nil:
	case x.out.Status() == 0:
		return x.failure()
	case !x.result.Complete:
		panic(http.ErrAbortHandler) // as reverse_proxy does for a response that was cut short
	default:
		numbers.Inline(x.host.Name())
	}
	return nil
}

// failure returns the error of a run without a response, as the handlers in front would get
// it without jobs.
func (x *lateRun) failure() error {
	err := x.result.Err
	if _, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return err
	}
	status := http.StatusBadGateway
	switch x.result.Reason {
	case 0:
		status = http.StatusInternalServerError
	case requests.RunTimeout, requests.FirstByteTimeout:
		status = http.StatusGatewayTimeout
	}
	if err == nil {
		err = fmt.Errorf("the run was ended: %s", x.result.Reason)
	}
	return caddyhttp.Error(status, err)
}

// promote makes a job of the run, unless its response has begun.
func (x *lateRun) promote() (jobs.Accepted, bool) {
	if !x.out.Hold() {
		return jobs.Accepted{}, false
	}
	accepted, err := x.storeRunning()
	if err != nil {
		x.out.Continue()
		x.host.Logger().Warn("a request did not become a job: its client waits for the response", zap.Error(err))
		return jobs.Accepted{}, false
	}
	x.attempt = accepted.Attempt
	context.AfterFunc(x.attempt.Context(), func() { x.cancel(context.Cause(x.attempt.Context())) })
	x.out.Store(x.attempt)
	x.sink.To(x.attempt.Progress)
	return accepted, true
}

// storeRunning stores the job, which runs already.
func (x *lateRun) storeRunning() (jobs.Accepted, error) {
	service, err := x.app.service()
	if err != nil {
		return jobs.Accepted{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), promoteTime)
	defer cancel()
	return x.accept(ctx, service, func(ctx context.Context, job jobs.Submission) (jobs.Accepted, error) {
		return service.Promote(ctx, job, x.came)
	})
}
