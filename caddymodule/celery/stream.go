package celery

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/answer"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Events of a stream.
const (
	eventTask     = "task"     // it was sent
	eventProgress = "progress" // a state before the final one
	eventResult   = "result"   // it has succeeded; the last one
	eventError    = "error"    // there is no result; the last one
)

// keepAlive is how long a stream may be silent. It is changed by tests only.
var keepAlive = 15 * time.Second

// errQuiet ends a wait that the stream outlives.
var errQuiet = errors.New("nothing was reported for a while")

// streams reports whether the answer is a stream of events.
func (c *call) streams() bool {
	return c.h.Progress == on && !c.h.Flower && answer.WantsEvents(c.r)
}

// stream sends the states of the task as they come, then its result.
func (c *call) stream(ctx context.Context, open *celery.Call) error {
	c.events = answer.StartEvents(c.w)
	if err := c.events.Send(eventTask, c.task.ID, c.idJSON()); err != nil {
		return nil //nolint:nilerr // the client has left
	}
	for {
		result, err := nextOrQuiet(ctx, open)
		switch {
		case errors.Is(err, errQuiet):
			err = c.events.KeepAlive()
		case err != nil:
			return err
		case result.State.Final():
			return c.sendFinal(result)
		default:
			c.note(result)
			err = c.events.Send(eventProgress, c.task.ID, c.h.progressOf(result))
		}
		if err != nil {
			return nil //nolint:nilerr // the client has left
		}
	}
}

// nextOrQuiet waits for the next state, or until a client should hear something.
func nextOrQuiet(ctx context.Context, open *celery.Call) (celery.Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, keepAlive, errQuiet)
	defer cancel()
	return open.Next(ctx)
}

// progressOf is what a task says about its progress. What is no JSON is left out:
// the result may be. So is the exception that has led to a retry, where clients may
// not know it.
func (h *Handler) progressOf(result celery.Result) []byte {
	meta, err := result.Unwrapped().Plain()
	if err != nil || (result.State == celery.Retry && h.Detail == detailNone) {
		meta = json.RawMessage("null")
	}
	text, err := json.Marshal(struct {
		State celery.State    `json:"state"`
		Meta  json.RawMessage `json:"meta"`
	}{result.State, meta})
	if err != nil {
		panic(err) // it holds a string and JSON
	}
	return text
}

// sendFinal sends the last event. In a stream the result is JSON, whatever the
// route answers with otherwise.
func (c *call) sendFinal(result celery.Result) error {
	c.note(result)
	if err := result.Err(); err != nil {
		return err
	}
	value, err := result.Plain()
	if err != nil {
		return err
	}
	c.took = time.Since(c.began)
	_ = c.events.Send(eventResult, c.task.ID, value) // the client may have left
	return nil
}
