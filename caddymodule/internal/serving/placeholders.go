package serving

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/time/rate"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
)

func replacerOf(r *http.Request) *caddy.Replacer {
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	return repl
}

// shown is a run as placeholders and the access log see it.
type shown struct{ *Run }

// publish makes the run's numbers known to placeholders and to the access log.
// They are read on demand. Of nested runs the inner one is shown.
func (run shown) publish() {
	if run.show() != run.Run {
		return
	}
	replacerOf(run.client).Map(shown{run.Run}.placeholder)
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
func (run shown) placeholder(key string) (any, bool) {
	if len(key) <= len(placeholderPrefix) || key[:len(placeholderPrefix)] != placeholderPrefix {
		return nil, false
	}
	run = shown{run.last()}
	known := run.known()
	switch key[len(placeholderPrefix):] {
	case "pool":
		return run.Route.Pool.Name(), true
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
		n := run.Route.Pool.Gauges()
		return n.Running + n.Waiting, true
	case "breaker_state":
		return run.Route.Pool.Gauges().Breaker.String(), true
	}
	return nil, false
}

// LogObject returns what the access log shows of the run that a context belongs to.
func LogObject(ctx context.Context) zapcore.ObjectMarshaler { return shown{runOf(ctx).root()} }

// MarshalLogObject writes the access log's fields.
func (run shown) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	run = shown{run.last()}
	known := run.known()
	enc.AddString("id", run.id().String())
	enc.AddString("pool", run.Route.Pool.Name())
	if known.uploadTook > 0 {
		enc.AddDuration("upload", known.uploadTook)
	}
	if kind := run.body.kindName(); kind != "" {
		enc.AddString("unspooled", kind)
	}
	if run.body.broken != nil {
		enc.AddInt64("part", run.body.spooled.Size())
	}
	enc.AddDuration("queue_wait", known.queueWait())
	if known.took > 0 {
		enc.AddDuration("run", known.took)
	}
	if sends := run.backend.sends.Load(); sends > 1 {
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
var tooSlowLogged = rate.Sometimes{Interval: time.Second}

// logTooSlow logs a body that did not come in time, with what to do if its client was
// waiting for an answer within it.
func (rt *Route) logTooSlow(r *http.Request) {
	c := rt.Logger.Check(zapcore.InfoLevel, "a request body came too slowly to be spooled")
	if c == nil {
		return
	}
	tooSlowLogged.Do(func() {
		c.Write(zap.String("pool", rt.Pool.Name()), zap.String("content_type", r.Header.Get("Content-Type")),
			zap.String("hint", "if the client waits for an answer before it sends more, name its kind in 'unspooled', or write 'request_spool off'"))
	})
}

// spoolFullLogged keeps a full disk from flooding the log.
var spoolFullLogged = rate.Sometimes{Interval: time.Second}

// logSpoolFull logs that a body could not be kept, with what to do about it.
func (rt *Route) logSpoolFull(message string, err error) {
	c := rt.Logger.Check(zapcore.WarnLevel, message)
	if c == nil {
		return
	}
	hint := "raise the limits of the global option 'offload' for 'spool'"
	if _, disk := errors.AsType[*fs.PathError](err); disk {
		hint = pools.FolderHint
	}
	spoolFullLogged.Do(func() {
		c.Write(zap.String("pool", rt.Pool.Name()), zap.String("dir", pools.Budget.Limits().Dir), zap.Error(err), zap.String("hint", hint))
	})
}

// last returns the run whose facts are shown for an outermost one.
func (run shown) last() *Run {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.tells
}

// show makes the outermost of nested runs show the facts of this one.
func (run shown) show() (root *Run) {
	root = run.root()
	root.mu.Lock()
	defer root.mu.Unlock()
	root.tells = run.Run
	return root
}
