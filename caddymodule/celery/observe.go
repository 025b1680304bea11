package celery

import (
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// publish makes what is known of the call known to placeholders and to the access
// log. It is read when somebody asks.
func (c *call) publish() {
	ctx := c.r.Context()
	if repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(c.placeholder)
	}
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server == nil || server.Logs == nil {
		return
	}
	if extra, ok := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Set(zap.Object("celery", c))
	}
}

// placeholder gives the value of one of ours.
func (c *call) placeholder(key string) (any, bool) {
	name, ok := strings.CutPrefix(key, "http.celery.")
	if !ok {
		return nil, false
	}
	switch name {
	case "task":
		return c.task.Name, true
	case "task_id":
		return c.id(), true
	case "state":
		return string(c.state), true
	case "reason":
		return c.reason(), true
	case "exception":
		return c.exception(), true
	case "wait":
		return c.wait(), true
	case "wait_ms":
		return float64(c.wait()) / float64(time.Millisecond), true
	}
	return nil, false
}

// MarshalLogObject writes the access log's fields.
func (c *call) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("task", c.task.Name)
	enc.AddString("task_id", c.id())
	enc.AddString("state", string(c.state))
	enc.AddDuration("wait", c.wait())
	if c.failed != nil {
		enc.AddString("reason", c.reason())
		enc.AddString("exception", c.exception())
	}
	return nil
}

func (c *call) reason() string {
	if c.failed == nil {
		return ""
	}
	return string(c.failed.reason)
}

func (c *call) exception() string {
	if c.failed == nil || c.failed.task == nil {
		return ""
	}
	return c.failed.task.Type
}

func (c *call) wait() time.Duration {
	if c.took > 0 {
		return c.took
	}
	return time.Since(c.began)
}

// levels are those of failures that are worth a line of their own. The access log
// has the rest.
var levels = map[reason]zapcore.Level{
	unavailable:      zapcore.WarnLevel,
	unconfirmed:      zapcore.WarnLevel,
	resultLost:       zapcore.WarnLevel,
	resultTooLarge:   zapcore.ErrorLevel,
	resultUnreadable: zapcore.ErrorLevel,
	resultDoesNotFit: zapcore.ErrorLevel,
	internal:         zapcore.ErrorLevel,
}

func (c *call) logFailure(f *failure) {
	level, ok := levels[f.reason]
	if !ok {
		level = zapcore.DebugLevel
	}
	if line := c.h.logger.Check(level, "a request has no result"); line != nil {
		line.Write(zap.String("task", c.task.Name), zap.String("task_id", c.id()), zap.Error(f))
	}
}

// logClosing logs an error that nobody waits for.
func logClosing(err error) {
	if line := caddy.Log().Named("celery").Check(zapcore.WarnLevel, "connections were not closed in good order"); line != nil {
		line.Write(zap.Error(err))
	}
}

// logRedis logs what the client of Redis says. Why a request fails is logged with the
// request.
func logRedis(format string, args ...any) {
	if line := caddy.Log().Named("celery.redis").Check(zapcore.DebugLevel, "the client of Redis has something to say"); line != nil {
		line.Write(zap.String("text", fmt.Sprintf(format, args...)))
	}
}
