package serving

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/pools"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/requestbody"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/timerlist"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
	"github.com/caddy-offload/caddy-offload/offloader/stream"
)

// nudgeAfter is how long the start of a response waits for its rest before it is handed
// on alone.
const nudgeAfter = time.Millisecond

// Settings are the settings of one "offload" that are in force, with defaults filled
// in. A zero duration is no limit.
type Settings struct {
	Pool   *pools.Pool
	Logger *zap.Logger
	Ready  func() // called before each request

	FirstByteTimeout time.Duration
	RunTimeout       time.Duration
	OnAbandon        abandonRule
	AbandonTimeout   time.Duration
	Resends          int // re-sends by the transport, for each run
	HoldUpgrades     bool

	RequestBounds spool.Bounds
	Unspooled     requestbody.Kinds
	Response      stream.Options

	RejectStatus    int
	RejectRoutes    caddyhttp.Handler // nil without
	ProxyStatusName string
	ServerTiming    bool
	ShowQuery       bool
}

// Route is one "offload" of a configuration, as requests see it.
type Route struct {
	Settings

	early     *timerlist.List // what a run begins with: notice, or FirstByte if that is sooner
	FirstByte *timerlist.List
	RunTime   *timerlist.List
	nudge     *timerlist.List
	notice    *timerlist.List

	firstByteRest *timerlist.List // the rest of firstByte after notice, nil if notice is later
}

// NewRoute returns a route with these settings.
func NewRoute(s Settings) *Route {
	rt := &Route{
		Settings:  s,
		FirstByte: timerlist.New(s.FirstByteTimeout),
		RunTime:   timerlist.New(s.RunTimeout),
		nudge:     timerlist.New(nudgeAfter),
		notice:    timerlist.New(noticeAfter),
	}
	rt.early = rt.FirstByte
	if s.FirstByteTimeout == 0 || s.FirstByteTimeout > noticeAfter {
		rt.early, rt.firstByteRest = rt.notice, timerlist.New(s.FirstByteTimeout-noticeAfter)
	}
	return rt
}

// abandonRule is what becomes of a run whose client has left or was answered.
type abandonRule uint8

const (
	// abandonInherit follows the pool around this one, and is abandonAuto without.
	abandonInherit abandonRule = iota
	// abandonAuto lets a backend that is presumed to work on keep the permit.
	abandonAuto
	// abandonFinish lets the run write on without a client.
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
