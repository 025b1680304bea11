package celery

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/extratable"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

func init() { extratable.Register(links.tables) }

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

// tables describes the workers and queues of each link, for live views. They have the facts
// of earlier heartbeats and checks: no server is asked for them.
func (t *linkTable) tables() (all []extratable.Table) {
	t.all.Range(func(_, v any) bool {
		l := v.(*link)
		if workers := l.connectedWorkers(); workers != nil {
			all = append(all, workerTable(l.place(), workers), queueTable(l.place(), workers))
		}
		return true
	})
	slices.SortStableFunc(all, func(a, b extratable.Table) int { return cmp.Compare(a.Title, b.Title) })
	return all
}

// connectedWorkers returns nil for a link without connections.
func (l *link) connectedWorkers() *celery.Workers {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.connected {
		return nil
	}
	return l.workers
}

// place names the broker without its password.
func (l *link) place() string {
	first, _, _ := strings.Cut(l.servers.Broker, ";")
	broker, err := url.Parse(first)
	if err != nil {
		return "a broker"
	}
	return broker.Host + broker.Path
}

func workerTable(place string, workers *celery.Workers) extratable.Table {
	t := extratable.Table{Title: "Celery's workers at " + place, Columns: []string{"Worker", "Runs", "Has run", "Version"}, Rows: [][]string{}}
	for _, w := range workers.Snapshot() {
		t.Rows = append(t.Rows, []string{w.Name, fmt.Sprint(w.Active), fmt.Sprint(w.Processed), w.Version})
	}
	return t
}

func queueTable(place string, workers *celery.Workers) extratable.Table {
	t := extratable.Table{Title: "Celery's queues at " + place, Columns: []string{"Queue", "Waiting", "Consumers"}, Rows: [][]string{}}
	queues := workers.Queues()
	for _, name := range slices.Sorted(maps.Keys(queues)) {
		consumers := "unknown"
		if n := queues[name].Consumers; n >= 0 {
			consumers = fmt.Sprint(n)
		}
		t.Rows = append(t.Rows, []string{name, fmt.Sprint(queues[name].Ready), consumers})
	}
	return t
}
