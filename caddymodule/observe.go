package caddymodule

import (
	"errors"
	"io/fs"
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func replacerOf(r *http.Request) *caddy.Replacer {
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	return repl
}

func (run *run) replacer() *caddy.Replacer { return replacerOf(run.client) }

// publish makes the run's numbers known to placeholders and to the access log.
// They are read when somebody asks. Of nested runs the inner one is shown.
func (run *run) publish() {
	if run.show() != run {
		return
	}
	run.replacer().Map(run.placeholder)
	server, ok := run.client.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server == nil || server.Logs == nil {
		return
	}
	if extra, ok := run.client.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Set(zap.Object("offload", run))
	}
}

const placeholderPrefix = "http.offload."

// placeholder gives the value of one of ours.
func (run *run) placeholder(key string) (any, bool) {
	if len(key) <= len(placeholderPrefix) || key[:len(placeholderPrefix)] != placeholderPrefix {
		return nil, false
	}
	run = run.shown()
	known := run.known()
	switch key[len(placeholderPrefix):] {
	case "pool":
		return run.route.Pool.Name(), true
	case "queue_wait":
		return known.queueWait(), true
	case "queue_wait_ms":
		return milliseconds(known.queueWait()), true
	case "run":
		return known.runTook(), true
	case "run_ms":
		return milliseconds(known.runTook()), true
	case "outcome":
		return known.outcomeWord(), true
	case "reject_reason":
		return known.reasonWord(), true
	case "id":
		return run.id().String(), true
	case "in_flight":
		n := run.route.Pool.Gauges()
		return n.Running + n.Waiting, true
	case "breaker_state":
		return run.route.Pool.Gauges().Breaker.String(), true
	}
	return nil, false
}

// MarshalLogObject writes the access log's fields.
func (run *run) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	run = run.shown()
	known := run.known()
	enc.AddString("id", run.id().String())
	enc.AddString("pool", run.route.Pool.Name())
	if known.uploadTook > 0 {
		enc.AddDuration("upload", known.uploadTook)
	}
	if kind := run.kindWord(); kind != "" {
		enc.AddString("unspooled", kind)
	}
	if run.broken != nil {
		enc.AddInt64("part", run.body.Size())
	}
	enc.AddDuration("queue_wait", known.queueWait())
	if known.took > 0 {
		enc.AddDuration("run", known.took)
	}
	if sends := run.sends.Load(); sends > 1 {
		enc.AddInt32("sends", sends)
	}
	enc.AddString("outcome", known.outcomeWord())
	if known.reason != 0 {
		enc.AddString("reason", known.reason.String())
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// tooSlowLogged keeps clients that trickle from flooding the log.
var tooSlowLogged rarely

// logTooSlow logs a body that did not come in time, with what to do if its client was
// waiting for an answer within it.
func (rt *route) logTooSlow(r *http.Request) {
	c := rt.Logger.Check(zapcore.InfoLevel, "a request body came too slowly to be spooled")
	if c == nil || !tooSlowLogged.now() {
		return
	}
	c.Write(zap.String("pool", rt.Pool.Name()), zap.String("content_type", r.Header.Get("Content-Type")),
		zap.String("hint", "if the client waits for an answer before it sends more, name its kind in 'unspooled', or write 'request_spool off'"))
}

// spoolFullLogged keeps a full disk from flooding the log.
var spoolFullLogged rarely

// logSpoolFull logs that a body could not be kept, with what to do about it.
func (rt *route) logSpoolFull(message string, err error) {
	c := rt.Logger.Check(zapcore.WarnLevel, message)
	if c == nil || !spoolFullLogged.now() {
		return
	}
	hint := "raise the limits of the global option 'offload' for 'spool'"
	if _, disk := errors.AsType[*fs.PathError](err); disk {
		hint = folderHint
	}
	c.Write(zap.String("pool", rt.Pool.Name()), zap.String("dir", budget.Limits().Dir), zap.Error(err), zap.String("hint", hint))
}
