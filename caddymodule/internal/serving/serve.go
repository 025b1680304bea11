package serving

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/cors"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/original"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// ServeHTTP takes a request through the route's pool.
func (rt *Route) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	outer := runOf(r.Context())
	if outer.admittedTo(rt.Pool) {
		return next.ServeHTTP(w, r)
	}
	rt.Ready()
	run := newRun(rt, w, r, outer)
	return run.body.discard(run.through(next))
}

// through takes the request through the pool, again if a run of it goes back to the queue.
func (rn *Run) through(next caddyhttp.Handler) (err error) {
	last := rn
	defer func() { last.leave(err) }()
	rn.ticket.PassDrain = rn.outer != nil && rn.Route.Process.Exit.Began.Load()
	err = rn.arrive()
	rn.spans.beginWait()
	if err != nil {
		rn.decide()
		return reply{rn}.refuse(err)
	}
	rn.body.price()
	for {
		err = attempt{last}.make(next)
		a := last.attempts
		if a == nil || a.next == nil {
			return err
		}
		last, a.next = a.next, nil
	}
}

// attempt is a run as one of those of its request: more than one where a run goes back to the
// queue.
type attempt struct{ *Run }

// make waits for a permit and runs next under it.
func (rn attempt) make(next caddyhttp.Handler) error {
	permit, err := rn.acquire()
	rn.Route.Pool.Entered()
	rn.decide()
	if err != nil {
		return reply(rn).refuse(err)
	}
	rn.permit = permit
	rn.admit()
	if !rn.ticket.Preflight && rn.first == nil {
		rn.Route.Pool.Waits.Observe(rn.waited.Seconds())
	}
	return rn.serve(next)
}

// arrive reads or passes on the body of the request, as its route says, unless the request
// comes too late.
func (rn *Run) arrive() error {
	if (limits{rn}).outOfTime() {
		return limits{rn}.tooLate(offloader.WaitTimeout)
	}
	if rn.client.ContentLength != 0 {
		if err := (limits{rn}).predict(); err != nil {
			return err
		}
	}
	return rn.body.take()
}

func newRun(rt *Route, w http.ResponseWriter, r *http.Request, outer *Run) *Run {
	now := time.Now()
	run := &Run{
		Route: rt, client: r, w: w, outer: outer, record: record{facts: facts{arrived: now, script: cors.NamesOrigin(r)}},
		who: requests.IdentityOf(r, now, rt.ShowQuery), grpc: requestbody.IsCall(r),
	}
	connect(run)
	run.ticket.Preflight = cors.IsPreflight(r)
	limits{run}.begin(now)
	run.claim()
	run.progress.Enter(requests.PhaseWaiting, now)
	shown{run}.publish()
	return run
}

// connect gives the parts of a run their run.
func connect(run *Run) {
	run.body.run, run.backend.run, run.timeouts.run, run.ending.run, run.spans.run = run, run, run, run, run
	run.ctx = detached{Context: run.client.Context(), run: run}
	run.ticket.Pool, run.ticket.Caller = run.Route.Pool.Pool, run
}

// claim sets the key, class and cost of the request for its pool. Preflights take no
// permit, and claim nothing.
func (rn *Run) claim() {
	if rules := rn.Route.Claims; rules != nil && !rn.ticket.Preflight {
		rn.ticket.Claim = rules.Of(replacerOf(rn.client), requests.ClientOf(rn.client, rn.who.Client))
	}
}

// acquire gets the run its permit.
func (rn *Run) acquire() (offloader.Permit, error) {
	if rn.ticket.CappedBy != 0 || (limits{rn}).inAll().Any() {
		permit, err := rn.ticket.AcquireNow()
		if !errors.Is(err, offloader.ErrNotNow) {
			return limits{rn}.inTime(permit, err)
		}
	}
	if err := (limits{rn}).predict(); err != nil {
		return offloader.Permit{}, err
	}
	ctx, stop := limits{rn}.wait()
	defer stop()
	if rn.ticket.CappedBy != 0 {
		if err := rn.body.readAhead(ctx); err != nil {
			return offloader.Permit{}, err
		}
		rn.body.price()
	}
	permit, err := limits{rn}.inTime(rn.ticket.Acquire(ctx))
	limits{rn}.blame(ctx, err)
	return permit, err
}

