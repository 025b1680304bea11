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

// Handler runs a Celery task for each request and responds with its result. It needs no
// Python, and a waiting request costs no thread, no connection and no poll. Use it behind
// `offload`, which limits the number of waiting requests.
//
// Placeholders:
//
// Placeholder | Description
// ------------|-------------
// `{http.celery.task}` | The name of the task
// `{http.celery.task_id}` | The ID of the task
// `{http.celery.state}` | The last reported state of the task
// `{http.celery.reason}` | Why there is no result
// `{http.celery.exception}` | The type of the exception that the task raised
// `{http.celery.wait}` | How long the request has waited
// `{http.celery.wait_ms}` | The same in milliseconds
type Handler struct {
	Servers

	// The name of the task. With `tasks` it may hold placeholders.
	Task string `json:"task,omitempty"`

	// The tasks that clients may choose, as patterns in which `*` matches any text.
	Tasks []string `json:"tasks,omitempty"`

	// The args. A value is `int(...)`, `float(...)`, `bool(...)`, `json(...)` or
	// `string(...)` with a text that is converted, else JSON, else a string.
	// Placeholders are allowed, and never change the type.
	Args []string `json:"args,omitempty"`

	// The source of more args, appended to `args`: the body as one JSON value (`json`),
	// the elements of the body's JSON array (`array`), the body as a string (`raw`), or
	// the values of a form (`form`) or of the query (`query`), in their order.
	ArgsFrom string `json:"args_from,omitempty"`

	// The kwargs by name. Values are as in `args`. An argument whose name ends with a
	// question mark is left out if its value is empty.
	Kwargs map[string]string `json:"kwargs,omitempty"`

	// The sources of more kwargs: the fields of the body's JSON object (`json`), of a
	// form (`form`), or of the query (`query`). Later sources override earlier ones, and
	// `kwargs` overrides all sources.
	KwargsFrom []string `json:"kwargs_from,omitempty"`

	// The queue. With `queues` it may hold placeholders. Default: `celery`.
	Queue string `json:"queue,omitempty"`

	// The queues that clients may choose, as patterns in which `*` matches any text.
	Queues []string `json:"queues,omitempty"`

	// The priority, from 0 (the least urgent) to 9, on every broker. Default: none is
	// sent.
	Priority *int `json:"priority,omitempty"`

	// Headers of the message. Values are as in `args`. The trace context is
	// always sent.
	Headers map[string]string `json:"headers,omitempty"`

	// The longest wait for the result. -1 is off. Default: 60s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How long after the request the task may still be started. -1 is off.
	// Default: until the end of the wait.
	Expires caddy.Duration `json:"expires,omitempty"`

	// How long the task may run. Default: until the end of the wait.
	TimeLimit *TimeLimit `json:"time_limit,omitempty"`

	// Sends the task again if the connection is lost while it is sent. It may then run
	// twice.
	Idempotent bool `json:"idempotent,omitempty"`

	// The largest request body in bytes. Default: 1 MiB.
	MaxBody int64 `json:"max_body,omitempty"`

	// The form of the response: the result as JSON (`json`), a result that is a string or
	// bytes (`raw`), or the status, headers and body that the result holds (`http`).
	// `none` does not wait for the result. Default: `json`.
	Result string `json:"result,omitempty"`

	// The media type with `result raw`. Default: plain text for a string, else
	// bytes.
	ContentType string `json:"content_type,omitempty"`

	// Makes the worker store no result. For `result none` only.
	IgnoreResult bool `json:"ignore_result,omitempty"`

	// The status for exceptions by their type, with or without the module. `*` stands
	// for all other exceptions that tasks raise. Default: 500.
	Errors map[string]int `json:"errors,omitempty"`

	// What a response shows of an exception: nothing (`none`), its type and message
	// (`message`), or the traceback as well (`traceback`). Default: `none`.
	Detail string `json:"detail,omitempty"`

	// Whether a client that accepts `text/event-stream` gets the states of the
	// task as events (`on`, `off`). Default: `on`.
	Progress string `json:"progress,omitempty"`

	// What happens to a task whose request ends first: it is not started (`on`), its
	// process is terminated as well (`terminate`), or nothing (`off`). Default: `on`.
	Revoke string `json:"revoke,omitempty"`

	// Whether requests are rejected while no worker is alive (`on`, `off`).
	// Default: `on`.
	WorkerCheck string `json:"worker_check,omitempty"`

	// Whether requests for tasks that no worker knows are rejected (`on`, `off`).
	// Default: `on`.
	TaskCheck string `json:"task_check,omitempty"`

	// The most requests that wait for results of these servers. Default: no limit.
	MaxOutstanding *Outstanding `json:"max_outstanding,omitempty"`

	// Serves Flower's HTTP API for tasks instead. Other requests are passed to the next
	// handler.
	Flower bool `json:"flower,omitempty"`

	// Provision and Cleanup write the fields below. Requests only read them.

	servers Servers // with placeholders replaced
	release func()  // releases the link, nil if none is held
	logger  *zap.Logger
	plan    *arguments.Plan            // of Args, ArgsFrom, Kwargs and KwargsFrom
	headers map[string]arguments.Value // parsed Headers
}

// TimeLimit is how long a task may run. Only workers with processes enforce it.
type TimeLimit struct {
	// Leaves the limits of the task's own definition in force.
	Off bool `json:"off,omitempty"`
	// After this time the process is terminated.
	Hard caddy.Duration `json:"hard,omitempty"`
	// After this time an exception is raised in the task. Default: none.
	Soft caddy.Duration `json:"soft,omitempty"`
}

// Outstanding limits the requests that wait for results. Exactly one field is set.
type Outstanding struct {
	// The number of requests.
	Count int `json:"count,omitempty"`
	// The number of requests for each task that the workers run at once.
	PerSlot int `json:"per_slot,omitempty"`
}

// Defaults of a route.
const (
	defaultTimeout = caddy.Duration(60 * time.Second)
	defaultMaxBody = 1 << 20
	largestBody    = 16 << 20 // size limit of a message
	longestTimeout = caddy.Duration(365 * 24 * time.Hour)
	off            = -1
)

// CaddyModule describes the module.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.celery", New: func() caddy.Module { return new(Handler) }}
}

// Provision validates the handler and acquires its link. It does not connect.
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
	_, h.release, err = links.acquire(h.servers)
	if err != nil {
		return fmt.Errorf("acquiring the connections: %w", err)
	}
	return nil
}

func (h *Handler) setDefaults() {
	for option, value := range map[*string]string{
		&h.Result: resultJSON, &h.Detail: detailNone, &h.Progress: on, &h.Revoke: on,
		&h.WorkerCheck: on, &h.TaskCheck: on, &h.Queue: celery.DefaultQueue,
	} {
		if *option == "" {
			*option = value
		}
	}
	if h.Timeout == 0 {
		h.Timeout = defaultTimeout
	}
	if h.MaxBody == 0 {
		h.MaxBody = defaultMaxBody
	}
}

// Cleanup releases the link. Running requests hold it as well.
func (h *Handler) Cleanup() error {
	if h.release != nil {
		h.release()
		h.release = nil
	}
	return nil
}

// Values of the options result and revoke, and of switches.
const (
	resultJSON = "json"
	resultRaw  = "raw"
	resultHTTP = "http"
	resultNone = "none"

	on         = "on"
	offValue   = "off"
	revokeKill = "terminate"
)

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
