package celery

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/render"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Events of a stream.
const (
	eventTask     = "task"     // first: the task was sent
	eventProgress = "progress" // a state before the final one
	eventResult   = "result"   // last: the task has succeeded
	eventError    = "error"    // last: there is no result
)

// keepAlive is the longest silence of a stream. Only tests change it.
var keepAlive = 15 * time.Second

// errQuiet ends a wait for the next state after keepAlive. The stream goes on.
var errQuiet = errors.New("no new state of the task for a while")

// streams reports whether the response is an event stream.
func (tr *taskRequest) streams() bool {
	return tr.h.Progress == on && !tr.h.Flower && render.WantsEvents(tr.r)
}

// stream sends the states of the task as they are reported, then its result.
func (tr *taskRequest) stream(ctx context.Context, open *celery.Call) error {
	tr.events = render.StartEvents(tr.w)
	if err := tr.events.Send(eventTask, tr.task.ID, tr.idJSON()); err != nil {
		return nil //nolint:nilerr // the client has left
	}
	for {
		result, err := nextOrQuiet(ctx, open)
		switch {
		case errors.Is(err, errQuiet):
			err = tr.events.KeepAlive()
		case err != nil:
			return err
		case result.State.Final():
			return tr.sendFinal(result)
		default:
			tr.note(result)
			err = tr.events.Send(eventProgress, tr.task.ID, tr.h.progressOf(result))
		}
		if err != nil {
			return nil //nolint:nilerr // the client has left
		}
	}
}

// nextOrQuiet waits for the next state. It returns errQuiet after keepAlive.
func nextOrQuiet(ctx context.Context, open *celery.Call) (celery.Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, keepAlive, errQuiet)
	defer cancel()
	return open.Next(ctx)
}

// progressOf returns the data of a progress event. It leaves out values that are not JSON, as
// the result may still be JSON, and the exception of a retry where detail hides exceptions.
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

// jobProgress returns a state as the progress of a job. Its text is the "message" of the state's
// meta, else the name of the state. Its percentage is "percent" of the meta, else computed from
// "current" and "total", as in Celery's documentation of custom states.
func (h *Handler) jobProgress(result celery.Result) jobs.Progress {
	p := jobs.Progress{Percent: -1, Message: string(result.State), At: time.Now()}
	var state struct {
		Meta struct {
			Message                 string
			Percent, Current, Total *float64
		}
	}
	// Metas of other types and forms have no progress.
	if json.Unmarshal(h.progressOf(result), &state) != nil {
		return p
	}
	meta := state.Meta
	if meta.Message != "" {
		p.Message = meta.Message
	}
	switch {
	case meta.Percent != nil:
		p.Percent = min(max(*meta.Percent, 0), 100)
	case meta.Current != nil && meta.Total != nil && *meta.Total > 0:
		p.Percent = min(max(100**meta.Current / *meta.Total, 0), 100)
	}
	return p
}

// sendFinal sends the last event. Its data is JSON regardless of the option result.
func (tr *taskRequest) sendFinal(result celery.Result) error {
	tr.note(result)
	if err := result.Err(); err != nil {
		return err
	}
	value, err := result.Plain()
	if err != nil {
		return err
	}
	tr.took = time.Since(tr.began)
	_ = tr.events.Send(eventResult, tr.task.ID, value) // the client may have left
	return nil
}
