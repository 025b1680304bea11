package serving

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// ServeHTTP takes a request through the route's pool.
func (rt *Route) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	outer := runOf(r.Context())
	if outer.admittedTo(rt.Pool) {
		return next.ServeHTTP(w, r)
	}
	rt.Ready()
	run := newRun(rt, w, r, outer)
	defer func() { run.leave(err) }()
	run.ticket.PassDrain = outer != nil && pools.ExitBegan.Load()
	err = run.body.take()
	run.spans.beginWait()
	if err != nil {
		run.decide()
		return reply{run}.refuse(err)
	}
	permit, err := run.acquire()
	rt.Pool.Entered()
	run.decide()
	if err != nil {
		return reply{run}.refuse(err)
	}
	run.permit = permit
	run.admit()
	rt.Pool.Waits.Observe(run.waited.Seconds())
	return run.serve(next)
}

func newRun(rt *Route, w http.ResponseWriter, r *http.Request, outer *Run) *Run {
	now := time.Now()
	run := &Run{
		Route: rt, client: r, w: w, outer: outer, record: record{facts: facts{arrived: now}},
		who: requests.IdentityOf(r, now, rt.ShowQuery), grpc: requestbody.IsCall(r),
	}
	run.body.run, run.backend.run, run.timeouts.run, run.ending.run, run.spans.run = run, run, run, run, run
	run.ctx = detached{Context: r.Context(), run: run}
	run.ticket.Pool, run.ticket.Caller = rt.Pool.Pool, run
	run.progress.Enter(requests.PhaseWaiting, now)
	shown{run}.publish()
	return run
}

// enter notes the phase that the run is in from that time on, and lists it.
func (run *Run) enter(phase requests.Phase, at time.Time) {
	run.progress.Enter(phase, at)
	if !run.listed {
		run.listed = true
		run.Route.Pool.Requests.Add(&run.entry, run)
	}
}

// acquire gets the run its permit.
func (run *Run) acquire() (offloader.Permit, error) {
	ctx, stop := run.waitContext()
	defer stop()
	if run.ticket.CappedBy != 0 {
		permit, err := run.ticket.AcquireNow()
		if !errors.Is(err, offloader.ErrNotNow) {
			return permit, err
		}
		if err := run.body.readAhead(ctx); err != nil {
			return permit, err
		}
	}
	return run.ticket.Acquire(ctx)
}

// waitContext is the context that a request waits with. The time that the client of a
// call has set ends the wait: after that no client waits for the answer. An upload that broke
// off waits without its client.
func (run *Run) waitContext() (context.Context, context.CancelFunc) {
	ctx := run.client.Context()
	if run.body.broken != nil {
		ctx = context.WithoutCancel(ctx)
	}
	if limit, ok := run.callLimit(); ok {
		return context.WithDeadline(ctx, run.who.Came.Add(limit))
	}
	return ctx, func() {}
}

// serve runs next under the permit. The run stays on this goroutine: Caddy's
// state of a request has no locks.
func (run *Run) serve(next caddyhttp.Handler) (err error) {
	rt := run.Route
	run.body.pass()
	run.writer.Init(run.w, run.client, bridge.Options{
		Stream: rt.Response, Nudge: rt.nudge, Owner: owner{run}, Finish: run.rule() == abandonFinish,
		Body: run.body.apart(),
	})
	if rt.ServerTiming {
		run.writer.Header().Add("Server-Timing", serverTiming(run.waited, 0))
	}
	ctx, cancel := context.WithCancelCause(&run.ctx)
	run.ending.cancel = cancel
	if run.rule() == abandonCancel && run.body.broken == nil {
		run.ending.watchClient()
	}
	run.enter(requests.PhaseRunning, run.arrived.Add(run.waited)) // from here on it can be cancelled
	run.timeouts.start()

	returned := false
	defer func() {
		if returned {
			return
		}
		// next panics, or ends the goroutine; let it, after this
		run.end(offloader.Failure)
		run.writer.Finish(errRunEnded)
		if !run.cancelledBeforeHead() {
			reply{run}.countCancel()
			if run.left {
				reply{run}.logLeft()
			}
			return
		}
		// Aborting is how it reacts to its cancel.
		if v := recover(); v == http.ErrAbortHandler {
			err = reply{run}.answerLate()
		} else if v != nil {
			reply{run}.countCancel()
			panic(v)
		}
	}()
	err = next.ServeHTTP(&run.writer, run.forwarded(ctx))
	returned = true
	return run.finish(err)
}

// forwarded is the request as the handlers behind get it: under a context that does not end
// with the client, and with the body.
func (run *Run) forwarded(ctx context.Context) *http.Request {
	r := run.client.WithContext(run.spans.beginRun(ctx))
	run.body.forward(r)
	return r
}
