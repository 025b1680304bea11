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

	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/render"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// flowerPrefix begins the paths of Flower's API for tasks.
const flowerPrefix = "/api/task/"

// flowerRoute is one endpoint of the API. The rest of the path, subject, is the name or the ID
// of a task.
type flowerRoute struct {
	method string
	serve  func(tr *taskRequest, subject string, body []byte) error
}

var flowerRoutes = map[string]flowerRoute{
	"apply":       {http.MethodPost, (*taskRequest).flowerApply},
	"async-apply": {http.MethodPost, (*taskRequest).flowerAsyncApply},
	"send-task":   {http.MethodPost, (*taskRequest).flowerSend},
	"result":      {http.MethodGet, (*taskRequest).flowerResult},
	"abort":       {http.MethodPost, (*taskRequest).flowerAbort},
	"revoke":      {http.MethodPost, (*taskRequest).flowerRevoke},
}

// serveFlower responds as Flower does, so that clients of Flower need no change.
func (h *Handler) serveFlower(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	rest, _ := strings.CutPrefix(r.URL.Path, flowerPrefix)
	verb, subject, _ := strings.Cut(rest, "/")
	route, ok := flowerRoutes[verb]
	if !ok || rest == r.URL.Path {
		return next.ServeHTTP(w, r)
	}
	tr := newTaskRequest(h, w, r)
	defer tr.dropBody()
	if r.Method != route.method {
		w.Header().Set("Allow", route.method)
		return tr.fail(fail(badMethod, "want %s", route.method))
	}
	body, err := tr.takeBody()
	if err != nil {
		return tr.fail(err)
	}
	return route.serve(tr, subject, body)
}

// flowerApply calls a task and waits for its result, up to the client's timeout. The task
// continues after that.
func (tr *taskRequest) flowerApply(name string, body []byte) error {
	wait := forever
	timeout := func(_ *Handler, _ *celery.Task, value json.RawMessage) (err error) {
		wait, err = flowerTimeout(value)
		return err
	}
	if err := tr.flowerTask(name, body, map[string]flowerOption{"timeout": timeout}); err != nil {
		return tr.fail(err)
	}
	return tr.run(func(ctx context.Context, open *celery.Call) error {
		result, err := tr.waitWithin(ctx, open, wait)
		if err != nil {
			return err
		}
		if !result.State.Final() {
			open.Close()
		}
		return tr.respondFlower(result)
	})
}

// forever is the wait of a client that sent no timeout.
const forever = time.Duration(math.MaxInt64)

// errClientTimeout ends a wait after the timeout that the client has sent.
var errClientTimeout = errors.New("the client's timeout has passed")

// waitWithin waits for the final state, and returns the last reported state after the client's
// timeout.
func (tr *taskRequest) waitWithin(ctx context.Context, open *celery.Call, wait time.Duration) (celery.Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errClientTimeout)
	defer cancel()
	result, err := open.Wait(ctx, tr.note)
	if errors.Is(err, errClientTimeout) {
		return celery.Result{State: cmp.Or(tr.state, celery.Pending)}, nil
	}
	return result, err
}

// flowerAsyncApply calls a task, if a worker knows it, without waiting for its result.
func (tr *taskRequest) flowerAsyncApply(name string, body []byte) error {
	if err := tr.flowerTask(name, body, nil); err != nil {
		return tr.fail(err)
	}
	return tr.send(tr.flowerSent)
}

// flowerSend calls a task without the check that a worker knows it.
func (tr *taskRequest) flowerSend(name string, body []byte) error {
	tr.anyTask = true
	return tr.flowerAsyncApply(name, body)
}

// flowerSent responds for a sent task. Like Flower, it leaves the state out without a backend.
func (tr *taskRequest) flowerSent() error {
	body := flowerTaskJSON{TaskID: tr.task.ID}
	if tr.link.backend != nil {
		body.State = celery.Pending
	}
	return tr.respondJSON(body)
}

