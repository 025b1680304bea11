// Package serving takes one request through its pool: it reads the body, waits for a
// permit, runs the handlers behind "offload", passes the answer on and gives the permit
// back. A [Route] is one configured "offload" handler, a [Run] is one request. The package
// uses pools, but neither the configuration nor the admin endpoint.
package serving

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/time/rate"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/answers"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/claims"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/deadline"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requests"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/state"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// nudgeAfter is how long the first bytes of a response wait for further ones before they
// are sent alone.
const nudgeAfter = time.Millisecond

// noticeAfter is how long a run goes on before its client is watched. Most runs are over by
// then, and a watch costs too much for a short run.
const noticeAfter = time.Second

// Settings are the settings of one "offload" that are in force, with defaults filled
// in. A zero duration is no limit.
type Settings struct {
	Process *state.Process
	Pool    *pools.Pool
	Logger  *zap.Logger
	Ready   func() // called before each request

	FirstByteTimeout time.Duration
	RunTimeout       time.Duration
	Deadline         deadline.Rule
	OnAbandon        abandonRule
	AbandonTimeout   time.Duration
	Resends          int // re-sends by the transport, for each run
	HoldUpgrades     bool
	Claims           *claims.Rules // nil if requests claim nothing

	RequestBounds spool.Bounds
	Unspooled     requestbody.Kinds
	Response      stream.Options

	Statuses        answers.Statuses
	RejectHold      time.Duration // the longest, of a fraction of a second
	RejectRoutes    caddyhttp.RouteList
	ProxyStatusName string
	ServerTiming    bool
	ShowID          bool // in all answers, and not only in those that are made here
	ShowQuery       bool
}

// Route is one "offload" of a configuration, as requests see it.
type Route struct {
	Settings

	early     *timerlist.List // what a run begins with: notice, or firstByte if that is sooner
	firstByte *timerlist.List
	runTime   *timerlist.List
	nudge     *timerlist.List
	notice    *timerlist.List

	firstByteRest *timerlist.List // the rest of firstByte after notice, nil if notice is later

	served *requests.Served // of its pool, for explain
}

// NewRoute returns a route with these settings.
func NewRoute(s Settings) *Route {
	rt := &Route{
		Settings:  s,
		firstByte: timerlist.New(s.FirstByteTimeout),
		runTime:   timerlist.New(s.RunTimeout),
		nudge:     timerlist.New(nudgeAfter),
		notice:    timerlist.New(noticeAfter),
		served:    s.Process.Explained.Served(s.Pool.Name()),
	}
	rt.early = rt.firstByte
	if s.FirstByteTimeout == 0 || s.FirstByteTimeout > noticeAfter {
		rt.early, rt.firstByteRest = rt.notice, timerlist.New(s.FirstByteTimeout-noticeAfter)
	}
	return rt
}

// abandonRule decides what happens to a run whose client has left or was answered.
type abandonRule uint8

const (
	// abandonInherit uses the rule of the pool around this one, or abandonAuto without one.
	abandonInherit abandonRule = iota
	// abandonAuto leaves the permit to the backend if the backend presumably works on.
	abandonAuto
	// abandonFinish lets the run go on to its end without a client.
	abandonFinish
	// abandonCancel closes the connection to the backend.
	abandonCancel
)

// ParseAbandonRule reads the option on_abandon, which may be empty.
func ParseAbandonRule(text string) (abandonRule, error) {
	switch text {
	case "":
		return abandonInherit, nil
	case "auto":
		return abandonAuto, nil
	case "finish":
		return abandonFinish, nil
	case "cancel":
		return abandonCancel, nil
	}
	return 0, fmt.Errorf("unknown on_abandon '%s': want auto, finish or cancel", text)
}

// tooSlowLogged keeps clients that trickle from flooding the log.
var tooSlowLogged = rate.Sometimes{Interval: time.Second}

// logTooSlow logs a body that arrived too slowly, with a hint for the case that its client
// waits for an answer before it sends more.
func (rt *Route) logTooSlow(r *http.Request) {
	c := rt.Logger.Check(zapcore.InfoLevel, "a request body came too slowly to be spooled")
	if c == nil {
		return
	}
	tooSlowLogged.Do(func() {
		c.Write(zap.String("pool", rt.Pool.Name()), zap.String("content_type", r.Header.Get("Content-Type")),
			zap.String("hint", "if the client waits for an answer before it sends more, list the kind of its body in 'unspooled', or write 'request_spool off'"))
	})
}

// unreadableLogged keeps clients that send nonsense from flooding the log.
var unreadableLogged = rate.Sometimes{Interval: time.Second}

// maxLoggedValue is how much of a client's value is logged.
const maxLoggedValue = 40

// logUnreadable logs a deadline from a client that cannot be parsed and is ignored.
func (rt *Route) logUnreadable(value string) {
	c := rt.Logger.Check(zapcore.InfoLevel, "the deadline of a request is unreadable, and ignored")
	if c == nil {
		return
	}
	unreadableLogged.Do(func() {
		c.Write(zap.String("pool", rt.Pool.Name()), zap.String("value", value[:min(len(value), maxLoggedValue)]),
			zap.String("hint", "write seconds such as 2.5, or a duration such as 1500ms"))
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
	hint := "raise the limits of 'spool' in the global option 'offload'"
	if _, disk := errors.AsType[*fs.PathError](err); disk {
		hint = state.FolderHint
	}
	spoolFullLogged.Do(func() {
		c.Write(zap.String("pool", rt.Pool.Name()), zap.String("dir", rt.Process.Budget.Limits().Dir), zap.Error(err), zap.String("hint", hint))
	})
}
