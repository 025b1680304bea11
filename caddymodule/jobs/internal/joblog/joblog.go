// Package joblog logs what happens to jobs: one line for each that has ended, and lines for
// what needs an operator. IDs are shortened, since a whole one can give access to its job.
package joblog

import (
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Observe returns an observer that logs, and calls the functions of another one before.
// logger returns the present logger: those of the process change with its configuration.
func Observe(logger func() *zap.Logger, next jobs.Observer) jobs.Observer {
	l := log{logger, next}
	next.Finished, next.Delivered, next.StoreFailed, next.Recovered = l.finished, l.delivered, l.storeFailed, l.recovered
	next.Panicked = l.panicked
	return next
}

// log has the observer that comes before.
type log struct {
	logger func() *zap.Logger
	next   jobs.Observer
}

// levels of terminal states: a failure may need an operator.
var levels = map[jobs.State]zapcore.Level{
	jobs.Succeeded: zapcore.InfoLevel,
	jobs.Cancelled: zapcore.InfoLevel,
	jobs.Failed:    zapcore.WarnLevel,
	jobs.Expired:   zapcore.WarnLevel,
	jobs.Dead:      zapcore.ErrorLevel,
}

func (l log) finished(r *jobs.Record) {
	if l.next.Finished != nil {
		l.next.Finished(r)
	}
	line := l.logger().Check(levels[r.State], "job ended")
	if line == nil {
		return
	}
	began := r.Created
	if !r.Begun.IsZero() {
		began = r.Begun
	}
	fields := []zap.Field{
		shortened(r.ID), zap.String("route", r.Route), zap.Stringer("state", r.State),
		zap.String("method", r.Request.Method), zap.String("host", r.Request.Host), zap.String("path", path(r)),
		zap.Int("attempts", r.Attempt), zap.Duration("took", r.Ended.Sub(began)),
	}
	if r.Generation > 1 {
		fields = append(fields, zap.Int("generation", r.Generation))
	}
	if r.Reason != "" {
		fields = append(fields, zap.String("reason", r.Reason))
	}
	if r.Response != nil {
		fields = append(fields, zap.Int("status", r.Response.Status), zap.Int64("bytes", r.Response.Size))
	}
	line.Write(fields...)
}

// delivered logs a webhook that was given up.
func (l log) delivered(r *jobs.Record, d jobs.Delivery) {
	if l.next.Delivered != nil {
		l.next.Delivered(r, d)
	}
	if r.Hook != nil && r.Hook.State == jobs.HookGivenUp {
		l.logger().Warn("webhook given up", shortened(r.ID), zap.String("route", r.Route), zap.Int("tries", r.Hook.Tries), zap.String("reason", d.Error))
	}
}

func (l log) storeFailed(r *jobs.Record, err error) {
	if l.next.StoreFailed != nil {
		l.next.StoreFailed(r, err)
	}
	l.logger().Error("the end of an attempt could not be stored: it is tried again", shortened(r.ID), zap.String("route", r.Route), zap.Error(err))
}

// panicked logs a panic with its stack, as the server does for handlers.
func (l log) panicked(r *jobs.Record, value any, stack []byte) {
	if l.next.Panicked != nil {
		l.next.Panicked(r, value, stack)
	}
	fields := []zap.Field{zap.Any("panic", value), zap.ByteString("stack", stack)}
	if r != nil {
		fields = append(fields, shortened(r.ID), zap.String("route", r.Route))
	}
	l.logger().Error("code of jobs panicked", fields...)
}

// recovered logs the jobs that the process before has left.
func (l log) recovered(found jobs.Recovery) {
	if l.next.Recovered != nil {
		l.next.Recovered(found)
	}
	level := zapcore.InfoLevel
	if found.Crashed && found.Interrupted > 0 {
		level = zapcore.WarnLevel
	}
	if line := l.logger().Check(level, "store of jobs opened"); line != nil {
		line.Write(zap.Duration("took", found.Took), zap.Bool("crashed", found.Crashed),
			zap.Int("jobs", found.Jobs), zap.Int("interrupted", found.Interrupted), zap.Int("webhooks", found.Hooks))
	}
}

func shortened(id jobs.ID) zap.Field { return zap.String("job", id.Short()) }

// path returns the path of the request without its query, which may hold secrets.
func path(r *jobs.Record) string {
	path, _, _ := strings.Cut(r.Request.URI, "?")
	return path
}
