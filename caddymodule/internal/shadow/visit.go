package shadow

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/deadline"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/outcome"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// visit is one request that shadow mode lets through.
type visit struct {
	route  *Route
	client *http.Request
	writer writer
	came   time.Time
	grpc   bool
	limit  deadline.Limit
	ticket offloader.Ticket // of the connection's goroutine until the visit waits, then of the waiter

	left    context.Context // is cancelled when the client leaves before the end
	leave   context.CancelFunc
	unwatch func() bool
	over    chan struct{} // closed at the end of the request

	mu       sync.Mutex // guards the rest
	permit   offloader.Permit
	admitted bool
	waits    bool          // it has had to wait for the permit
	waited   time.Duration // until the permit
	reason   offloader.Reason
	head     time.Duration // from the arrival to the head of the answer, zero before
	goodHead bool
	upgraded bool          // it has left the pool
	took     time.Duration // from the arrival to the end, zero before
	result   offloader.Outcome
	judged   bool // result is known: the handlers have returned
	untimed  bool
	timers   []*time.Timer
}

// decided notes what the pool has decided.
func (v *visit) decided(permit offloader.Permit, err error) {
	if err != nil {
		v.rejected(err)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.permit, v.admitted, v.waited = permit, true, time.Since(v.came)
	if !v.ticket.Preflight {
		v.route.Pool.Waits.Observe(v.waited.Seconds())
	}
	if v.goodHead {
		permit.Began()
	}
	v.limitRun()
}

// limitRun starts the timeouts of a run that begins now. It requires v.mu.
func (v *visit) limitRun() {
	rt := v.route
	if d := rt.FirstByteTimeout; d > 0 {
		v.timers = append(v.timers, time.AfterFunc(d, func() { v.timedOut(requests.FirstByteTimeout, d) }))
	}
	if d := rt.RunTimeout; d > 0 {
		v.timers = append(v.timers, time.AfterFunc(d, func() { v.timedOut(requests.RunTimeout, d) }))
	}
	if v.limit.Any() {
		d := time.Until(v.limit.End)
		v.timers = append(v.timers, time.AfterFunc(d, func() { v.timedOut(requests.RunTimeout, d) }))
	}
}

// timedOut counts a run that has reached a timeout, unless the real run was faster.
func (v *visit) timedOut(r offloader.Reason, limit time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	inTime := v.took > 0 && v.took <= limit
	if r == requests.FirstByteTimeout {
		inTime = inTime || v.head > 0 && v.head <= limit
	}
	if inTime || v.reason != 0 || v.upgraded {
		return
	}
	v.reason = r
	_ = v.route.Pool.Reject(r)
	if v.limit.By == deadline.Client && !time.Now().Before(v.limit.End) {
		v.permit.Report(offloader.Excluded)
	} else {
		v.permit.ReportTimeout()
	}
	v.permit.Abandon()
}

// rejected notes that the pool has rejected the request.
func (v *visit) rejected(err error) {
	v.ticket.Forget()
	v.mu.Lock()
	defer v.mu.Unlock()
	if rejected, ok := errors.AsType[*offloader.RejectedError](err); ok {
		v.reason = rejected.Reason
	}
}

// began notes the head of the answer.
func (v *visit) began(status int, h http.Header) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.head = max(time.Since(v.came), 1)
	v.goodHead = v.judge(status, h) == offloader.Success
	if v.goodHead && v.admitted {
		v.permit.Began()
	}
	if status == http.StatusSwitchingProtocols && !v.route.HoldUpgrades && v.admitted {
		v.upgraded = true
		v.route.Pool.Runs.Observe((time.Since(v.came) - v.waited).Seconds())
		v.permit.Detach()
	}
}

func (v *visit) judge(status int, h http.Header) offloader.Outcome {
	statuses := v.route.Pool.Statuses()
	if v.grpc {
		return statuses.OfCall(status, h)
	}
	return statuses.OfStatus(status)
}

// returned sets the outcome of a request whose handlers have returned.
func (v *visit) returned(err error) {
	status := v.writer.status
	v.mu.Lock()
	defer v.mu.Unlock()
	v.judged = true
	switch {
	case v.client.Context().Err() != nil:
		v.result = offloader.Excluded
	case err != nil:
		_, v.untimed = errors.AsType[reverseproxy.DialError](err)
		v.result = outcome.OfError(err)
	case status == 0:
		v.result = offloader.Success // net/http answers for it
	default:
		v.result = v.judge(status, v.writer.Header())
	}
	pastTime := v.limit.By == deadline.Client && !time.Now().Before(v.limit.End)
	if v.result == offloader.Failure && pastTime {
		v.result = offloader.Excluded
	}
}

// ended is called at the end of the request, also after a panic. The virtual run of a
// request that had to wait goes on for a while.
func (v *visit) ended() {
	v.unwatch()
	v.mu.Lock()
	if !v.judged { // a panic, which is how reverse_proxy cuts an answer
		v.result = offloader.Failure
		if v.client.Context().Err() != nil {
			v.result = offloader.Excluded
		}
	}
	v.took = max(time.Since(v.came), 1)
	atOnce := v.admitted && !v.waits
	v.mu.Unlock()
	close(v.over)
	if atOnce {
		v.release()
	}
}

// virtualEnd returns how long the virtual run still goes on after the end of the real one.
func (v *visit) virtualEnd() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.Until(v.came.Add(v.waited + v.took))
}

// release ends the virtual run.
func (v *visit) release() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, t := range v.timers {
		t.Stop()
	}
	if v.upgraded {
		v.route.Pool.EndDetached()
		return
	}
	if v.untimed {
		v.permit.Untimed()
	}
	v.permit.Release(v.result)
	if !v.ticket.Preflight {
		v.route.Pool.Runs.Observe(v.took.Seconds())
	}
	v.ticket.Forget()
}

// MarshalLogObject writes the fields of the access log.
func (v *visit) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	enc.AddString("pool", v.route.Pool.Name())
	enc.AddString("mode", "shadow")
	if v.admitted {
		enc.AddDuration("queue_wait", v.waited)
	}
	if v.reason != 0 {
		enc.AddString("reason", v.reason.String())
	}
	return nil
}
