package serving

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyutil"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/offloader"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// answer is what a client gets for a reason.
type answer struct {
	status     int
	grpc       int  // status code of gRPC
	retryAfter bool // later is better
	proxyError httpsfv.Token
}

// IDField holds the id of a request that is answered here.
const IDField = "Offload-Request-Id"

// answerFor is the one place that knows what a reason means in HTTP. The errors
// of Proxy-Status are those of RFC 9209, section 2.3.
func (rt *Route) answerFor(r offloader.Reason) answer {
	switch r {
	case offloader.QueueFull, offloader.WaitTimeout, offloader.PredictedLate:
		return answer{rt.RejectStatus, grpcUnavailable, true, "connection_limit_reached"}
	case offloader.BreakerOpen, offloader.Draining, offloader.Closed:
		return answer{http.StatusServiceUnavailable, grpcUnavailable, true, "destination_unavailable"}
	case requests.SpoolFull:
		return answer{http.StatusServiceUnavailable, grpcUnavailable, true, "proxy_internal_error"}
	case requests.RunTimeout, requests.FirstByteTimeout:
		return answer{http.StatusGatewayTimeout, grpcDeadlineExceeded, false, "http_response_timeout"}
	case requests.BodyTooLarge:
		return answer{http.StatusRequestEntityTooLarge, grpcResourceExhausted, false, "http_request_error"}
	case requests.UnspooledLimit:
		return answer{http.StatusTooManyRequests, grpcResourceExhausted, true, "connection_limit_reached"}
	case requests.IncrementalRefused:
		return answer{http.StatusNotImplemented, grpcUnimplemented, false, "http_request_denied"}
	case offloader.Cancelled:
		return answer{http.StatusServiceUnavailable, grpcCanceled, false, "proxy_internal_error"}
	}
	return answer{http.StatusInternalServerError, grpcUnavailable, false, "proxy_internal_error"}
}

// reply is an answer that is made here, in the place of one from the handlers behind.
type reply struct{ *Run }

// reject answers a request that was rejected or timed out: in gRPC if it speaks
// that, else by the routes for it, else by the server's error routes, else
// plainly.
func (run reply) reject(rejected *offloader.RejectedError) error {
	rt := run.Route
	run.reasoned(rejected.Reason)
	a := rt.answerFor(rejected.Reason)
	header := run.w.Header()
	run.describe(header, a, rejected.Reason, run.took)
	if a.retryAfter {
		header.Set("Retry-After", strconv.Itoa(int(run.ticket.NextRetry(rejected.Reason)/time.Second)))
	}
	if run.body.spooled == nil {
		leaveBody(run.w, run.client)
	}
	switch {
	case run.grpc:
		if run.pastDeadline() {
			a.grpc = grpcDeadlineExceeded // its own: it does not matter what it met
		}
		rejectGRPC(run.w, a.grpc, rejected.Reason.Text())
		return nil
	case rt.RejectRoutes != nil && !run.admitted:
		replacerOf(run.client).Set("http.offload.reject_status", a.status)
		run.body.restore()
		return rt.RejectRoutes.ServeHTTP(run.w, run.client)
	case caddyutil.HasErrorRoutes(run.client):
		return caddyhttp.Error(a.status, rejected)
	}
	// An error would be logged as one, once for each rejection.
	return plainAnswer(run.w, a.status)
}

// describe adds what our own answers say of a request whose run took that long, zero
// without one.
func (run reply) describe(header http.Header, a answer, r offloader.Reason, took time.Duration) {
	rt := run.Route
	NoStore(header)
	header.Set(IDField, run.id().String())
	if rt.ProxyStatusName != "" {
		header.Add("Proxy-Status", proxyStatus(rt.ProxyStatusName, a.proxyError, r))
	}
	if rt.ServerTiming {
		header.Add("Server-Timing", serverTiming(run.queueWait(), took))
	}
}

// NoStore keeps caches from keeping an answer that is made here, whatever the site has
// said before about those of its backend. What the site says afterwards counts, as in
// error routes and in operations that are deferred.
func NoStore(header http.Header) {
	for name := range header {
		if name == "Surrogate-Control" || strings.HasSuffix(name, "-Cache-Control") { // for caches of one kind
			delete(header, name)
		}
	}
	header.Set("Cache-Control", "no-store")
}

// PlainRejection answers where the routes of handle_reject do not.
func PlainRejection(w http.ResponseWriter, r *http.Request) error {
	status := http.StatusServiceUnavailable
	if v, ok := replacerOf(r).Get("http.offload.reject_status"); ok {
		if n, ok := v.(int); ok {
			status = n
		}
	}
	return plainAnswer(w, status)
}

func plainAnswer(w http.ResponseWriter, status int) error {
	text := http.StatusText(status) + "\n"
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the client may have left
	return nil
}

// leaveBody makes net/http answer at once although the body has not been read.
// On HTTP/1 it would read the rest first, and even ask for it where the client
// waits for a 100 Continue. A small body without that is on its way already;
// to read it costs less than a new connection.
func leaveBody(w http.ResponseWriter, r *http.Request) {
	small := r.ContentLength >= 0 && r.ContentLength <= smallBody
	if r.ProtoMajor != 1 || r.ContentLength == 0 || (small && r.Header.Get("Expect") == "") {
		return
	}
	bridge.LeaveBody(w)
}

// smallBody is how much of a rejected body net/http may read and discard.
const smallBody = 64 << 10

// rejectGRPC sends a response of nothing but trailers, which stand in the
// header then.
func rejectGRPC(w http.ResponseWriter, code int, text string) {
	setCallStatus(w.Header(), code, text)
	w.WriteHeader(http.StatusOK)
}

