package celery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/render"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyutil"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobprogress"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// taskRequest is one HTTP request and the task that it calls or asks about. The goroutine of
// the connection owns it.
type taskRequest struct {
	h *Handler
	w http.ResponseWriter
	r *http.Request

	began  time.Time
	took   time.Duration // from arrival to response, zero before the response
	link   *link
	task   celery.Task
	sent   bool                      // task.ID is valid
	state  celery.State              // last reported
	failed *failure                  // nil unless the request has failed
	events *render.Events            // nil unless the response is an event stream
	body   *caddymodule.BodyInMemory // nil before the body was read

	anyTask bool // also call tasks that no worker knows
}

// ServeHTTP runs the task of a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if h.Flower {
		return h.serveFlower(w, r, next)
	}
	tr := newTaskRequest(h, w, r)
	defer tr.dropBody()
	if tr.streams() && r.Header.Get("Last-Event-ID") != "" {
		// A browser's EventSource repeats its request when a stream ends, for any
		// reason. The task must not run again; status 204 ends the repeats.
		caddymodule.NoStore(w.Header())
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	body, err := tr.takeBody()
	if err != nil {
		return tr.fail(err)
	}
	if tr.task, err = h.taskOf(r, body); err != nil {
		return tr.fail(err)
	}
	if h.Result == resultNone {
		return tr.send(tr.accepted)
	}
	return tr.run(tr.respondResult)
}

// newTaskRequest returns the state of a request, and makes it available to placeholders and the
// access log.
func newTaskRequest(h *Handler, w http.ResponseWriter, r *http.Request) *taskRequest {
	tr := &taskRequest{h: h, w: w, r: r, began: time.Now()}
	tr.publish()
	return tr
}

// takeBody reads the whole body of the request, even if it is not needed: on HTTP/1,
// net/http detects a disconnect only after that. The arguments of the task may be slices of
// the body, which is therefore kept until the task is sent.
func (tr *taskRequest) takeBody() ([]byte, error) {
	limit := tr.h.MaxBody
	if tr.r.ContentLength > limit {
		return nil, tr.bodyFailure(spool.ErrTooLarge)
	}
	ctx, cancel := tr.r.Context(), context.CancelFunc(func() {})
	if tr.h.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(tr.h.Timeout))
	}
	defer cancel()
	body, err := caddymodule.TakeBody(ctx, tr.w, tr.r, caddymodule.BodyOptions{Handler: "celery", Limit: limit})
	if err != nil {
		return nil, tr.bodyFailure(err)
	}
	tr.body = body
	return body.Bytes, nil
}

// bodyFailure converts an error of reading the body to a failure. Errors of handlers in
// front keep their status.
func (tr *taskRequest) bodyFailure(err error) error {
	if handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err); ok { // as request_body makes them
		return handlerErr
	}
	switch {
	case errors.Is(err, spool.ErrTooLarge):
		return fail(bodyTooLarge, "the body has more than %d bytes", tr.h.MaxBody)
	case errors.Is(err, spool.ErrTooSlow):
		return fail(bodyTooSlow, "the body comes too slowly")
	case errors.Is(err, spool.ErrFull):
		f := fail(spoolFull, "there is no room for the body now")
		f.err = err
		return f
	}
	return fail(badArguments, "the body cannot be read")
}

// dropBody releases the arguments of the task and the body that they may be slices of.
func (tr *taskRequest) dropBody() {
	tr.task.Args, tr.task.Kwargs = nil, nil
	if tr.body != nil {
		tr.body.Close()
	}
}

// open acquires the link to the servers.
func (tr *taskRequest) open() (release func(), err error) {
	link, release, err := links.acquire(tr.h.servers)
	if err != nil {
		return nil, err
	}
	if err := link.ready(); err != nil {
		release()
		f := fail(unavailable, "a server behind is not available")
		f.err = err
		return nil, f
	}
	tr.link = link
	return release, nil
}

// run calls the task and responds. Any end before the task's final state revokes the task.
func (tr *taskRequest) run(respond func(context.Context, *celery.Call) error) error {
	caddymodule.NoticesCancel(tr.r.Context())
	release, err := tr.open()
	if err != nil {
		return tr.fail(err)
	}
	defer release()
	ctx, cancel := tr.withDeadline()
	defer cancel()
	leave, err := tr.admit(ctx)
	if err != nil {
		return tr.fail(err)
	}
	defer leave()
	deadline, _ := ctx.Deadline()
	tr.bound(deadline)
	open, err := tr.client().Start(ctx, tr.task)
	if err != nil {
		return tr.fail(err)
	}
	tr.task.ID, tr.sent = open.ID(), true
	tr.dropBody()
	defer open.Abandon() // no effect once the task has ended
	if err := respond(ctx, open); err != nil {
		open.Abandon()
		return tr.fail(err)
	}
	return nil
}