// serve runs next under the permit. The run stays on this goroutine: Caddy's
// state of a request has no locks.
func (rn *Run) serve(next caddyhttp.Handler) (err error) {
	rt := rn.Route
	rn.body.pass()
	attempt{rn}.keep()
	rn.writer.Init(rn.w, rn.client, bridge.Options{
		Stream: rt.Response, Nudge: rt.nudge, Owner: owner{rn}, Finish: rn.rule() == abandonFinish,
		Body: rn.body.apart(),
	})
	rn.mark()
	ctx, cancel := context.WithCancelCause(&rn.ctx)
	rn.ending.cancel = cancel
	if rn.rule() == abandonCancel && rn.body.broken == nil {
		rn.ending.watchClient()
	}
	rn.enter(requests.PhaseRunning, rn.arrived.Add(rn.waited)) // from here on it can be cancelled
	rn.ending.watchRate()
	rn.timeouts.start()

	returned := false
	defer func() {
		if returned {
			return
		}
		// next panics or ends the goroutine: end the run first, then let that happen
		attempt{rn}.release(attempt{rn}.conclude(errHandlers))
		rn.writer.Finish(requestbody.ErrRunEnded)
		if !rn.cancelledBeforeHead() {
			reply{rn}.countCancel()
			if rn.left {
				reply{rn}.logLeft()
			}
			return
		}
		// A handler that was cancelled reacts with http.ErrAbortHandler.
		if v := recover(); v == http.ErrAbortHandler {
			err = reply{rn}.answerLate()
		} else if v != nil {
			reply{rn}.countCancel()
			panic(v)
		}
	}()
	err = next.ServeHTTP(&rn.writer, rn.forwarded(ctx))
	returned = true
	return rn.finish(err)
}

// mark adds the fields that the route is configured to show in all answers. The answer to a
// job is kept as its handlers gave it.
func (rn *Run) mark() {
	if rn.ticket.Patient {
		return
	}
	if rn.Route.ServerTiming {
		rn.writer.Header().Add("Server-Timing", serverTiming(rn.waited, 0))
	}
	if rn.Route.ShowID {
		rn.writer.Header().Set(answers.IDField, rn.id().String())
	}
}

// keep keeps the request as it is before its first run, if another run may follow.
func (rn attempt) keep() {
	if rn.first != nil || !rn.Route.Pool.Holds() && !rn.Route.Pool.BindsUpstreams() {
		return
	}
	rn.attempts = new(attempts)
	if rn.body.whole() {
		rn.attempts.request = original.Of(rn.client)
	}
}

// forwarded is the request as the handlers behind get it: under a context that does not end
// with the client, and with the body.
func (rn *Run) forwarded(ctx context.Context) *http.Request {
	r := rn.client.WithContext(rn.spans.beginRun(ctx))
	rn.body.forward(r)
	return rn.backend.withRest(r, rn)
}

// finish ends a run whose handlers have returned, and sends or aborts the answer where they
// have left that open.
func (rn *Run) finish(err error) error {
	if (attempt{rn}).end(err) {
		attempt{rn}.retire()
		return nil
	}
	cut := rn.cut(err)
	rn.writer.Finish(cut)
	rn.reasoned(rn.ending.handedOn()) // its rest may have been cut short
	switch {
	case rn.cancelledBeforeHead():
		return reply{rn}.answerLate()
	case rn.writer.Answered() != 0: // for a pool in this one, whose run was stuck
		rn.w.WriteHeader(rn.writer.Answered()) // for the log alone
		return nil
	case rn.reason != 0:
		reply{rn}.countCancel()
		panic(http.ErrAbortHandler) // the answer has begun: cut it short
	case cut != nil, rn.writer.Lost() && rn.writer.HeadPassedOn():
		panic(http.ErrAbortHandler) // a cut must not look like the end
	case rn.left, rn.writer.Lost():
		reply{rn}.logLeft()
		return nil
	}
	return err
}

// cancelledBeforeHead reports whether the run was ended before it answered: by a timeout,
// by an operator, or by a request body that came too slowly or broke off. Its later answer
// is ignored.
func (rn *Run) cancelledBeforeHead() bool {
	return (rn.reason != 0 || rn.ending.tooSlow || rn.body.handedOnPart.Load()) && rn.writer.Status() == 0
}

// cut returns an error if the client must not take the response for complete. On HTTP/3 the
// client would not notice that a response is shorter than its declared length.
func (rn *Run) cut(err error) error {
	if rn.reason != 0 || (err == nil && !rn.writer.Complete()) {
		return requestbody.ErrRunEnded
	}
	return nil
}

// end ends a run that has returned err. It reports whether another one follows: that is
// decided before the permit is free, since until then the pool is not idle.
func (rn attempt) end(err error) (goesBack bool) {
	held := rn.conclude(err)
	goesBack = !held && rn.goBack(err)
	rn.release(held)
	return goesBack
}

// conclude judges the run. It reports whether the backend keeps the permit. From here on no
// timeout has an effect on the run.
func (rn attempt) conclude(err error) (held bool) {
	rn.mu.Lock()
	rn.ended = true
	rn.cutShort(rn.ending.late, rn.ending.abandoned)
	rn.mu.Unlock()
	rn.timeouts.stop()
	if rn.body.passed != nil {
		rn.body.passed.Settle()
	}
	verdict(rn).returned(err)
	rn.spans.end()
	rn.mu.Lock()
	defer rn.mu.Unlock()
	return rn.backend.hold()
}

