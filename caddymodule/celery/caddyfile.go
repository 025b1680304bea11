package celery

import (
	"errors"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/celery/internal/arguments"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// parseHandler parses the directive:
//
//	celery [<matcher>] {
//		broker             <url>
//		backend            <url>
//		broker_prefix      <prefix>
//		result_prefix      <prefix>
//		control_exchange   <name>
//		master_name        <name>
//		sentinel_password  <password>
//		tls                { ... }
//		connections        <n>
//		server_timeout     <duration>
//		reconnect_timeout  <duration>
//		max_result         <size>
//		poll
//
//		task               <name>
//		tasks              <pattern>...
//		args               <value>...
//		args_from          json|array|raw|form|query
//		kwargs             <name> <value> | { <name> <value> }
//		kwargs_from        json|form|query...
//		queue              <name>
//		queues             <pattern>...
//		priority           <0-9>
//		headers            <name> <value> | { <name> <value> }
//		timeout            <duration>|off
//		expires            <duration>|off
//		time_limit         <hard> [<soft>]|off
//		idempotent
//		max_body           <size>
//		revoke             on|off|terminate
//		worker_check       on|off
//		task_check         on|off
//		max_outstanding    <n>|<n>x|off
//
//		result             json|raw|http|none
//		content_type       <type>
//		ignore_result
//		errors             { <exception> <status> }
//		detail             message|none|traceback
//		progress           on|off
//		flower
//	}
func parseHandler(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	d := helper.Dispenser
	d.Next() // directive
	at := *d
	if d.NextArg() {
		return nil, d.Errf("unexpected '%s': celery takes a matcher and a block, nothing more", d.Val())
	}
	h := new(Handler)
	b := caddyfileblock.New(d, "kwargs", "headers")
	if err := b.Each(0, func() error { return h.option(b) }); err != nil {
		return nil, err
	}
	if err := errors.Join(h.check(), h.checkText(), h.checkSupported()); err != nil {
		return nil, at.WrapErr(err)
	}
	return h, nil
}

// The subdirectives, by their subject.
var (
	serverOptions = []string{
		"broker", "backend", "broker_prefix", "result_prefix", "control_exchange", "master_name", "sentinel_password",
		"tls", "connections", "server_timeout", "reconnect_timeout", "max_result", "poll",
	}
	taskOptions = []string{
		"task", "tasks", "args", "args_from", "kwargs", "kwargs_from", "queue", "queues", "priority", "headers",
		"timeout", "expires", "time_limit", "idempotent", "max_body", "revoke", "worker_check", "task_check", "max_outstanding",
	}
	responseOptions = []string{
		"result", "content_type", "ignore_result", "errors", "detail", "progress", "flower",
	}
)

func (h *Handler) option(b *caddyfileblock.Block) error {
	switch {
	case slices.Contains(serverOptions, b.Option):
		return h.Servers.option(b)
	case slices.Contains(taskOptions, b.Option):
		return h.taskOption(b)
	case slices.Contains(responseOptions, b.Option):
		return h.responseOption(b)
	}
	if err := checkRenamed(b); err != nil {
		return err
	}
	return b.D.Errf("unrecognized subdirective '%s' of celery", b.Option)
}

func (h *Handler) taskOption(b *caddyfileblock.Block) (err error) {
	switch b.Option {
	case "task":
		h.Task, err = b.Name()
	case "tasks":
		h.Tasks, err = b.Texts()
	case "args":
		h.Args, err = values(b)
	case "args_from":
		h.ArgsFrom, err = b.Choice(arguments.ArgsSources...)
	case "kwargs":
		h.Kwargs, err = named(b, h.Kwargs)
	case "kwargs_from":
		h.KwargsFrom, err = b.Choices(arguments.KwargsSources...)
	case "queue":
		h.Queue, err = b.Name()
	case "queues":
		h.Queues, err = b.Texts()
	case "priority":
		var n int
		n, err = b.Count(optionvalue.Counts{Least: celery.LowestPriority, Most: celery.HighestPriority})
		h.Priority = &n
	case "headers":
		h.Headers, err = named(b, h.Headers)
	case "timeout":
		h.Timeout, err = b.Duration(true)
	case "expires":
		h.Expires, err = b.Duration(true)
	case "time_limit":
		h.TimeLimit, err = parseTimeLimit(b)
	case "idempotent":
		h.Idempotent, err = true, b.Flag()
	case "max_body":
		h.MaxBody, err = maxBody(b)
	case "revoke":
		h.Revoke, err = b.Choice(revokeValues...)
	case "worker_check":
		h.WorkerCheck, err = b.Choice(onOff...)
	case "task_check":
		h.TaskCheck, err = b.Choice(onOff...)
	case "max_outstanding":
		h.MaxOutstanding, err = parseOutstanding(b)
	}
	return err
}

func (h *Handler) responseOption(b *caddyfileblock.Block) (err error) {
	switch b.Option {
	case "result":
		h.Result, err = b.Choice(resultValues...)
	case "content_type":
		h.ContentType, err = b.Name()
	case "ignore_result":
		h.IgnoreResult, err = true, b.Flag()
	case "errors":
		h.Errors, err = parseErrors(b)
	case "detail":
		h.Detail, err = b.Choice(detailValues...)
	case "progress":
		h.Progress, err = b.Choice(onOff...)
	case "flower":
		h.Flower, err = true, b.Flag()
	}
	return err
}

// values parses values of arguments.
func values(b *caddyfileblock.Block) ([]string, error) {
	texts, err := b.Texts()
	for _, text := range texts {
		if _, err := arguments.Parse(text); err != nil {
			return nil, b.At.Errf("bad %s value '%s': %w", b.Option, text, err)
		}
	}
	return texts, err
}

// named parses a name and a value, or a block of such lines, and adds them to values.
func named(b *caddyfileblock.Block, values map[string]string) (map[string]string, error) {
	if values == nil {
		values = make(map[string]string)
	}
	add := func(name string) error {
		var value string
		if !b.D.AllArgs(&value) {
			return b.D.Errf("wrong argument count: '%s' takes a name and a value, or a block of these", b.Option)
		}
		if _, ok := values[name]; ok {
			return b.D.Errf("%s '%s' is set twice", b.Option, name)
		}
		if _, err := arguments.Parse(value); err != nil {
			return b.D.Errf("bad %s value '%s': %w", b.Option, value, err)
		}
		values[name] = value
		return nil
	}
	if b.D.NextArg() {
		return values, add(b.D.Val())
	}
	found := false
	for nesting := b.D.Nesting(); b.D.NextBlock(nesting); found = true {
		if err := add(b.D.Val()); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, b.At.Errf("wrong argument count: '%s' takes a name and a value, or a block of these", b.Option)
	}
	return values, nil
}

// parseErrors parses a block of exceptions and their status.
func parseErrors(b *caddyfileblock.Block) (map[string]int, error) {
	if err := b.Flag(); err != nil {
		return nil, err
	}
	statuses := make(map[string]int)
	for nesting := b.D.Nesting(); b.D.NextBlock(nesting); {
		name, text := b.D.Val(), ""
		if !b.D.AllArgs(&text) {
			return nil, b.D.Err("wrong argument count: a line of 'errors' is an exception and a status")
		}
		status, err := optionvalue.ParseErrorStatus(name, text)
		if err != nil {
			return nil, b.D.WrapErr(err)
		}
		if statuses[name] != 0 {
			return nil, b.D.Errf("errors '%s' is set twice", name)
		}
		statuses[name] = status
	}
	if len(statuses) == 0 {
		return nil, b.At.Err("an empty 'errors': leave it out for the defaults")
	}
	return statuses, nil
}
