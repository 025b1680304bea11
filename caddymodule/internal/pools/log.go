package pools

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Log writes a line about a pool. Each change of a pool's state has one; single requests
// are in the access log. Pools outlive the loggers of configurations, so the line goes to
// Caddy's current logger.
func Log(level zapcore.Level, text, pool string, fields ...zap.Field) {
	if c := caddy.Log().Named("offload").Check(level, text); c != nil {
		c.Write(append([]zap.Field{zap.String("pool", pool)}, fields...)...)
	}
}

// breakerChanged logs a change of a pool's breaker and emits its event.
func breakerChanged(pool string, from, to offloader.BreakerState) {
	level, event := zapcore.InfoLevel, "offload.breaker_closed"
	switch to {
	case offloader.StateOpen:
		level, event = zapcore.WarnLevel, "offload.breaker_opened"
	case offloader.StateHalfOpen:
		event = "offload.breaker_half_opened"
	}
	Log(level, "breaker changed", pool, zap.Stringer("from", from), zap.Stringer("to", to))
	emit(event, map[string]any{"pool": pool, "from": from.String(), "to": to.String()})
}

// saturated logs that a pool is saturated now and emits its event.
func saturated(pool string) {
	Log(zapcore.InfoLevel, "pool saturated", pool)
	emit("offload.saturated", map[string]any{"pool": pool})
}

// configure gives the pool the settings of another configuration, which are valid, and
// logs the differences.
func (p *Pool) configure(s offloader.Settings) {
	was, overridden := p.Settings(), p.Overridden().Count() > 0
	_ = p.Configure(s)
	if overridden && p.Overridden().Count() == 0 {
		Log(zapcore.InfoLevel, "override ended: pool reconfigured", p.Name())
	}
	p.LogSettings(was, "reload")
}

// LogSettings logs the settings that differ from was. The field by names the origin of
// the change.
func (p *Pool) LogSettings(was offloader.Settings, by string) {
	from, to := settings.Changed(was, p.Settings())
	if len(to) > 0 {
		Log(zapcore.InfoLevel, "pool settings changed", p.Name(),
			zap.String("by", by), zap.Any("from", from), zap.Any("to", to))
	}
}
