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

// publish registers the placeholders and the access log's fields. Both are evaluated when
// they are read.
func (tr *taskRequest) publish() {
	ctx := tr.r.Context()
	if repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(tr.placeholder)
	}
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server == nil || server.Logs == nil {
		return
	}
	if extra, ok := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Set(zap.Object("celery", tr))
	}
}

// placeholder returns the value of a placeholder of this handler.
func (tr *taskRequest) placeholder(key string) (any, bool) {
	name, ok := strings.CutPrefix(key, "http.celery.")
	if !ok {
		return nil, false
	}
	switch name {
	case "task":
		return tr.task.Name, true
	case "task_id":
		return tr.id(), true
	case "state":
		return string(tr.state), true
	case "reason":
		return tr.reason(), true
	case "exception":
		return tr.exception(), true
	case "wait":
		return tr.wait(), true
	case "wait_ms":
		return float64(tr.wait()) / float64(time.Millisecond), true
	}
	return nil, false
}

// MarshalLogObject writes the fields of the access log.
func (tr *taskRequest) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("task", tr.task.Name)
	enc.AddString("task_id", tr.id())
	enc.AddString("state", string(tr.state))
	enc.AddDuration("wait", tr.wait())
	if tr.failed != nil {
		enc.AddString("reason", tr.reason())
		enc.AddString("exception", tr.exception())
	}
	return nil
}

func (tr *taskRequest) reason() string {
	if tr.failed == nil {
		return ""
	}
	return string(tr.failed.reason)
}

func (tr *taskRequest) exception() string {
	if tr.failed == nil || tr.failed.task == nil {
		return ""
	}
	return tr.failed.task.Type
}

// wait returns the time from arrival to the response, or until now before the response.
func (tr *taskRequest) wait() time.Duration {
	if tr.took > 0 {
		return tr.took
	}
	return time.Since(tr.began)
}

// levels of failures that are logged in a separate line. Others are in the access log, and in
// a separate line at DEBUG.
var levels = map[reason]zapcore.Level{
	unavailable:      zapcore.WarnLevel,
	unconfirmed:      zapcore.WarnLevel,
	resultLost:       zapcore.WarnLevel,
	resultTooLarge:   zapcore.ErrorLevel,
	resultUnreadable: zapcore.ErrorLevel,
	resultDoesNotFit: zapcore.ErrorLevel,
	internal:         zapcore.ErrorLevel,
}

// logFailure logs a failure with its error, which clients do not see.
func (tr *taskRequest) logFailure(f *failure) {
	level, ok := levels[f.reason]
	if !ok {
		level = zapcore.DebugLevel
	}
	if line := tr.h.logger.Check(level, "request without a result"); line != nil {
		line.Write(zap.String("task", tr.task.Name), zap.String("task_id", tr.id()), zap.Error(f))
	}
}

// logClosing logs an error of closing, which has no caller to return to.
func logClosing(err error) {
	if line := caddy.Log().Named("celery").Check(zapcore.WarnLevel, "closing connections failed"); line != nil {
		line.Write(zap.Error(err))
	}
}

// logRedis logs messages of the Redis client. The cause of a failed request is logged with the
// request.
func logRedis(format string, args ...any) {
	if line := caddy.Log().Named("celery.redis").Check(zapcore.DebugLevel, "redis client message"); line != nil {
		line.Write(zap.String("text", fmt.Sprintf(format, args...)))
	}
}