func setCallStatus(h http.Header, code int, text string) {
	h.Set("Content-Type", "application/grpc")
	h.Set(grpcStatusField, strconv.Itoa(code))
	h.Set("Grpc-Message", text)
}

// proxyStatus makes one member of a Proxy-Status field.
func proxyStatus(name string, proxyError httpsfv.Token, r offloader.Reason) string {
	item := httpsfv.NewItem(statusName(name))
	item.Params.Add("error", proxyError)
	item.Params.Add("details", r.String())
	text, err := httpsfv.Marshal(httpsfv.List{item})
	if err != nil {
		return "" // cannot happen: the name was checked
	}
	return text
}

// statusName is a token if it can be one, else a string; both are allowed.
func statusName(name string) any {
	if _, err := httpsfv.Marshal(httpsfv.NewItem(httpsfv.Token(name))); err == nil {
		return httpsfv.Token(name)
	}
	return name
}

// ValidStatusName reports whether a proxy can have that name in Proxy-Status fields.
func ValidStatusName(name string) bool {
	_, err := httpsfv.Marshal(httpsfv.NewItem(statusName(name)))
	return err == nil
}

// serverTiming is a Server-Timing field. The time of the run is in it only if the
// run is over, which it is in answers made here: others begin before that, and a
// trailer would make them chunked for what few clients read.
func serverTiming(waited, took time.Duration) string {
	text := fmt.Sprintf("offload_wait;dur=%.3f", milliseconds(waited))
	if took > 0 {
		text += fmt.Sprintf(", offload_run;dur=%.3f", milliseconds(took))
	}
	return text
}

// refuseBroken answers for a run whose upload broke off. Most clients are not there.
func (run reply) refuseBroken() error {
	if cutOff(run.client, run.body.broken) {
		run.clientGone(true)
		run.logLeft()
		return nil
	}
	return run.refuseBody(run.body.broken)
}

// refuse answers a request that gets no permit.
func (run reply) refuse(err error) error {
	rejected, ok := errors.AsType[*offloader.RejectedError](err)
	if ok {
		run.reasoned(rejected.Reason)
	} else {
		run.clientGone(cutOff(run.client, err))
	}
	run.spans.end()
	switch {
	case ok:
		return run.reject(rejected)
	case run.left:
		run.logLeft()
		return nil
	}
	return run.refuseBody(err)
}

// refuseBody judges a body that could not be read to its end.
func (run reply) refuseBody(err error) error {
	if handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err); ok { // as request_body makes them
		return handlerErr
	}
	NoStore(run.w.Header())
	if tooSlow(err) {
		leaveBody(run.w, run.client)
		if run.grpc {
			rejectGRPC(run.w, grpcDeadlineExceeded, spool.ErrTooSlow.Error())
			return nil
		}
		return caddyhttp.Error(http.StatusRequestTimeout, err)
	}
	if run.client.ProtoMajor == 1 { // the begin of the next request is unknown
		run.w.Header().Set("Connection", "close")
	}
	return caddyhttp.Error(http.StatusBadRequest, err)
}

// cutOff reports whether a request is not served because its client has left.
// While a body is read HTTP/1 says so by the read's error alone, and it ends the
// context after any; on later versions a body can have no other fault but that it
// is shorter than it should be, for which net/http has no value.
func cutOff(r *http.Request, err error) bool {
	var handlerErr caddyhttp.HandlerError
	switch {
	case tooSlow(err), errors.As(err, &handlerErr):
		return false
	case r.Context().Err() != nil:
		return true
	case r.ProtoMajor > 1:
		return !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "declared a Content-Length")
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// tooSlow reports whether it was a timeout that ended a body.
func tooSlow(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, spool.ErrTooSlow) || (errors.As(err, &timeout) && timeout.Timeout())
}

func (run reply) answerIfStuck() {
	run.mu.Lock()
	ended, reason := run.ended, run.ending.late
	run.mu.Unlock()
	// A panic of the client's writer would end the process here: the goroutine that could
	// recover is stuck.
	defer func() { _ = recover() }()
	if !ended {
		run.writer.AnswerStuck(run.emergency(reason))
	}
}

// emergency is the answer in the place of a run that does not return: what can be said
// without the outer handlers and the state of the request, which belong to the
// goroutine that is stuck.
func (run reply) emergency(reason offloader.Reason) (status int, text string, fields http.Header) {
	a := run.Route.answerFor(reason)
	fields = make(http.Header)
	run.describe(fields, a, reason, time.Since(run.arrived)-run.waited)
	if run.grpc {
		setCallStatus(fields, a.grpc, reason.Text())
		return http.StatusOK, "", fields
	}
	return a.status, http.StatusText(a.status) + "\n", fields
}

// answerLate answers for a run that was cancelled before it did.
func (run reply) answerLate() error {
	switch {
	case run.ending.tooSlow:
		return run.refuseBody(errTooSlow)
	case run.reason == 0:
		return run.refuseBroken()
	}
	rejected := run.Route.Pool.Reject(run.reason)
	if run.writer.Answered() {
		run.w.WriteHeader(run.Route.answerFor(run.reason).status) // for the log alone
		return nil
	}
	return run.reject(rejected)
}

// countCancel counts the reason of a run that was ended from outside when it is too
// late to say so.
func (run reply) countCancel() {
	if run.reason != 0 {
		_ = run.Route.Pool.Reject(run.reason)
	}
}

// logLeft ends a request whose client has left.
func (run reply) logLeft() {
	if !run.writer.HeadPassedOn() {
		run.w.WriteHeader(caddyutil.StatusClientLeft) // for the log alone
	}
}
