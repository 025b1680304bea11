package celery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/answer"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// flowerPrefix begins the paths of Flower's API for tasks.
const flowerPrefix = "/api/task/"

// flowerRoute is one kind of request of that API. What follows it in the path is
// the name or the ID of a task.
type flowerRoute struct {
	method string
	serve  func(c *call, subject string, body []byte) error
}

var flowerRoutes = map[string]flowerRoute{
	"apply":       {http.MethodPost, (*call).flowerApply},
	"async-apply": {http.MethodPost, (*call).flowerAsyncApply},
	"send-task":   {http.MethodPost, (*call).flowerSend},
	"result":      {http.MethodGet, (*call).flowerResult},
	"abort":       {http.MethodPost, (*call).flowerAbort},
	"revoke":      {http.MethodPost, (*call).flowerRevoke},
}

// serveFlower answers as Flower does, so that its clients need no change.
func (h *Handler) serveFlower(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	rest, _ := strings.CutPrefix(r.URL.Path, flowerPrefix)
	verb, subject, _ := strings.Cut(rest, "/")
	route, ok := flowerRoutes[verb]
	if !ok || rest == r.URL.Path {
		return next.ServeHTTP(w, r)
	}
	c := newCall(h, w, r)
	defer c.dropBody()
	if r.Method != route.method {
		w.Header().Set("Allow", route.method)
		return c.fail(fail(badMethod, "want %s", route.method))
	}
	body, err := c.takeBody()
	if err != nil {
		return c.fail(err)
	}
	return route.serve(c, subject, body)
}

// flowerApply calls a task and waits for its result, or for as long as the client
// likes. Then the task goes on.
func (c *call) flowerApply(name string, body []byte) error {
	wait := forever
	timeout := func(_ *Handler, _ *celery.Task, value json.RawMessage) (err error) {
		wait, err = flowerTimeout(value)
		return err
	}
	if err := c.flowerTask(name, body, map[string]flowerOption{"timeout": timeout}); err != nil {
		return c.fail(err)
	}
	return c.run(func(ctx context.Context, open *celery.Call) error {
		result, err := c.waitPatiently(ctx, open, wait)
		if err != nil {
			return err
		}
		if !result.State.Final() {
			open.Close()
		}
		return c.respondFlower(result)
	})
}

// forever is how long a client waits who has not said so.
const forever = time.Duration(math.MaxInt64)

// errImpatient ends a wait of which the client has said how long it may be.
var errImpatient = errors.New("the client waits no longer")

// waitPatiently waits for the final state. When the client has waited for long
// enough, the last that was reported is what it gets.
func (c *call) waitPatiently(ctx context.Context, open *celery.Call, wait time.Duration) (celery.Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errImpatient)
	defer cancel()
	result, err := open.Wait(ctx, c.note)
	if errors.Is(err, errImpatient) {
		return celery.Result{State: cmp.Or(c.state, celery.Pending)}, nil
	}
	return result, err
}

// flowerAsyncApply calls a task that workers must know.
func (c *call) flowerAsyncApply(name string, body []byte) error {
	if err := c.flowerTask(name, body, nil); err != nil {
		return c.fail(err)
	}
	return c.send(c.flowerSent)
}

// flowerSend calls a task that workers need not know yet.
func (c *call) flowerSend(name string, body []byte) error {
	c.anyTask = true
	return c.flowerAsyncApply(name, body)
}

func (c *call) flowerSent() error {
	answer := flowerAnswer{TaskID: c.task.ID}
	if c.link.backend != nil {
		answer.State = celery.Pending
	}
	return c.respondJSON(answer)
}