// send sends the task and responds without waiting for it.
func (tr *taskRequest) send(respond func() error) error {
	release, err := tr.open()
	if err != nil {
		return tr.fail(err)
	}
	defer release()
	ctx := tr.r.Context()
	if err := tr.check(ctx); err != nil {
		return tr.fail(err)
	}
	tr.bound(time.Time{})
	if tr.task.ID, err = tr.client().Send(ctx, tr.task); err != nil {
		return tr.fail(err)
	}
	tr.sent = true
	return respond()
}

// withDeadline returns the request's context with the earliest of three deadlines: the
// route's timeout, the deadline of the request, and that of the offload run around it.
func (tr *taskRequest) withDeadline() (context.Context, context.CancelFunc) {
	ctx := tr.r.Context()
	firstByte, end := caddymodule.Deadlines(ctx)
	if !tr.streams() {
		end = sooner(firstByte, end)
	}
	if tr.h.Timeout > 0 {
		end = sooner(end, tr.began.Add(time.Duration(tr.h.Timeout)))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	unwatch := context.AfterFunc(tr.link.ending, func() { cancel(errEnding) })
	release := func() {
		unwatch()
		cancel(nil)
	}
	if end.IsZero() {
		return ctx, release
	}
	ctx, cancelDeadline := context.WithDeadlineCause(ctx, end, errTimeout)
	return ctx, func() {
		cancelDeadline()
		release()
	}
}

// client returns the link's client with the route's policy of revoking. Each policy has one
// client, since routes with equal servers share the link.
func (tr *taskRequest) client() *celery.Client {
	policies := map[string]celery.RevokePolicy{
		offValue: celery.RevokeOff, on: celery.RevokeOn, revokeKill: celery.RevokeTerminate,
	}
	return tr.link.clients[policies[tr.h.Revoke]]
}

// accepted responds with the ID of a task that was sent.
func (tr *taskRequest) accepted() error {
	return tr.respond(&render.Response{
		Status: http.StatusAccepted, Header: http.Header{"Content-Type": {"application/json"}}, Body: tr.idJSON(),
	})
}

func (tr *taskRequest) idJSON() []byte {
	return []byte(`{"task_id":` + string(quote(tr.task.ID)) + "}")
}

// respondResult waits for the result and writes it as the response.
func (tr *taskRequest) respondResult(ctx context.Context, open *celery.Call) error {
	if tr.streams() {
		return tr.stream(ctx, open)
	}
	result, err := open.Wait(ctx, tr.note)
	if err != nil {
		return err
	}
	tr.note(result)
	if err := result.Err(); err != nil {
		return err
	}
	response, err := tr.responseOf(result)
	if err != nil {
		return err
	}
	return tr.respond(response)
}

func (tr *taskRequest) responseOf(result celery.Result) (*render.Response, error) {
	switch tr.h.Result {
	case resultRaw:
		return render.Raw(result, tr.h.ContentType)
	case resultHTTP:
		return render.HTTP(result)
	}
	return render.JSON(result)
}

// respond writes the response. It ignores write errors: the client has left.
func (tr *taskRequest) respond(response *render.Response) error {
	tr.took = time.Since(tr.began)
	_ = response.Write(tr.w)
	return nil
}

// note records the last reported state, also as the progress of the job around the request, if
// there is one.
func (tr *taskRequest) note(result celery.Result) {
	tr.state = result.State
	if !result.State.Final() {
		jobprogress.Report(tr.r.Context(), tr.h.jobProgress(result))
	}
}

// fail responds to a request that has no result. If the task itself has failed, that is the
// response; other failures are passed to the site's error routes, if there are any.
func (tr *taskRequest) fail(err error) error {
	tr.took = time.Since(tr.began)
	if handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return handlerErr
	}
	if tr.left() {
		if tr.events == nil {
			tr.w.WriteHeader(caddyutil.StatusClientLeft) // for the access log
		}
		return nil
	}
	f := tr.failureOf(err)
	tr.failed = f
	tr.logFailure(f)
	problem := f.problem(tr.id(), tr.h.Detail)
	if tr.events != nil {
		_ = tr.events.Send(eventError, tr.task.ID, problem.Encode())
		return nil
	}
	caddymodule.NoStore(tr.w.Header())
	if seconds := f.retryAfter(); seconds > 0 {
		tr.w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	if f.task == nil && caddyutil.HasErrorRoutes(tr.r) {
		return caddyhttp.Error(f.status, f)
	}
	return tr.respond(problem.Response())
}

// failureOf converts an error to a failure. Only the end of the request's own deadline
// counts as a timeout.
func (tr *taskRequest) failureOf(err error) *failure {
	if tr.r.Context().Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", errTimeout, err)
	}
	f := tr.h.failureOf(err)
	if f.reason == timedOut && !tr.sent {
		f.detail = "the time was over before the task was known to be sent"
	}
	return f
}

// id returns the ID of the task, or "" before the task is sent.
func (tr *taskRequest) id() string {
	if !tr.sent {
		return ""
	}
	return tr.task.ID
}

// left reports whether the client has left, or the offload run around the request was
// cancelled for another reason.
func (tr *taskRequest) left() bool {
	ctx := tr.r.Context()
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}
