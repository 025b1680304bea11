package serving

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyutil"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/cors"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/grpccall"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// reply writes the answers that the run gives in place of the handlers behind.
type reply struct{ *Run }

// reject answers a request that was rejected or timed out. It uses, in this order: a gRPC
// status for gRPC calls, the route's routes for rejections, the server's error routes, or a
// plain answer in a form that the client accepts.
func (p reply) reject(rejected *offloader.RejectedError) error {
	rt := p.Route
	p.reasoned(rejected.Reason)
	if p.ticket.Patient { // no client waits for an answer
		return rejected
	}
	a := p.answer(rejected.Reason)
	if a.Later {
		a.Retry = p.hold(rejected.Reason, p.ticket.NextRetry(rejected.Reason))
	}
	if limits(p).pastClient() {
		a.GRPC = grpccall.DeadlineExceeded // its own: it does not matter what it met
	}
	p.describe(p.w.Header(), a, p.took)
	if p.body.spooled == nil {
		p.body.leave()
	}
	switch {
	case p.grpc:
		a.SayCall(p.w)
		return nil
	case len(rt.RejectRoutes) > 0 && !p.admitted:
		replacerOf(p.client).Set("http.offload.reject_status", a.Status)
		p.body.restore()
		return a.By(rt.RejectRoutes, p.w, p.client)
	case caddyutil.HasErrorRoutes(p.client):
		return a.Leave(caddyhttp.Error(a.Status, rejected))
	}
	// An error would be logged as one, once for each rejection.
	a.Say(p.w, p.client)
	return nil
}

// answer returns the answer for a reason.
func (p reply) answer(r offloader.Reason) answers.Answer {
	a := answers.For(r, p.Route.Statuses)
	a.ID, a.Proxy = p.id().String(), p.Route.ProxyStatusName
	if limits(p).decided() {
		a.Budget = p.budget.By.String()
	}
	return a
}

// describe sets the header fields of an answer. took is the length of the run, zero without
// one.
func (p reply) describe(header http.Header, a answers.Answer, took time.Duration) {
	a.Describe(header)
	if p.script {
		cors.Expose(header, answers.Exposed)
	}
	if p.Route.ServerTiming {
		header.Add("Server-Timing", serverTiming(p.queueWait(), took))
	}
}

// hold delays a rejection by the fraction of a second in its advice, so that a client that
// only supports whole seconds comes back exactly at its turn. It returns the advice that is
// left after the delay. A rejection inside the run of another pool is not delayed, since
// that run has a permit.
func (p reply) hold(r offloader.Reason, retry offloader.Retry) offloader.Retry {
	part := retry.Turn % time.Second
	full := r.Shed() && r != offloader.WaitTimeout
	if !full || p.Route.RejectHold == 0 || part > p.Route.RejectHold || p.client.ProtoMajor != 1 || p.outer != nil {
		return retry
	}
	held, ok := p.Route.Pool.Hold(p.client.Context(), part)
	if !ok {
		return retry
	}
	return p.ticket.Held(retry, held)
}

// serverTiming returns the value of a Server-Timing field. It has the time of the run only
// if the run is over, as in answers that are written here. Other answers begin before that;
// a trailer for the time would make them chunked, and few clients read it.
func serverTiming(waited, took time.Duration) string {
	text := fmt.Sprintf("offload_wait;dur=%.3f", milliseconds(waited))
	if took > 0 {
		text += fmt.Sprintf(", offload_run;dur=%.3f", milliseconds(took))
	}
	return text
}

// refuseBroken ends a request whose upload broke off. Usually the client has left, and
// the request is only logged. Otherwise the client gets an error response.
func (p reply) refuseBroken() error {
	if cutOff(p.client, p.body.broken) {
		p.clientGone(true)
		p.logLeft()
		return nil
	}
	return p.refuseBody(p.body.broken)
}

// refuse answers a request that gets no permit.
func (p reply) refuse(err error) error {
	rejected, ok := errors.AsType[*offloader.RejectedError](err)
	if ok {
		p.reasoned(rejected.Reason)
	} else {
		p.clientGone(cutOff(p.client, err))
	}
	p.spans.end()
	switch {
	case ok:
		return p.reject(rejected)
	case p.left:
		p.logLeft()
		return nil
	}
	return p.refuseBody(err)
}

// refuseBody answers a request whose body could not be read to its end.
func (p reply) refuseBody(err error) error {
	if handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err); ok { // as request_body makes them
		return handlerErr
	}
	answers.NoStore(p.w.Header())
	if requestbody.IsTooSlow(err) {
		p.body.leave()
		if p.grpc {
			grpccall.Send(p.w, grpccall.DeadlineExceeded, spool.ErrTooSlow.Error())
			return nil
		}
		return caddyhttp.Error(http.StatusRequestTimeout, err)
	}
	if p.client.ProtoMajor == 1 { // the begin of the next request is unknown
		p.w.Header().Set("Connection", "close")
	}
	return caddyhttp.Error(http.StatusBadRequest, err)
}

// cutOff reports whether err means that the client has left while its body was read. On
// HTTP/1 only the error of the read shows that, since any such error ends the context. On
// later versions a body can have no other fault than a length below the declared one, for
// which net/http has no value.
func cutOff(r *http.Request, err error) bool {
	var handlerErr caddyhttp.HandlerError
	switch {
	case requestbody.IsTooSlow(err), errors.As(err, &handlerErr):
		return false
	case r.Context().Err() != nil:
		return true
	case r.ProtoMajor > 1:
		return !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "declared a Content-Length")
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

func (p reply) answerIfStuck() {
	p.mu.Lock()
	ended, reason := p.ended, p.ending.late
	p.mu.Unlock()
	// A panic of the client's writer would end the process here: the goroutine that could
	// recover is stuck.
	defer func() { _ = recover() }()
	if !ended && !p.ticket.Patient {
		p.writer.AnswerStuck(p.emergency(reason))
	}
}

// emergency returns the answer in place of a run that does not return. It uses neither the
// outer handlers nor the state of the request, which belong to the goroutine that is stuck.
func (p reply) emergency(reason offloader.Reason) (status int, text string, fields http.Header) {
	a := p.answer(reason)
	fields = make(http.Header)
	p.describe(fields, a, time.Since(p.arrived)-p.waited)
	if p.grpc {
		a.DescribeCallAtEnd(fields)
		return http.StatusOK, "", fields
	}
	return a.Status, a.Plain(), fields
}

// answerLate answers a request whose run was cancelled before it has answered.
func (p reply) answerLate() error {
	switch {
	case p.ending.tooSlow:
		return p.refuseBody(errTooSlow)
	case p.reason == 0:
		return p.refuseBroken()
	}
	rejected := p.Route.Pool.Reject(p.reason)
	if status := p.writer.Answered(); status != 0 {
		p.w.WriteHeader(status) // for the log alone
		return nil
	}
	return p.reject(rejected)
}

// countCancel counts the cancel of a run by its reason, if the answer has begun already and
// cannot contain the reason.
func (p reply) countCancel() {
	if p.reason != 0 {
		_ = p.Route.Pool.Reject(p.reason)
	}
}

// logLeft ends a request whose client has left.
func (p reply) logLeft() {
	if !p.writer.HeadPassedOn() && !p.ticket.Patient {
		p.w.WriteHeader(caddyutil.StatusClientLeft) // for the log alone
	}
}
