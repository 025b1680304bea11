package serving

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobhost"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// job is a run of the request of a job. No client waits for it: its context is that of the
// job, and its writer that of the job's result. Its ticket is patient.
type job struct{ *Run }

// RunJob takes the request of a job through the route's pool, as [jobhost.Host.Run] does.
func (rt *Route) RunJob(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, o jobhost.Options) jobhost.Result {
	rt.Ready()
	j := newJob(rt, w, r, o.Tenant)
	permit, err := j.acquire(o.Now)
	rt.Pool.Entered()
	j.decide()
	if err != nil {
		j.spans.end()
		j.leave(err)
		return refusal(err)
	}
	j.permit = permit
	j.admit()
	err = j.run(next)
	res := j.result(err)
	j.leave(err)
	return res
}

// KeyOf returns the key that a request counts for in the pool of the route, empty without one.
func (rt *Route) KeyOf(r *http.Request) string {
	if rt.Claims == nil {
		return ""
	}
	return rt.Claims.Of(replacerOf(r), requests.ClientOf(r, requests.DeterminedClient(r))).Key
}

func newJob(rt *Route, w http.ResponseWriter, r *http.Request, tenant string) job {
	now := time.Now()
	run := &Run{
		Route: rt, client: r, w: w, record: record{facts: facts{arrived: now}},
		who: requests.IdentityOf(r, now, rt.ShowQuery), attempts: new(attempts),
	}
	connect(run)
	run.ticket.Patient = true
	run.ticket.Claim = rt.Claims.OfJob(replacerOf(r), tenant, r.GetBody)
	run.progress.Enter(requests.PhaseWaiting, now)
	shown{run}.publish()
	run.spans.beginWait()
	return job{run}
}

// acquire gets the job its permit. The error is offloader.ErrNotNow if there is none now and
// the job is not to wait.
func (j job) acquire(now bool) (offloader.Permit, error) {
	if now {
		return j.ticket.AcquireNow()
	}
	return j.ticket.Acquire(j.client.Context())
}

// run runs the handlers of the job. No panic passes through: there is no server that would
// recover it. A response that was cut short ends with one that the run has made itself.
func (j job) run(next caddyhttp.Handler) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		err = http.ErrAbortHandler
		if v != http.ErrAbortHandler {
			err = fmt.Errorf("panic: %v", v)
			j.Route.Logger.Error("the handlers of a job panicked", zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
		}
	}()
	return j.serve(caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		stop := context.AfterFunc(j.client.Context(), func() { j.ending.cancelFor(offloader.Cancelled) })
		defer stop()
		return next.ServeHTTP(w, r)
	}))
}

// refusal is the result of a job that got no permit.
func refusal(err error) jobhost.Result {
	rejected, ok := errors.AsType[*offloader.RejectedError](err)
	switch {
	case ok:
		return jobhost.Result{Reason: rejected.Reason, RetryAfter: rejected.NextRetry().Turn}
	case errors.Is(err, offloader.ErrNotNow):
		return jobhost.Result{}
	}
	return jobhost.Result{Err: err}
}

// result describes a run that has ended with err.
func (j job) result(err error) jobhost.Result {
	status := j.writer.Status()
	return jobhost.Result{
		Started: true, Reason: j.reason, Status: status, Sent: j.sent(err), Err: err,
		Complete: err == nil && j.reason == 0 && status != 0 && j.writer.Complete() && !j.writer.Lost(),
	}
}

// sent reports whether the upstream may have noticed the request. Handlers other than
// reverse_proxy may have done anything, unless their error says that they have not.
func (j job) sent(err error) bool {
	if j.backend.sends.Load() > 0 {
		return j.attempts.noticed.Load() > 0
	}
	_, rejected := errors.AsType[*offloader.RejectedError](err)
	return !rejected && !isRefused(err) && !lacksUpstream(err)
}

// lacksUpstream reports whether err is that of a reverse_proxy without an available upstream,
// for which Caddy has no value.
func lacksUpstream(err error) bool {
	handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err)
	return ok && handlerErr.Err != nil && handlerErr.Err.Error() == "no upstreams available"
}