// flowerTaskJSON is Flower's description of a task.
type flowerTaskJSON struct {
	TaskID    string          `json:"task-id"`
	State     celery.State    `json:"state,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Traceback json.RawMessage `json:"traceback,omitempty"`
}

// respondFlower responds with a state, final or not.
func (tr *taskRequest) respondFlower(result celery.Result) error {
	tr.note(result)
	body := flowerTaskJSON{TaskID: tr.task.ID, State: result.State}
	switch err := result.Err(); {
	case err != nil:
		tr.failed = tr.h.failureOf(err)
		body.Result, body.Traceback = tr.h.exceptionOf(result)
	case result.State.Final():
		value, err := result.Plain()
		if err != nil {
			return err
		}
		body.Result = value
	}
	return tr.respondJSON(body)
}

// exceptionOf returns an exception in Python's notation and its traceback, as JSON. The option
// detail may hide either.
func (h *Handler) exceptionOf(result celery.Result) (text, traceback json.RawMessage) {
	text = json.RawMessage("null")
	if h.Detail != detailNone {
		text = quote(render.Exception(result.Value))
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

func (tr *taskRequest) respondJSON(value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return tr.respond(&render.Response{
		Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json; charset=UTF-8"}}, Body: body,
	})
}

// flowerResult responds with the state of a task, or waits for its result.
func (tr *taskRequest) flowerResult(id string, _ []byte) error {
	respond := tr.flowerState
	if wait := tr.r.URL.Query().Get("timeout"); wait != "" {
		timeout, err := flowerTimeout(quote(wait))
		if err != nil {
			return tr.fail(err)
		}
		respond = func() error { return tr.flowerWait(timeout) }
	}
	release, err := tr.openKept(id)
	if err != nil {
		return tr.fail(err)
	}
	defer release()
	if err := respond(); err != nil {
		return tr.fail(err)
	}
	return nil
}

// flowerState responds with the stored state.
func (tr *taskRequest) flowerState() error {
	payload, err := tr.link.backend.(celery.Store).Fetch(tr.r.Context(), tr.task.ID)
	if err != nil {
		return err
	}
	if payload == nil {
		return tr.respondFlower(celery.Result{State: celery.Pending})
	}
	result, err := celery.DecodeResult(payload)
	if err != nil {
		return err
	}
	return tr.respondFlower(result)
}

// flowerWait responds with the final state, or with the last one after the client's timeout.
func (tr *taskRequest) flowerWait(wait time.Duration) error {
	ctx, cancel := tr.withDeadline()
	defer cancel()
	open, err := tr.client().Attach(ctx, tr.task.ID)
	if err != nil {
		return err
	}
	defer open.Close() // without a revoke: the task belongs to another request
	result, err := tr.waitWithin(ctx, open, wait)
	if err != nil {
		return err
	}
	return tr.respondFlower(result)
}

// flowerAbort requests a task to end by itself.
func (tr *taskRequest) flowerAbort(id string, _ []byte) error {
	release, err := tr.openKept(id)
	if err != nil {
		return tr.fail(err)
	}
	defer release()
	if err := tr.client().Abort(tr.r.Context(), id); err != nil {
		return tr.fail(err)
	}
	return tr.flowerMessage("Aborted")
}

// flowerRevoke revokes a task, and terminates its process if the route allows that.
func (tr *taskRequest) flowerRevoke(id string, body []byte) error {
	options := tr.r.URL.Query()
	if form, err := url.ParseQuery(string(body)); err == nil {
		maps.Copy(options, form)
	}
	if options.Has("signal") && options.Get("signal") != "SIGTERM" {
		return tr.fail(fail(badArguments, "signal is not supported"))
	}
	terminate := options.Get("terminate")
	kill := terminate != "" && !strings.EqualFold(terminate, "false") && terminate != "0"
	if kill && tr.h.Revoke != revokeKill {
		return tr.fail(fail(badArguments, "terminate is not allowed here"))
	}
	if !validID(id) {
		return tr.fail(fail(badArguments, "this is no ID of a task"))
	}
	release, err := tr.open()
	if err != nil {
		return tr.fail(err)
	}
	defer release()
	if err := tr.flowerSubject(id); err != nil {
		return tr.fail(err)
	}
	tr.client().Revoke(id, kill)
	return tr.flowerMessage("Revoked")
}

func (tr *taskRequest) flowerMessage(done string) error {
	return tr.respondJSON(map[string]string{"message": done + " '" + tr.task.ID + "'"})
}

// openKept acquires the link to the servers for a request about an earlier task. The
// backend must store results.
func (tr *taskRequest) openKept(id string) (release func(), err error) {
	if !validID(id) {
		return nil, fail(badArguments, "this is no ID of a task")
	}
	if release, err = tr.open(); err != nil {
		return nil, err
	}
	if _, ok := tr.link.backend.(celery.Store); !ok {
		release()
		return nil, fail(resultUnsupported, "no results are kept")
	}
	if err := tr.flowerSubject(id); err != nil {
		release()
		return nil, err
	}
	return release, nil
}
