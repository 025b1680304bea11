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
	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/answer"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// call is one request on its way to a task and back. It belongs to the goroutine
// of the connection.
type call struct {
	h *Handler
	w http.ResponseWriter
	r *http.Request

	began  time.Time
	took   time.Duration // until it was answered, zero before
	link   *link
	task   celery.Task
	sent   bool // task.ID is known
	state  celery.State
	failed *failure                  // nil if it has not
	events *answer.Events            // nil while the answer is no stream
	body   *caddymodule.BodyInMemory // nil before it has come

	anyTask bool // workers need not know it
}

// ServeHTTP runs the task of a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if h.Flower {
		return h.serveFlower(w, r, next)
	}
	c := newCall(h, w, r)
	defer c.dropBody()
	if c.streams() && r.Header.Get("Last-Event-ID") != "" {
		// A browser's EventSource asks again when a stream ends, however it ends.
		// The task must not run again for that; this tells it to stop.
		caddymodule.NoStore(w.Header())
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	body, err := c.takeBody()
	if err != nil {
		return c.fail(err)
	}
	if c.task, err = h.taskOf(r, body); err != nil {
		return c.fail(err)
	}
	if h.Result == resultNone {
		return c.send(c.accepted)
	}
	return c.run(c.answer)
}

func newCall(h *Handler, w http.ResponseWriter, r *http.Request) *call {
	c := &call{h: h, w: w, r: r, began: time.Now()}
	c.publish()
	return c
}

// takeBody reads the whole body, wanted or not: on HTTP/1 that the client leaves
// is noticed only after that. The task may refer to it: it is kept until that is sent.
func (c *call) takeBody() ([]byte, error) {
	limit := c.h.MaxBody
	if c.r.ContentLength > limit {
		return nil, c.bodyFailure(spool.ErrTooLarge)
	}
	ctx, cancel := c.r.Context(), context.CancelFunc(func() {})
	if c.h.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(c.h.Timeout))
	}
	defer cancel()
	body, err := caddymodule.TakeBody(ctx, c.w, c.r, caddymodule.BodyOptions{Handler: "celery", Limit: limit})
	if err != nil {
		return nil, c.bodyFailure(err)
	}
	c.body = body
	return body.Bytes, nil
}

func (c *call) bodyFailure(err error) error {
	if handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err); ok { // as request_body makes them
		return handlerErr
	}
	switch {
	case errors.Is(err, spool.ErrTooLarge):
		return fail(bodyTooLarge, "the body has more than %d bytes", c.h.MaxBody)
	case errors.Is(err, spool.ErrTooSlow):
		return fail(bodyTooSlow, "the body comes too slowly")
	case errors.Is(err, spool.ErrFull):
		f := fail(spoolFull, "there is no room for the body now")
		f.err = err
		return f
	}
	return fail(badArguments, "the body cannot be read")
}

// dropBody lets go of the arguments of a task that was sent, and of the body that they
// may be a part of.
func (c *call) dropBody() {
	c.task.Args, c.task.Kwargs = nil, nil
	if c.body != nil {
		c.body.Close()
	}
}

// open gets the link to the workers.
func (c *call) open() (release func(), err error) {
	link, release, err := acquire(c.h.servers)
	if err != nil {
		return nil, err
	}
	if err := link.ready(); err != nil {
		release()
		f := fail(unavailable, "a server behind is not available")
		f.err = err
		return nil, f
	}
	c.link = link
	return release, nil
}

// run calls the task, and has the call answered. Whatever ends it before the
// task's final state revokes the task.
func (c *call) run(answer func(context.Context, *celery.Call) error) error {
	caddymodule.NoticesCancel(c.r.Context())
	release, err := c.open()
	if err != nil {
		return c.fail(err)
	}
	defer release()
	ctx, cancel := c.withDeadline()
	defer cancel()
	leave, err := c.admit(ctx)
	if err != nil {
		return c.fail(err)
	}
	defer leave()
	deadline, _ := ctx.Deadline()
	c.bound(deadline)
	open, err := c.client().Start(ctx, c.task)
	if err != nil {
		return c.fail(err)
	}
	c.task.ID, c.sent = open.ID(), true
	c.dropBody()
	defer open.Abandon() // does nothing to a task that has ended
	if err := answer(ctx, open); err != nil {
		open.Abandon()
		return c.fail(err)
	}
	return nil
}