// flowerAnswer is what Flower says about a task.
type flowerAnswer struct {
	TaskID    string          `json:"task-id"`
	State     celery.State    `json:"state,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Traceback json.RawMessage `json:"traceback,omitempty"`
}

// respondFlower answers with a state, final or not.
func (c *call) respondFlower(result celery.Result) error {
	c.note(result)
	answer := flowerAnswer{TaskID: c.task.ID, State: result.State}
	switch err := result.Err(); {
	case err != nil:
		c.failed = c.h.failureOf(err)
		answer.Result, answer.Traceback = c.h.exceptionOf(result)
	case result.State.Final():
		value, err := result.Plain()
		if err != nil {
			return err
		}
		answer.Result = value
	}
	return c.respondJSON(answer)
}

// exceptionOf is an exception as Python writes it and its traceback, in JSON, as
// far as clients may know them.
func (h *Handler) exceptionOf(result celery.Result) (text, traceback json.RawMessage) {
	text = json.RawMessage("null")
	if h.Detail != detailNone {
		text = quote(answer.Exception(result.Value))
	}
	if result.State != celery.Failure {
		return text, nil
	}
	traceback = json.RawMessage("null")
	if h.Detail == detailTraceback {
		traceback = quote(result.Traceback)
	}
	return text, traceback
}

func quote(s string) json.RawMessage {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // it is a string
	}
	return text
}

func (c *call) respondJSON(value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return c.respond(&answer.Response{
		Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json; charset=UTF-8"}}, Body: body,
	})
}

// flowerResult tells the state of a task, or waits for its result.
func (c *call) flowerResult(id string, _ []byte) error {
	answer := c.flowerState
	if wait := c.r.URL.Query().Get("timeout"); wait != "" {
		timeout, err := flowerTimeout(quote(wait))
		if err != nil {
			return c.fail(err)
		}
		answer = func() error { return c.flowerWait(timeout) }
	}
	release, err := c.openKept(id)
	if err != nil {
		return c.fail(err)
	}
	defer release()
	if err := answer(); err != nil {
		return c.fail(err)
	}
	return nil
}

// flowerState answers with what is stored.
func (c *call) flowerState() error {
	payload, err := c.link.backend.(celery.Store).Fetch(c.r.Context(), c.task.ID)
	if err != nil {
		return err
	}
	if payload == nil {
		return c.respondFlower(celery.Result{State: celery.Pending})
	}
	result, err := celery.DecodeResult(payload)
	if err != nil {
		return err
	}
	return c.respondFlower(result)
}

// flowerWait answers with the final state, or with the last one after a while.
func (c *call) flowerWait(wait time.Duration) error {
	ctx, cancel := c.withDeadline()
	defer cancel()
	open, err := c.client().Attach(ctx, c.task.ID)
	if err != nil {
		return err
	}
	defer open.Close() // another has called it
	result, err := c.waitPatiently(ctx, open, wait)
	if err != nil {
		return err
	}
	return c.respondFlower(result)
}

// flowerAbort tells a task to end by itself.
func (c *call) flowerAbort(id string, _ []byte) error {
	release, err := c.openKept(id)
	if err != nil {
		return c.fail(err)
	}
	defer release()
	if err := c.client().Abort(c.r.Context(), id); err != nil {
		return c.fail(err)
	}
	return c.flowerMessage("Aborted")
}

// flowerRevoke revokes a task, and ends its process if the route allows that.
func (c *call) flowerRevoke(id string, body []byte) error {
	options := c.r.URL.Query()
	if form, err := url.ParseQuery(string(body)); err == nil {
		maps.Copy(options, form)
	}
	if options.Has("signal") && options.Get("signal") != "SIGTERM" {
		return c.fail(fail(badArguments, "signal is not supported"))
	}
	terminate := options.Get("terminate")
	kill := terminate != "" && !strings.EqualFold(terminate, "false") && terminate != "0"
	if kill && c.h.Revoke != revokeKill {
		return c.fail(fail(badArguments, "terminate is not allowed here"))
	}
	if !validID(id) {
		return c.fail(fail(badArguments, "this is no ID of a task"))
	}
	release, err := c.open()
	if err != nil {
		return c.fail(err)
	}
	defer release()
	if err := c.flowerSubject(id); err != nil {
		return c.fail(err)
	}
	c.client().Revoke(id, kill)
	return c.flowerMessage("Revoked")
}

func (c *call) flowerMessage(done string) error {
	return c.respondJSON(map[string]string{"message": done + " '" + c.task.ID + "'"})
}

// openKept gets the link for a request about a task that was called before, whose
// results must be kept.
func (c *call) openKept(id string) (release func(), err error) {
	if !validID(id) {
		return nil, fail(badArguments, "this is no ID of a task")
	}
	if release, err = c.open(); err != nil {
		return nil, err
	}
	if _, ok := c.link.backend.(celery.Store); !ok {
		release()
		return nil, fail(resultUnsupported, "no results are kept")
	}
	if err := c.flowerSubject(id); err != nil {
		release()
		return nil, err
	}
	return release, nil
}