// release gives the permit back, unless the backend keeps it.
func (rn attempt) release(held bool) {
	rn.mu.Lock()
	unwatch := rn.ending.unwatch
	rn.mu.Unlock()
	if !held {
		rn.progress.Enter(requests.PhaseStreaming, rn.arrived.Add(rn.waited+rn.took))
		rn.giveBack()
	}
	if unwatch != nil {
		unwatch()
	}
	if err := rn.writer.SpoolError(); err != nil {
		rn.Route.logSpoolFull("a response could not be spooled to a file: it stayed in memory, or its run waited for the client", err)
	}
}

// Bounds of the runs of one request. The time for which it may wait bounds them too.
const (
	maxAttempts = 32
	maxSwitches = 3 // to other upstreams, without a breaker that holds callers
)

// goBack lets another run follow this one, which failed without an answer, if that is right.
// It waits before all others.
func (rn attempt) goBack(err error) bool {
	if !rn.mayGoBack(err) {
		return false
	}
	next := rn.again()
	if next.ticket.Announce() != nil || !rn.writer.Withdraw() {
		next.ticket.Withdraw()
		next.ticket.Forget()
		return false
	}
	for r := rn.Run; r != nil; r = r.outer {
		if a := r.attempts; a != nil {
			a.count++
			a.unanswered.Store(false)
			a.sent, a.lacksRoom = nil, false
		}
	}
	rn.attempts.next, rn.attempts.spent = next, int(rn.attempts.noticed.Load())
	rn.attempts.request.Restore(rn.client)
	rn.ending.handedOn() // there is no rest of an answer that could be cut
	next.enter(requests.PhaseWaiting, time.Now())
	shown{next}.show()
	next.spans.beginWait()
	return true
}

// mayGoBack reports whether a run has failed without an answer for its client, who still
// waits, and whether its request may be sent once more.
func (rn attempt) mayGoBack(err error) bool {
	switch {
	case err == nil, rn.attempts == nil, rn.ticket.Patient: // a job is stored until its next attempt
		return false
	case !rn.attempts.lacksRoom && (rn.mostAttempts() == 0 || !rn.attempts.lost(err)):
		return false
	case rn.reason != 0, rn.left, rn.ending.wasCutOff(), rn.client.Context().Err() != nil:
		return false
	case rn.upgraded, rn.ticket.Preflight, !rn.body.whole():
		return false
	}
	for r := rn.Run; r != nil; r = r.outer {
		if r != rn.Run && r.ending.isOver() {
			return false
		}
		if a := r.attempts; a != nil && (a.count >= (attempt{r}).mostAttempts() || !a.maySend(r.Route.Resends)) {
			return false
		}
	}
	return true
}

// mostAttempts is how often a request may go back to the queue. Where a breaker holds callers
// they wait between two attempts. Else another upstream is tried, and each takes a moment only.
func (rn attempt) mostAttempts() int {
	switch {
	case rn.Route.Pool.Holds(), rn.attempts.lacksRoom:
		return maxAttempts
	case rn.Route.Pool.BindsUpstreams():
		return maxSwitches
	}
	return 0
}

// again is another run of the same request, which has not begun.
func (rn attempt) again() *Run {
	run := &Run{
		Route: rn.Route, client: rn.client, w: rn.w, outer: rn.outer, first: cmp.Or(rn.first, rn.Run),
		record: record{facts: facts{arrived: rn.arrived, uploadTook: rn.uploadTook, script: rn.script}},
		who:    rn.who, grpc: rn.grpc, budget: rn.budget, attempts: rn.attempts,
	}
	connect(run)
	run.ticket.Returning, run.ticket.PassDrain, run.ticket.Claim = true, rn.ticket.PassDrain, rn.ticket.Claim
	run.body.follow(&rn.body)
	run.backend.sends.Store(rn.backend.sends.Load())
	return run
}

// retire ends a run that another one follows, which has its request.
func (rn attempt) retire() {
	rn.ticket.Forget()
	if rn.backend.own != nil {
		rn.backend.own.Done()
	}
	rn.Route.Pool.Requests.Remove(&rn.entry)
}

// leave releases what the request holds when its handler returns err. It is the last step
// of the request.
func (rn *Run) leave(err error) {
	rn.ticket.Withdraw() // of one that panics while its body is read
	memory{rn}.remember()
	rn.ticket.Forget()
	rn.mu.Lock()
	rn.failed = err != nil
	rn.gone = true
	held := rn.backend.held
	rn.mu.Unlock()
	if rn.backend.own != nil {
		rn.backend.own.Done()
	}
	if rn.body.ahead != nil {
		rn.body.ahead.Settle(rn.w)
	}
	rn.body.hide()
	if !held {
		rn.dispose()
	}
}