// send sends the task and waits for nothing.
func (c *call) send(answer func() error) error {
	release, err := c.open()
	if err != nil {
		return c.fail(err)
	}
	defer release()
	ctx := c.r.Context()
	if err := c.check(ctx); err != nil {
		return c.fail(err)
	}
	c.bound(time.Time{})
	if c.task.ID, err = c.client().Send(ctx, c.task); err != nil {
		return c.fail(err)
	}
	c.sent = true
	return answer()
}

// withDeadline returns the request's context with its end: that of the route, of
// the request, or of the run that it is in.
func (c *call) withDeadline() (context.Context, context.CancelFunc) {
	ctx := c.r.Context()
	firstByte, end := caddymodule.Deadlines(ctx)
	if !c.streams() {
		end = sooner(firstByte, end)
	}
	if c.h.Timeout > 0 {
		end = sooner(end, c.began.Add(time.Duration(c.h.Timeout)))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	unwatch := context.AfterFunc(c.link.ending, func() { cancel(errEnding) })
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

func (c *call) client() *celery.Client {
	policies := map[string]celery.RevokePolicy{
		offWord: celery.RevokeOff, on: celery.RevokeOn, revokeKill: celery.RevokeTerminate,
	}
	return c.link.clients[policies[c.h.Revoke]]
}

// accepted answers for a task that was sent.
func (c *call) accepted() error {
	return c.respond(&answer.Response{
		Status: http.StatusAccepted, Header: http.Header{"Content-Type": {"application/json"}}, Body: c.idJSON(),
	})
}

func (c *call) idJSON() []byte { return []byte(`{"task_id":` + string(quote(c.task.ID)) + "}") }

// answer waits for the result and answers with it.
func (c *call) answer(ctx context.Context, open *celery.Call) error {
	if c.streams() {
		return c.stream(ctx, open)
	}
	result, err := open.Wait(ctx, c.note)
	if err != nil {
		return err
	}
	c.note(result)
	if err := result.Err(); err != nil {
		return err
	}
	response, err := c.responseOf(result)
	if err != nil {
		return err
	}
	return c.respond(response)
}

func (c *call) responseOf(result celery.Result) (*answer.Response, error) {
	switch c.h.Result {
	case resultRaw:
		return answer.Raw(result, c.h.ContentType)
	case resultHTTP:
		return answer.HTTP(result)
	}
	return answer.JSON(result)
}

// respond answers. That the client is not there to take it is no error.
func (c *call) respond(response *answer.Response) error {
	c.took = time.Since(c.began)
	_ = response.Write(c.w)
	return nil
}

// note keeps what was reported last.
func (c *call) note(result celery.Result) { c.state = result.State }

// statusClientLeft is what logs say of a request whose client left.
const statusClientLeft = 499

// fail answers for a request that has no result. What a task has raised is its
// answer; the rest is for the site's error routes, if it has any.
func (c *call) fail(err error) error {
	c.took = time.Since(c.began)
	if handlerErr, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return handlerErr
	}
	if c.left() {
		if c.events == nil {
			c.w.WriteHeader(statusClientLeft) // for the log alone
		}
		return nil
	}
	f := c.failureOf(err)
	c.failed = f
	c.logFailure(f)
	problem := f.problem(c.id(), c.h.Detail)
	if c.events != nil {
		_ = c.events.Send(eventError, c.task.ID, problem.Encode())
		return nil
	}
	caddymodule.NoStore(c.w.Header())
	if seconds := f.retryAfter(); seconds > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	if f.task == nil && hasErrorRoutes(c.r) {
		return caddyhttp.Error(f.status, f)
	}
	return c.respond(problem.Response())
}

// failureOf is what an error means for this request. Only the end of its own time is
// a timeout.
func (c *call) failureOf(err error) *failure {
	if c.r.Context().Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", errTimeout, err)
	}
	f := c.h.failureOf(err)
	if f.reason == timedOut && !c.sent {
		f.detail = "the time was over before the task was known to be sent"
	}
	return f
}

// id of the task, if it was sent.
func (c *call) id() string {
	if !c.sent {
		return ""
	}
	return c.task.ID
}

// left reports whether the client has left, or the run that the request is in was
// cancelled for another reason.
func (c *call) left() bool {
	ctx := c.r.Context()
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}

// hasErrorRoutes reports whether handle_errors gets to see an error.
func hasErrorRoutes(r *http.Request) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return ok && server != nil && server.Errors != nil && len(server.Errors.Routes) > 0
}
