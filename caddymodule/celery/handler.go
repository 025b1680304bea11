package celery

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/arguments"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// Handler runs a Celery task for each request and answers with its result. No
// Python runs here, and a request that waits costs no thread, no connection and no
// poll. It is at its best behind `offload`, which bounds how many wait.
//
// Placeholders:
//
// Placeholder | Description
// ------------|-------------
// `{http.celery.task}` | The name of the task
// `{http.celery.task_id}` | The ID of its call
// `{http.celery.state}` | The last state that was reported
// `{http.celery.reason}` | Why there is no result
// `{http.celery.exception}` | The type of what the task raised
// `{http.celery.wait}` | How long the request has waited
// `{http.celery.wait_ms}` | The same in milliseconds
type Handler struct {
	Servers

	// The name of the task. With `tasks` it may hold placeholders.
	Task string `json:"task,omitempty"`

	// The tasks that clients may choose, as names in which `*` stands for
	// anything.
	Tasks []string `json:"tasks,omitempty"`

	// The args. A value is `int(...)`, `float(...)`, `bool(...)`, `json(...)` or
	// `string(...)` with a text that is converted, else JSON, else a string.
	// Placeholders are allowed, and never change the type.
	Args []string `json:"args,omitempty"`

	// What of the request follows them: the body as one JSON value (`json`), the
	// elements of the body's JSON array (`array`), the body as a string (`raw`), or
	// the values of a form (`form`) or of the query (`query`), in their order.
	ArgsFrom string `json:"args_from,omitempty"`

	// The kwargs by name. Values are as in `args`. One whose name ends with a
	// question mark is left out where its value is empty.
	Kwargs map[string]string `json:"kwargs,omitempty"`

	// What of the request becomes kwargs too: the fields of the body's JSON
	// object (`json`), of a form (`form`), or of the query (`query`). Later ones
	// win, and `kwargs` over all.
	KwargsFrom []string `json:"kwargs_from,omitempty"`

	// The queue. With `queues` it may hold placeholders. Default: `celery`.
	Queue string `json:"queue,omitempty"`

	// The queues that clients may choose, as names in which `*` stands for
	// anything.
	Queues []string `json:"queues,omitempty"`

	// From 0, the least urgent, to 9, on every broker. Default: none is sent.
	Priority *int `json:"priority,omitempty"`

	// Headers of the message. Values are as in `args`. The trace context is
	// always sent.
	Headers map[string]string `json:"headers,omitempty"`

	// The longest wait for the result. -1 is off. Default: 60s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How long after the request the task may still be started. -1 is off.
	// Default: until nobody waits any more.
	Expires caddy.Duration `json:"expires,omitempty"`

	// How long the task may run. Default: as long as somebody waits.
	TimeLimit *TimeLimit `json:"time_limit,omitempty"`

	// Lets the task be sent again when it is not known whether it has been: it
	// may run twice.
	Idempotent bool `json:"idempotent,omitempty"`

	// The largest request body in bytes. Default: 1 MiB.
	MaxBody int64 `json:"max_body,omitempty"`

	// What the answer is made of: the result as JSON (`json`), the string or bytes
	// that it is (`raw`), or the status, headers and body that it holds (`http`).
	// `none` does not wait for it. Default: `json`.
	Result string `json:"result,omitempty"`

	// The media type with `result raw`. Default: plain text for a string, else
	// bytes.
	ContentType string `json:"content_type,omitempty"`

	// Has the worker keep no result, with `result none`.
	IgnoreResult bool `json:"ignore_result,omitempty"`

	// The status for exceptions by their type, with or without the module. `*`
	// stands for all others that tasks raise. Default: 500.
	Errors map[string]int `json:"errors,omitempty"`

	// What a client gets to know about an exception: nothing (`none`), its type
	// and message (`message`), or the traceback as well (`traceback`). Default:
	// `none`.
	Detail string `json:"detail,omitempty"`

	// Whether a client that accepts `text/event-stream` gets the states of the
	// task as events (`on`, `off`). Default: `on`.
	Progress string `json:"progress,omitempty"`

	// What becomes of a task when nobody waits for it any more: it is not started
	// (`on`), its process is ended as well (`terminate`), or nothing (`off`).
	// Default: `on`.
	Revoke string `json:"revoke,omitempty"`

	// Whether requests are refused while no worker is there (`on`, `off`).
	// Default: `on`.
	WorkerCheck string `json:"worker_check,omitempty"`

	// Whether requests for tasks that no worker knows are refused (`on`, `off`).
	// Default: `on`.
	TaskCheck string `json:"task_check,omitempty"`

	// How many requests may wait for results of these servers. Default: no limit.
	MaxOutstanding *Outstanding `json:"max_outstanding,omitempty"`

	// Answers requests of Flower's HTTP API for tasks instead. What is none of
	// them goes on to the next handler.
	Flower bool `json:"flower,omitempty"`

	servers Servers // with placeholders replaced
	release func()  // of the link, nil if it is not held
	logger  *zap.Logger
	plan    *arguments.Plan
	headers map[string]arguments.Value
}

// TimeLimit is how long a task may run, if the worker has processes.
type TimeLimit struct {
	// The task's own limits are not touched.
	Off bool `json:"off,omitempty"`
	// The process is ended after that.
	Hard caddy.Duration `json:"hard,omitempty"`
	// The task gets an exception after that. Default: none.
	Soft caddy.Duration `json:"soft,omitempty"`
}

// Outstanding bounds how many requests wait for results. One of the two is set.
type Outstanding struct {
	// That many.
	Count int `json:"count,omitempty"`
	// That many for each slot of the workers.
	PerSlot int `json:"per_slot,omitempty"`
}

// Defaults of a route.
const (
	defaultTimeout = caddy.Duration(60 * time.Second)
	defaultMaxBody = 1 << 20
	largestBody    = 16 << 20 // which is what a message may have
	longestTimeout = caddy.Duration(365 * 24 * time.Hour)
	off            = -1
)

// CaddyModule describes the module.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.celery", New: func() caddy.Module { return new(Handler) }}
}

// Provision makes the handler ready, and connects to nobody.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	h.servers = h.expand()
	if err := h.check(); err != nil {
		return err
	}
	if err := h.servers.check(); err != nil {
		return err
	}
	h.setDefaults()
	var err error
	_, h.release, err = acquire(h.servers)
	if err != nil {
		return fmt.Errorf("getting the connections: %w", err)
	}
	return nil
}

func (h *Handler) setDefaults() {
	for word, value := range map[*string]string{
		&h.Result: resultJSON, &h.Detail: detailNone, &h.Progress: on, &h.Revoke: on,
		&h.WorkerCheck: on, &h.TaskCheck: on, &h.Queue: celery.DefaultQueue,
	} {
		if *word == "" {
			*word = value
		}
	}
	if h.Timeout == 0 {
		h.Timeout = defaultTimeout
	}
	if h.MaxBody == 0 {
		h.MaxBody = defaultMaxBody
	}
}

// Cleanup lets go of the connections. Requests that are under way hold them too.
func (h *Handler) Cleanup() error {
	if h.release != nil {
		h.release()
		h.release = nil
	}
	return nil
}

// Words of 'result', and of what is on or off.
const (
	resultJSON = "json"
	resultRaw  = "raw"
	resultHTTP = "http"
	resultNone = "none"

	on         = "on"
	offWord    = "off"
	revokeKill = "terminate"
)

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
